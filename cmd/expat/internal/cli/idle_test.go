package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// record keeps what is logged, by hooks of a connection also while it is read.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// serveIdle runs a server whose connections may be silent for a time, and returns where
// it listens and what it has logged once it has ended.
func serveIdle(t *testing.T, f serveFlags, idle time.Duration) (addr string, logged func() string) {
	t.Helper()
	log := new(record)
	s, err := f.server(context.Background(), slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	s.idle = idle
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, ln) }()
	logged = func() string {
		stop()
		err := <-ended
		ended <- err
		require.NoError(t, err)
		return log.String()
	}
	t.Cleanup(func() { _ = logged() })
	return ln.Addr().String(), logged
}

// dialIdle connects as expat connect does.
func dialIdle(t *testing.T, addr string, f connectFlags, change func(*expat.Config)) *expat.Conn {
	t.Helper()
	f.expect, f.timeout = "simulated", expat.DefaultTimeout
	cfg, _, _, err := f.config(t.Context(), nil)
	require.NoError(t, err)
	change(cfg)
	c, err := expat.Dial(t.Context(), "tcp", addr, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A client that is silent is cut, and can tell that from an orderly end.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	f := serveFlags{sideFlags: sideFlags{state: dir, attester: "simulated"}, echo: true, connections: 1}
	addr, logged := serveIdle(t, f, 100*time.Millisecond)
	c := dialIdle(t, addr, connectFlags{sideFlags: sideFlags{state: dir}}, func(*expat.Config) {})
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	text, code := explain(err)
	require.Equal(t, exitNetwork, code)
	require.Contains(t, text, "connection reset by peer; the peer's log says why")
	require.Contains(t, logged(), `msg=cut remote=`+c.LocalAddr().String()+` bytes=0 reason="silent for 100ms, or not reading"`)
}

// Renewals are a sign of life, whichever side asks.
func TestRenewalsAreLife(t *testing.T) {
	t.Parallel()
	for _, asks := range []string{"server", "client"} {
		t.Run(asks, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "s")
			f := serveFlags{sideFlags: sideFlags{state: dir, attester: "simulated", expect: "simulated", reattest: true}, verify: true, echo: true}
			if asks == "server" {
				f.reattestEvery = 50 * time.Millisecond
			}
			addr, _ := serveIdle(t, f, 4*time.Second)
			var renewed atomic.Int32
			enough := make(chan struct{})
			count := func() {
				if renewed.Add(1) == 90 { // 4.5 s
					close(enough)
				}
			}
			c := dialIdle(t, addr, connectFlags{sideFlags: sideFlags{state: dir, attester: "simulated", reattest: true}}, func(cfg *expat.Config) {
				if asks == "server" {
					cfg.Reattested = func(*expat.Conn) { count() }
				}
			})
			if asks == "client" {
				go func() {
					for range 90 {
						if _, err := c.Reattest(context.Background()); err != nil {
							t.Error(err)
						}
						count()
						time.Sleep(50 * time.Millisecond)
					}
				}()
			}
			<-enough
			_, err := c.Write([]byte("still here"))
			require.NoError(t, err)
			require.NoError(t, c.CloseWrite())
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, "still here", string(got))
		})
	}
}

// mute is a server that takes everything and says nothing.
func mute(t *testing.T, dir string) (addr string) {
	t.Helper()
	f := serveFlags{sideFlags: sideFlags{state: dir, attester: "simulated"}}
	s, err := f.server(context.Background(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := expat.NewListener(raw, s.cfg)
	held := make(chan net.Conn, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			held <- c
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		_ = (<-held).Close()
	})
	return raw.Addr().String()
}

// Once the client has said everything it does not wait for ever.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	addr := mute(t, dir)
	f := connectFlags{sideFlags: sideFlags{state: dir, expect: "simulated"}, timeout: expat.DefaultTimeout, idle: 100 * time.Millisecond}
	err := f.connect(t.Context(), addr, strings.NewReader("hello?"), io.Discard, io.Discard)
	text, code := explain(err)
	require.Equal(t, exitNetwork, code)
	require.Contains(t, text, "the peer is slow or silent")
}
