package expat

import (
	"crypto/tls"
	"time"

	"github.com/expat-go/expat/attestation"
)

// Frame describes a frame to a [Trace]: its name and its size, never content.
type Frame struct {
	Name string // HELLO, REQUEST, AUTHENTICATOR, RESULT or ALERT
	Size int    // bytes, the 4 of the frame's header included
}

// Trace is told what happens on a connection. Any field may be nil. Functions
// are called in the goroutine that does the step, FrameSent in one of its own,
// and must return soon. They never see Evidence.
type Trace struct {
	// TLSDone is called when the TLS handshake is complete.
	TLSDone func(tls.ConnectionState)
	// FrameSent and FrameReceived are called for each frame of the exchange.
	FrameSent     func(Frame)
	FrameReceived func(Frame)
	// Attested is called when our Attester has answered.
	Attested func(took time.Duration, err error)
	// Validated is called when the peer's authenticator was validated.
	Validated func(took time.Duration, err error)
	// Appraised is called when our Verifier has answered; the result is nil if
	// err is not.
	Appraised func(r *attestation.Result, took time.Duration, err error)
	// Done is called once, when the connection is open (nil) or has failed.
	Done func(error)
}

func (t *Trace) tlsDone(cs tls.ConnectionState) {
	if t != nil && t.TLSDone != nil {
		t.TLSDone(cs)
	}
}

func (t *Trace) sent(f Frame) {
	if t != nil && t.FrameSent != nil {
		t.FrameSent(f)
	}
}

func (t *Trace) received(f Frame) {
	if t != nil && t.FrameReceived != nil {
		t.FrameReceived(f)
	}
}

func (t *Trace) attested(took time.Duration, err error) {
	if t != nil && t.Attested != nil {
		t.Attested(took, err)
	}
}

func (t *Trace) validated(took time.Duration, err error) {
	if t != nil && t.Validated != nil {
		t.Validated(took, err)
	}
}

func (t *Trace) appraised(r *attestation.Result, took time.Duration, err error) {
	if t != nil && t.Appraised != nil {
		t.Appraised(r, took, err)
	}
}

func (t *Trace) done(err error) {
	if t != nil && t.Done != nil {
		t.Done(err)
	}
}
