package remote

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire lies between a Verifier and its service, and can be cut so that neither side is
// told: what is sent over connections that were open then goes nowhere.
type wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	mute  bool // new connections as well
	conns []net.Conn
	gone  chan struct{} // closed: connections made before say nothing
	done  sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{Listener: ln, to: to, gone: make(chan struct{})}
	w.done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.carry(c)
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.done.Wait()
	})
	return w
}

func (w *wire) carry(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	if w.mute {
		return
	}
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	w.conns = append(w.conns, s)
	gone := w.gone
	for from, to := range map[net.Conn]net.Conn{c: s, s: c} {
		w.done.Go(func() {
			b := make([]byte, 32<<10)
			for {
				n, err := from.Read(b)
				select {
				case <-gone:
					return
				default:
				}
				if err != nil {
					_ = to.Close()
					return
				}
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		})
	}
}

// cut mutes the connections there are, and those to come until restored.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.gone)
	w.gone, w.mute = make(chan struct{}), true
}

func (w *wire) restore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = false
}

// A service that is reached and says nothing costs each attempt its time and nothing
// more: neither connections that were begun for it nor one that was good before are in
// the way when the service is back. There are two places for connections.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) {
		o.MaxInFlight, o.Attempts, o.BreakAfter, o.AttemptTimeout = 1, 1, 1000, 200*time.Millisecond
	}})
	srv := httptest.NewUnstartedServer(w.service)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	line := newWire(t, srv.Listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	o := w.o
	o.URL, o.TLS = "https://"+line.Addr().String(), &tls.Config{RootCAs: roots}
	v, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	w.Verifier = v

	ask := func() error { // deletions would be attempts too
		defer v.pending.Wait()
		return w.ask(t)
	}
	require.NoError(t, ask())
	line.cut()
	for range 6 {
		require.ErrorIs(t, ask(), ErrUnreachable)
	}
	line.restore()
	require.Eventually(t, func() bool { return ask() == nil }, 10*time.Second, time.Millisecond)
}
