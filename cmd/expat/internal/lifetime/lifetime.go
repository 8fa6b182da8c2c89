// Package lifetime tells the end of a verdict from the end of a stream.
package lifetime

import (
	"errors"
	"time"

	"github.com/expat-go/expat"
)

// skew is how much earlier the peer may see a verdict run out than this side: both
// count from when they had it.
const skew = 250 * time.Millisecond

// Conn is an attested connection on which the end of a verdict is an error, whichever
// side sees it first. That side closes the connection, which to the other looks like
// an orderly end, or like one that broke.
type Conn struct{ *expat.Conn }

// Read reads application data. The error wraps [expat.ErrExpired] where a verdict
// has run out.
func (c Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write writes application data; its errors are those of Read.
func (c Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// Expired tells whether a verdict has run out, for this side or for the peer.
func (c Conn) Expired() bool {
	if errors.Is(c.Handshake(), expat.ErrExpired) {
		return true // by one of the clocks that the connection looks at
	}
	at := c.Expires()
	return !at.IsZero() && time.Until(at) < skew
}

func (c Conn) explain(err error) error {
	var e *expat.Error
	if err == nil || errors.As(err, &e) || !c.Expired() {
		return err
	}
	return &expat.Error{Stage: expat.StageLifetime, Alert: expat.AlertAttestationRequired, Side: expat.Peer, Err: expat.ErrExpired}
}
