// Package limit accepts connections within limits: so many at a time, so many from
// one client, so many new ones from it in a second. What is too much is closed at
// once, before a byte of it is read. Errors of accept that pass, such as too many
// open files, are waited out.
package limit

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits are those of one listener; 0 is none, except for Connections, of which
// there must be some.
type Limits struct {
	Connections int // open at a time
	PerClient   int // open at a time, from one client
	NewPerSec   int // new in a second from one client, and at once
}

// A Reason says why a connection was closed at once.
type Reason string

// The reasons.
const (
	TooMany           Reason = "limit_connections"
	TooManyFromClient Reason = "limit_client"
	TooFast           Reason = "limit_rate"
)

// Observer is told what a listener does, by the goroutine that accepts and by those
// that use connections. Nil fields are not called.
type Observer struct {
	Accepted func(c net.Conn)
	Refused  func(remote net.Addr, why Reason)
	Closed   func()
	Bytes    func(received, sent int)
	// Failed is told of an error of accept, once until an accept succeeds a second or
	// more after the last of them, which Recovered is told of.
	Failed    func(err error)
	Recovered func()
	// Idle is how long a connection may be silent in both directions until it is
	// closed; 0 is for ever.
	Idle time.Duration
}

// Waits after an error of accept: the first, which doubles, and the longest.
const (
	firstWait   = 5 * time.Millisecond
	longestWait = time.Second
)

// calm is how long there has to be no error of accept until it is over: as long as
// descriptors are few each that is closed lets one connection in.
const calm = time.Second

// maxClients bounds the clients that are remembered for their rate alone.
const maxClients = 1 << 16

// Listener accepts within limits.
type Listener struct {
	net.Listener
	observer Observer
	limits   atomic.Pointer[Limits]
	closed   chan struct{}
	once     sync.Once
	failing  bool      // of the goroutine that accepts, as is
	failed   time.Time // when accept last did

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]*client
	swept   time.Time
}

// client is what one client has.
type client struct {
	open   int
	tokens float64 // new connections that it may make now
	last   time.Time
}

// New returns a listener on ln, which it closes in the end.
func New(ln net.Listener, l Limits, o Observer) *Listener {
	out := &Listener{Listener: ln, observer: o, closed: make(chan struct{}), clients: make(map[netip.Prefix]*client)}
	out.limits.Store(&l)
	return out
}

// SetLimits changes the limits for connections that come from now on.
func (l *Listener) SetLimits(n Limits) { l.limits.Store(&n) }

// Open is how many connections are open.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Close closes the listener; connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Accept returns the next connection that is within the limits, a [Conn].
func (l *Listener) Accept() (net.Conn, error) {
	wait := firstWait
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			if !temporary(err) {
				return nil, err
			}
			if !l.failing && l.observer.Failed != nil {
				l.observer.Failed(err)
			}
			l.failing, l.failed = true, time.Now()
			select {
			case <-time.After(wait):
			case <-l.closed:
				return nil, net.ErrClosed
			}
			wait = min(2*wait, longestWait)
			continue
		}
		if l.failing && time.Since(l.failed) >= calm {
			l.failing = false
			if l.observer.Recovered != nil {
				l.observer.Recovered()
			}
		}
		wait = firstWait
		key, why := l.admit(nc.RemoteAddr(), time.Now())
		if why == "" {
			c := newConn(nc, l, key)
			if l.observer.Accepted != nil {
				l.observer.Accepted(c)
			}
			return c, nil
		}
		if l.observer.Refused != nil {
			l.observer.Refused(nc.RemoteAddr(), why)
		}
		_ = nc.Close()
	}
}

// temporary tells errors of accept after which the next may succeed.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// admit counts a connection in, or says why not.
func (l *Listener) admit(remote net.Addr, now time.Time) (netip.Prefix, Reason) {
	limits := l.limits.Load()
	key, known := clientOf(remote)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= limits.Connections {
		return key, TooMany
	}
	if !known || limits.PerClient == 0 && limits.NewPerSec == 0 {
		key = netip.Prefix{} // counts for nobody
	} else if why := l.admitClient(key, limits, now); why != "" {
		return key, why
	}
	l.open++
	return key, ""
}

func (l *Listener) admitClient(key netip.Prefix, limits *Limits, now time.Time) Reason {
	l.sweep(now)
	c := l.clients[key]
	if c == nil {
		if len(l.clients) >= maxClients {
			return TooMany
		}
		c = &client{tokens: float64(limits.NewPerSec), last: now}
		l.clients[key] = c
	}
	c.tokens = min(float64(limits.NewPerSec), c.tokens+now.Sub(c.last).Seconds()*float64(limits.NewPerSec))
	c.last = now
	switch {
	case limits.PerClient > 0 && c.open >= limits.PerClient:
		return TooManyFromClient
	case limits.NewPerSec > 0 && c.tokens < 1:
		return TooFast
	}
	c.tokens = max(0, c.tokens-1)
	c.open++
	return ""
}

// sweep forgets clients that have nothing open and could make all new connections
// again, at most once a second.
func (l *Listener) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for key, c := range l.clients {
		if c.open == 0 && now.Sub(c.last) >= time.Second {
			delete(l.clients, key)
		}
	}
}

func (l *Listener) release(key netip.Prefix) {
	l.mu.Lock()
	l.open--
	if c := l.clients[key]; c != nil && c.open > 0 {
		c.open--
	}
	l.mu.Unlock()
	if l.observer.Closed != nil {
		l.observer.Closed()
	}
}

// clientOf is the client of an address: an IPv4 address, or an IPv6 /64, which is
// what one client is given. Those of Unix sockets are not told apart.
func clientOf(a net.Addr) (netip.Prefix, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	return p, err == nil
}
