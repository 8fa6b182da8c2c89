package vectors

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/wire"
)

type transcriptInput struct {
	Connection       Connection  `json:"connection"`
	Profile          string      `json:"profile"`
	Observer         string      `json:"observer"`
	Identity         *string     `json:"identity"`
	MaxAuthenticator int         `json:"max_authenticator"`
	X509Roots        []string    `json:"x509_roots"`
	ServerName       *string     `json:"server_name"`
	EvidenceRoots    []string    `json:"evidence_roots"`
	Time             time.Time   `json:"time"`
	Frames           []sentFrame `json:"frames"`
}

type sentFrame struct {
	From  string `json:"from"`
	Frame Bytes  `json:"frame"`
}

type transcriptExpected struct {
	OpensAfter int         `json:"opens_after"`
	Lifetime   *int64      `json:"lifetime"`
	Peer       *provedPeer `json:"peer"`
}

type provedPeer struct {
	Context Bytes `json:"context"`
	Binder  Bytes `json:"binder"`
	KeyHash Bytes `json:"key_hash"`
	SPKI    Bytes `json:"spki"`
}

type transcriptFailed struct {
	At int `json:"at"`
}

var transcriptReasons = []string{
	"truncated", "unknown-type", "too-large", "malformed", reasonOrder, "nobody-asks", "cannot-attest",
	"request", "context-reuse", reasonRefused, "authenticator", "reflected", "attestation", "evidence",
	"binding", "rejected", "accepted-refusal", "alert", "alert-zero", reasonIncomplete,
}

const (
	reasonOrder      = "order"
	reasonIncomplete = "incomplete"
)

// observer replays an exchange as one side saw it. The order of the exchange is
// written down here a second time, from docs/protocol.md: the one that runs on
// connections needs a TLS connection.
type observer struct {
	in      *transcriptInput
	keys    *keyring
	session *authenticator.Session
	ownSPKI []byte // nil: the observer does not attest

	own, peer  *helloFrame
	request    *authenticator.Request // own, or nil
	asked      bool                   // the peer's REQUEST arrived
	answered   bool                   // own AUTHENTICATOR was sent
	refused    bool                   // it was empty
	judged     bool                   // own RESULT 0 was sent
	accepted   bool                   // the peer's RESULT 0 arrived
	proved     *provedPeer
	lifetime   *int64
	lastReason string
}

func runTranscript(k *keyring, in *transcriptInput) (outcome, error) {
	s, err := session(&in.Connection, in.Observer)
	if err != nil {
		return outcome{}, err
	}
	o := &observer{in: in, keys: k, session: s}
	if in.Identity != nil {
		id, err := k.identity(*in.Identity)
		if err != nil {
			return outcome{}, err
		}
		o.ownSPKI = spkiOf(id.Certificate[0])
	}
	if err := o.begin(); err != nil {
		return outcome{}, err
	}
	opened := -1
	for i, f := range in.Frames {
		if opened >= 0 {
			return outcome{}, errors.New("a frame follows the one with which the observer opens")
		}
		if f.From == in.Observer {
			if err := o.sent(f.Frame); err != nil {
				return outcome{}, err
			}
		} else {
			reason, err := o.received(f.Frame)
			if reason != "" || err != nil {
				return outcome{reason: reason, value: transcriptFailed{i}}, err
			}
		}
		if o.open() {
			opened = i
		}
	}
	if opened < 0 {
		return outcome{reason: reasonIncomplete, value: transcriptFailed{len(in.Frames)}}, nil
	}
	return outcome{value: transcriptExpected{opened, o.lifetime, o.proved}}, nil
}

func (o *observer) open() bool {
	return o.peer != nil && (!o.own.WillRequest || o.judged) && (!o.peer.WillRequest || o.accepted)
}

// begin takes note of the observer's HELLO and REQUEST: a side sends them at
// once, whatever it receives.
func (o *observer) begin() error {
	for _, sent := range o.in.Frames {
		if sent.From != o.in.Observer {
			continue
		}
		f, err := readFrame(sent.Frame, wire.MaxMaxAuthenticator)
		if err != nil {
			return err
		}
		switch wire.Type(f.Type) {
		case wire.Hello:
			o.own = f.Hello
		case wire.Request:
			if o.request, err = send(o.session, f.Payload); err != nil {
				return err
			}
		}
	}
	if o.own == nil || o.own.WillRequest != (o.request != nil) {
		return errors.New("the frames lack the observer's HELLO or REQUEST")
	}
	return nil
}

