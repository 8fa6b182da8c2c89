package show

import (
	"crypto/tls"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// Step is one thing that happened on a connection.
type Step struct {
	At    time.Duration // since the start
	Who   string        // "client", or "client -> server" for what crossed the wire
	What  string        // name of the frame or act
	Note  string        // what it means
	Bytes int           // on the wire, 0 for an act
	Took  time.Duration // of an act, 0 for a frame
}

// Log collects the steps of both sides of a connection, or of one.
type Log struct {
	start time.Time
	emit  func(Step)

	mu    sync.Mutex
	steps []Step
}

// NewLog starts a log. If emit is not nil it is told of each step at once, one
// after the other, and none is kept: a connection may last.
func NewLog(emit func(Step)) *Log { return &Log{start: time.Now(), emit: emit} }

// Steps are the steps until now, in the order in which they happened.
func (l *Log) Steps() []Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Step(nil), l.steps...)
}

// Add logs a step that happens now.
func (l *Log) Add(s Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.At = time.Since(l.start)
	if l.emit != nil {
		l.emit(s)
		return
	}
	l.steps = append(l.steps, s)
}

// Renewed is the name of the step by which one side has accepted the other anew.
const Renewed = "renewed"

var notes = map[string]string{
	"HELLO":         "what I ask for, what I can show",
	"REQUEST":       "prove what you are: fresh random context",
	"AUTHENTICATOR": "certificate, Evidence, signature, MAC",
	"RESULT":        "my verdict on you",
	"ALERT":         "why I close",
}

// Trace logs what self does on one connection with peer until it is open, and the
// frames that self receives; with both, also those that it sends. Of what follows
// Renewals tells.
func (l *Log) Trace(self, peer string, both bool) *expat.Trace {
	var open atomic.Bool
	add := func(s Step) {
		if !open.Load() {
			l.Add(s)
		}
	}
	t := &expat.Trace{
		TLSDone: func(cs tls.ConnectionState) {
			add(Step{Who: self, What: "TLS 1.3 done", Note: fmt.Sprintf("%v, %s", cs.CurveID, tls.CipherSuiteName(cs.CipherSuite))})
		},
		FrameReceived: func(f expat.Frame) {
			add(Step{Who: peer + " -> " + self, What: f.Name, Note: notes[f.Name], Bytes: f.Size})
		},
		Attested: func(took time.Duration, err error) {
			add(Step{Who: self, What: "attest", Note: outcome("Evidence for this connection and this key", err), Took: took})
		},
		Validated: func(took time.Duration, err error) {
			add(Step{Who: self, What: "validate", Note: outcome("the "+peer+"'s chain, signature, MAC: good", err), Took: took})
		},
		Appraised: func(r *attestation.Result, took time.Duration, err error) {
			note := "the " + peer + "'s Evidence: "
			if err == nil {
				note += r.Tier().String()
			} else {
				note += "rejected"
			}
			add(Step{Who: self, What: "appraise", Note: note, Took: took})
		},
		Done: func(err error) {
			add(Step{Who: self, What: doneWord(err), Note: doneNote(err)})
			open.Store(err == nil)
		},
	}
	if both {
		t.FrameSent = func(f expat.Frame) {
			add(Step{Who: self + " -> " + peer, What: f.Name, Note: notes[f.Name], Bytes: f.Size})
		}
	}
	return t
}

// Renewals has cfg, that of self, log each time that one side has asked the other anew
// on the open connection and has accepted the answer, in one line. What is not accepted
// ends the connection, with an error that tells it.
func (l *Log) Renewals(cfg *expat.Config, self, peer string) {
	if cfg.Verifier != nil {
		cfg.AfterReattest = func(_ *expat.Conn, r *attestation.Result, err error) {
			if err == nil {
				l.Add(Step{Who: self, What: Renewed, Note: "the " + peer + "'s Evidence: " + r.Tier().String()})
			}
		}
	}
	if cfg.Attester != nil {
		cfg.Reattested = func(*expat.Conn) {
			l.Add(Step{Who: peer, What: Renewed, Note: "the " + self + "'s Evidence: accepted"})
		}
	}
}

func outcome(good string, err error) string {
	if err != nil {
		return "failed"
	}
	return good
}

func doneWord(err error) string {
	if err != nil {
		return "closed"
	}
	return "open"
}

func doneNote(err error) string {
	if err != nil {
		return "no application byte has passed"
	}
	return "application data may flow"
}

// maxNote is the width in columns at which a note is cut.
const maxNote = 42

// WriteStep prints a step in one line of at most 100 columns.
func WriteStep(w io.Writer, s Step) error {
	size := ""
	switch {
	case s.Bytes > 0:
		size = fmt.Sprintf("%d B", s.Bytes)
	case s.Took > 0:
		size = Milliseconds(s.Took)
	}
	_, err := fmt.Fprintf(w, "  %9s   %-16s  %-13s  %7s   %s\n", Milliseconds(s.At), s.Who, s.What, size, Line(s.Note, maxNote))
	return err
}

// Milliseconds shows a short time.
func Milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}
