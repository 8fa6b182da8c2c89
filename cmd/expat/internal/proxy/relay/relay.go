// Package relay carries bytes both ways between two connections until both have ended
// their streams, one fails, or both are silent for too long.
//
// That a stream was cut is told from its end: where one connection fails the other is
// broken off (TCP reset, no close_notify), so that nobody takes half an answer for a
// whole one.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrIdle: no byte came from either side for too long.
var ErrIdle = errors.New("both sides were silent for too long")

// bufferSize is how much is read at a time, in bytes: several TLS records.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// Conn is what can be relayed: a connection that can end its stream in one direction.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Run relays between a and b, and closes both. The error is nil where both ended their
// streams, else that of the side that failed first, [ErrIdle], or the cause of ctx.
func Run(ctx context.Context, a, b Conn, idle time.Duration) error {
	r := &relay{ctx: ctx, a: a, b: b, idle: idle, began: time.Now()}
	r.timer = time.AfterFunc(idle, r.silent)
	defer r.timer.Stop()
	defer context.AfterFunc(ctx, func() { r.abort(context.Cause(ctx)) })()
	var ways sync.WaitGroup
	ways.Go(func() { r.copy(a, b) })
	r.copy(b, a)
	ways.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.err == nil {
		_ = a.Close()
		_ = b.Close()
	}
	return r.err
}

type relay struct {
	ctx   context.Context
	a, b  Conn
	idle  time.Duration
	began time.Time
	last  atomic.Int64 // when a byte came, in nanoseconds since then, which setting the clock does not change
	timer *time.Timer

	mu    sync.Mutex
	ended bool
	err   error // why both were broken off
}

// copy carries bytes one way.
func (r *relay) copy(to, from Conn) {
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	for {
		n, err := from.Read(*p)
		if n > 0 {
			r.last.Store(int64(time.Since(r.began)))
			if _, err := to.Write((*p)[:n]); err != nil {
				r.abort(err)
				return
			}
			r.last.Store(int64(time.Since(r.began)))
		}
		if err == io.EOF { // no error that wraps it is an end
			if err := to.CloseWrite(); err != nil {
				r.abort(err)
			}
			return
		}
		if err != nil {
			r.abort(err)
			return
		}
	}
}

// silent ends a relay on which nothing has happened, or looks again later.
func (r *relay) silent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.err != nil {
		return
	}
	if left := r.idle - time.Since(r.began.Add(time.Duration(r.last.Load()))); left > 0 {
		r.timer.Reset(left)
		return
	}
	r.breakOff(ErrIdle)
}

func (r *relay) abort(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !r.ended {
		r.breakOff(err)
	}
}

func (r *relay) breakOff(err error) {
	r.err = err
	Abort(r.b)
	Abort(r.a)
}

// Abort closes a connection so that its peer sees that the stream was cut: without a
// close_notify of TLS, and with a reset of TCP. One that knows better has a method
// Abort.
func Abort(c net.Conn) {
	if own, ok := c.(interface{ Abort() }); ok {
		own.Abort()
		return
	}
	raw := c
	for {
		inner, ok := raw.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		raw = inner.NetConn()
	}
	if l, ok := raw.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = raw.Close()
	_ = c.Close()
}
