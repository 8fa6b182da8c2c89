package limit

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that counts until it is closed.
type Conn struct {
	net.Conn
	listener *Listener
	key      netip.Prefix
	once     sync.Once

	began time.Time
	last  atomic.Int64 // when a byte came or went, in nanoseconds since then, which setting the clock does not change
	timer *time.Timer  // nil: it may be silent
}

func newConn(nc net.Conn, l *Listener, key netip.Prefix) *Conn {
	c := &Conn{Conn: nc, listener: l, key: key}
	if l.observer.Idle > 0 {
		c.began = time.Now()
		c.timer = time.AfterFunc(time.Hour, c.silent)
		c.timer.Reset(l.observer.Idle)
	}
	return c
}

// silent closes a connection on which nothing has happened, or looks again later.
func (c *Conn) silent() {
	if left := c.listener.observer.Idle - time.Since(c.began.Add(time.Duration(c.last.Load()))); left > 0 {
		c.timer.Reset(left)
		return
	}
	_ = c.Close()
}

func (c *Conn) active(received, sent int) {
	if received+sent == 0 {
		return
	}
	if c.timer != nil {
		c.last.Store(int64(time.Since(c.began)))
	}
	if o := c.listener.observer.Bytes; o != nil {
		o(received, sent)
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.listener.release(c.key)
	})
	return err
}

// Read reads, and tells the observer how much.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.active(n, 0)
	return n, err
}

// Write writes, and tells the observer how much.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.active(0, n)
	return n, err
}

// CloseWrite ends the stream in one direction, as that of [net.TCPConn] does.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}

// SetLinger is that of [net.TCPConn]; other connections have none.
func (c *Conn) SetLinger(sec int) error {
	if h, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		return h.SetLinger(sec)
	}
	return nil
}
