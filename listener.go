package expat

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// pendingPerExchange is how many accepted connections a listener holds for each
// exchange that it may work on: those that wait for their peer, for a place, or
// for Accept. Above that it stops accepting until one is done or has run into
// its Timeout.
const pendingPerExchange = 16

// NewListener returns a listener whose Accept hands out connections (of type
// *[Conn]) on which the exchange is complete. Handshakes run beside Accept, each
// within the Config's Timeout; at most MaxExchanges are worked on at a time, and
// at most 16 times as many connections held. Below that a peer that is slow,
// silent or refused holds up no other. What is dropped shows
// in Config.Refused.
//
// Close closes ln, ends the handshakes under way and leaves connections that
// were handed out alone. A Config that cannot be used shows in Accept.
func NewListener(ln net.Listener, cfg *Config) net.Listener {
	l := &listener{Listener: ln, cfg: cfg, ready: make(chan *Conn)}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l
}

type listener struct {
	net.Listener
	cfg   *Config
	ready chan *Conn

	ctx    context.Context // ends with the listener
	cancel context.CancelCauseFunc

	start   sync.Once
	pending chan struct{} // a place for each connection that is held
}

// Accept waits for the next attested connection.
func (l *listener) Accept() (net.Conn, error) {
	l.start.Do(func() {
		p, err := l.cfg.prepare()
		if err != nil {
			l.cancel(failed(StageConfig, err))
			return
		}
		l.pending = make(chan struct{}, cap(p.exchanges)*pendingPerExchange)
		go l.loop()
	})
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
}

// Close ends the listener.
func (l *listener) Close() error {
	l.cancel(net.ErrClosed)
	return l.Listener.Close()
}

// loop accepts raw connections. Errors that pass, such as too many open files,
// are waited out; any other ends the listener.
func (l *listener) loop() {
	var delay time.Duration
	for {
		select {
		case l.pending <- struct{}{}:
		case <-l.ctx.Done():
			return
		}
		nc, err := l.Listener.Accept()
		if err == nil {
			delay = 0
			go l.serve(nc)
			continue
		}
		<-l.pending
		if !temporary(err) {
			l.cancel(err)
			return
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(delay):
		case <-l.ctx.Done():
			return
		}
	}
}

// temporary tells errors of Accept after which the next may succeed.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// serve takes one connection from accepted to handed out or closed.
func (l *listener) serve(nc net.Conn) {
	defer func() { <-l.pending }()
	c := Server(nc, l.cfg)
	if err := c.HandshakeContext(l.ctx); err != nil {
		if l.cfg.Refused != nil {
			l.cfg.Refused(nc.RemoteAddr(), err)
		}
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

type contextKey struct{}

// ConnContext is for the ConnContext field of an [net/http.Server] that serves a
// listener of [NewListener]: handlers then find the connection with
// [FromContext].
func ConnContext(ctx context.Context, nc net.Conn) context.Context {
	if c, ok := nc.(*Conn); ok {
		return context.WithValue(ctx, contextKey{}, c)
	}
	return ctx
}

// FromContext returns the attested connection on which a request arrived, and
// whether there is one.
func FromContext(ctx context.Context) (*Conn, bool) {
	c, ok := ctx.Value(contextKey{}).(*Conn)
	return c, ok
}
