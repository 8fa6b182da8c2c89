package expat

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// delayPipe returns two ends of a connection in memory on which each byte takes
// the given time one way. Its buffer has no bound. Under testing/synctest the
// time is virtual, and so exact.
func delayPipe(delay time.Duration) (a, b net.Conn) {
	there, back := newHalf(delay), newHalf(delay)
	return &delayConn{in: back, out: there}, &delayConn{in: there, out: back}
}

type packet struct {
	at time.Time
	b  []byte // nil: the writer has closed
}

// half is one direction.
type half struct {
	delay time.Duration

	mu       sync.Mutex
	queue    []packet
	closed   bool // by the reader
	deadline time.Time
	changed  chan struct{} // closed at each change
}

func newHalf(delay time.Duration) *half {
	return &half{delay: delay, changed: make(chan struct{})}
}

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// read takes bytes, or says until when to wait for what.
func (h *half) read(b []byte) (n int, until time.Time, changed chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case h.closed:
		return 0, now, nil, io.ErrClosedPipe
	case !h.deadline.IsZero() && !now.Before(h.deadline):
		return 0, now, nil, os.ErrDeadlineExceeded
	case len(h.queue) > 0 && !now.Before(h.queue[0].at):
		p := &h.queue[0]
		if p.b == nil {
			return 0, now, nil, io.EOF
		}
		n := copy(b, p.b)
		if p.b = p.b[n:]; len(p.b) == 0 {
			h.queue = h.queue[1:]
		}
		return n, now, nil, nil
	}
	until = now.Add(1000 * time.Hour)
	if len(h.queue) > 0 {
		until = h.queue[0].at
	}
	if !h.deadline.IsZero() && h.deadline.Before(until) {
		until = h.deadline
	}
	return 0, until, h.changed, nil
}

type delayConn struct {
	in, out *half
	once    sync.Once
}

func (c *delayConn) Read(b []byte) (int, error) {
	for {
		n, until, changed, err := c.in.read(b)
		if changed == nil {
			return n, err
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
	}
}

func (c *delayConn) Write(b []byte) (int, error) {
	c.in.mu.Lock()
	closed := c.in.closed
	c.in.mu.Unlock()
	if closed {
		return 0, io.ErrClosedPipe
	}
	if len(b) > 0 {
		c.out.change(func() {
			c.out.queue = append(c.out.queue, packet{time.Now().Add(c.out.delay), append([]byte{}, b...)})
		})
	}
	return len(b), nil
}

func (c *delayConn) Close() error {
	c.once.Do(func() {
		c.in.change(func() { c.in.closed = true })
		c.out.change(func() { c.out.queue = append(c.out.queue, packet{at: time.Now().Add(c.out.delay)}) })
	})
	return nil
}

func (c *delayConn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.deadline = t })
	return nil
}

func (c *delayConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *delayConn) SetWriteDeadline(time.Time) error { return nil } // writes never wait
func (c *delayConn) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "pipe"} }
func (c *delayConn) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "pipe"} }
