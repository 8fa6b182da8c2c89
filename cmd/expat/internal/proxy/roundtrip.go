package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
)

// errResponse: the upstream took too long to answer a request.
var errResponse = errors.New("the upstream did not answer in time")

// carriedKey is that of the attested connection which carries a request to the server
// side.
type carriedKey struct{}

// RoundTrip sends a request. Its response must begin in time from the last byte of it
// that the upstream has taken.
func (g *generation) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context()) // which ends when it is served
	late := &deadline{after: g.spec.Timeouts.Response}
	late.timer = time.AfterFunc(late.after, func() { cancel(errResponse) })
	transport := g.transport
	if websocket(r.Header) { // HTTP/2 has no upgrades
		transport = g.upgrades
	}
	carried := new(atomic.Pointer[expat.Conn])
	ctx = context.WithValue(ctx, carriedKey{}, carried)
	r = r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) {
			if conn, ok := c.Conn.(*expat.Conn); ok {
				carried.Store(conn)
			}
		},
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			strip(http.Header(h), sidecars) // before the handler's own trace sends it
			return nil
		},
	}))
	if r.Body != nil {
		r.Body = &upload{r.Body, late}
	}
	resp, err := transport.RoundTrip(r)
	if !late.stop() && err == nil {
		err = errors.Join(errResponse, resp.Body.Close())
	}
	if err != nil {
		defer cancel(nil)
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return resp, nil
}

// deadline is a timer that can be put off until it is stopped.
type deadline struct {
	after time.Duration
	timer *time.Timer

	mu      sync.Mutex
	stopped bool
}

func (d *deadline) putOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		d.timer.Reset(d.after)
	}
}

// stop tells whether the timer has not fired.
func (d *deadline) stop() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	return d.timer.Stop()
}

// upload is the body of a request that puts off a deadline while it moves.
type upload struct {
	io.ReadCloser
	late *deadline
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	u.late.putOff()
	return n, err
}