// sent takes note of another frame of the observer's own.
func (o *observer) sent(b []byte) error {
	f, err := readFrame(b, wire.MaxMaxAuthenticator)
	if err != nil {
		return err
	}
	switch wire.Type(f.Type) {
	case wire.Authenticator:
		o.answered, o.refused = true, f.Payload[0] == msgFinished
	case wire.Result:
		o.judged = f.Result.Code == 0
		o.live(f.Result.Lifetime)
	}
	return nil
}

// live keeps the shorter of two lifetimes.
func (o *observer) live(seconds *int64) {
	if o.lifetime == nil || (seconds != nil && *seconds < *o.lifetime) {
		o.lifetime = seconds
	}
}

// received judges a frame of the peer's. An error means that the vector is wrong.
func (o *observer) received(b []byte) (reason string, err error) {
	f, err := readFrame(b, o.in.MaxAuthenticator)
	if err != nil {
		out, err := reasonOf(err, frameSentinels)
		return out.reason, err
	}
	switch wire.Type(f.Type) {
	case wire.Alert:
		if f.Alert.Code == 0 {
			return "alert-zero", nil
		}
		return "alert", nil
	case wire.Hello:
		return o.receivedHello(f.Hello), nil
	case wire.Request:
		return o.receivedRequest(f.Payload)
	case wire.Authenticator:
		return o.receivedAuthenticator(f.Payload)
	case wire.Result:
		return o.receivedResult(f.Result), nil
	}
	return reasonOrder, nil
}

func (o *observer) receivedHello(h *helloFrame) string {
	switch {
	case o.peer != nil:
		return reasonOrder
	case !h.WillRequest && !o.own.WillRequest:
		return "nobody-asks"
	case o.own.WillRequest && !h.CanAttest:
		return "cannot-attest"
	}
	o.peer = h
	return ""
}

func (o *observer) receivedRequest(payload []byte) (string, error) {
	if o.peer == nil || !o.peer.WillRequest || o.asked {
		return reasonOrder, nil
	}
	o.asked = true
	_, err := o.session.ReceiveRequest(payload)
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, authenticator.ErrContextReuse):
		return "context-reuse", nil
	}
	_, err = reasonOf(err, requestSentinels)
	return "request", err
}

func (o *observer) receivedResult(r *resultFrame) string {
	switch {
	case !o.answered || o.accepted:
		return reasonOrder
	case r.Code != 0:
		return "rejected"
	case o.refused:
		return "accepted-refusal"
	}
	o.accepted = true
	o.live(r.Lifetime)
	return ""
}

func (o *observer) receivedAuthenticator(payload []byte) (string, error) {
	if o.peer == nil || o.request == nil || o.proved != nil {
		return reasonOrder, nil
	}
	judge := authenticatorInput{Sender: otherSide(o.in.Observer), Roots: o.in.X509Roots, ServerName: o.in.ServerName, Time: o.in.Time}
	chain, err := judge.chainVerifier(o.keys)
	if err != nil {
		return "", err
	}
	peer, err := o.session.Validate(o.request, payload, authenticator.ValidateOptions{VerifyChain: chain})
	switch {
	case errors.Is(err, authenticator.ErrRefused):
		return reasonRefused, nil
	case err != nil:
		_, err = reasonOf(err, authenticatorSentinels)
		return "authenticator", err
	}
	if bytes.Equal(o.ownSPKI, peer.SPKI()) {
		return "reflected", nil
	}
	return o.appraise(peer)
}

// appraise runs attestation.Appraise with the observer as Verifier.
func (o *observer) appraise(peer *authenticator.Peer) (string, error) {
	_, err := attestation.Appraise(context.Background(), profiles[o.in.Profile].profile, peer, (*evidenceVerifier)(o))
	switch {
	case o.lastReason != "" || o.proved != nil:
		return o.lastReason, nil
	case errors.Is(err, attestation.ErrUnavailable):
		return "", err
	}
	return "attestation", nil
}

// evidenceVerifier is the observer as a Verifier that gives no verdict.
type evidenceVerifier observer

func (v *evidenceVerifier) MediaTypes() []string { return v.own.MediaTypes }

func (v *evidenceVerifier) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	roots, err := v.keys.pool(v.in.EvidenceRoots)
	if err != nil {
		return nil, err
	}
	for _, leaf := range m.Leaves() {
		c, err := simulated.Extractor{}.Extract(ctx, leaf.MediaType, leaf.Value, roots, v.in.Time)
		var e *evidence.Error
		switch {
		case errors.As(err, &e):
			v.lastReason = "evidence"
			return nil, attestation.ErrRejected
		case err != nil:
			return nil, err
		case c.Bound(b) != nil:
			v.lastReason = "binding"
			return nil, attestation.ErrRejected
		}
	}
	v.proved = &provedPeer{b.Context(), b.Binder(), b.KeyHash(), b.SPKI()}
	return nil, attestation.ErrRejected
}
