package expat

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
)

// renewing turns re-attestation on, on both sides, and leaves when to the test.
func renewing(c *Config) { c.Reattest = true }

// openMux returns both ends of a good connection on which frames go on.
func openMux(t testing.TB, direction string, change ...func(client, server *Config)) (c, s *Conn) {
	t.Helper()
	cc, sc := newWorld(t).configs(direction)
	renewing(cc)
	renewing(sc)
	for _, f := range change {
		f(cc, sc)
	}
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.NotNil(t, c.mux)
	require.NotNil(t, s.mux)
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	return c, s
}

// E-8: each side asks anew when it likes, both at once too, and knows the latest
// Result.
func TestReattest(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	first := []*attestation.Result{c.Peer(), s.Peer()}
	for range 3 {
		var wg sync.WaitGroup
		for _, conn := range []*Conn{c, s} {
			for range 2 {
				wg.Go(func() {
					before := conn.Peer()
					r, err := conn.Reattest(t.Context())
					if err != nil || r == before {
						t.Errorf("%v, %v", r, err)
					}
				})
			}
		}
		wg.Wait()
		echo(t, c, s, "hello")
		echo(t, s, c, "hello")
	}
	for i, conn := range []*Conn{c, s} {
		require.NotSame(t, first[i], conn.Peer())
		require.NotEqual(t, first[i].Binding().Binder(), conn.Peer().Binding().Binder())
		require.Equal(t, first[i].Binding().SPKI(), conn.Peer().Binding().SPKI())
	}
}

// The side that is asked anew hears of each time that its answer was accepted, and
// of no other; the first exchange is none.
func TestReattested(t *testing.T) {
	t.Parallel()
	heard := make(chan *Conn, 8)
	var bad atomic.Bool
	c, s := openMux(t, serverAttests, func(cc, sc *Config) {
		cc.Verifier = &toy{appraise: func(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
			if bad.Load() {
				return nil, attestation.Reject(errors.New("it has changed"))
			}
			return new(toy).Appraise(ctx, b, m)
		}}
		sc.Reattested = func(c *Conn) { heard <- c }
	})
	for range 3 {
		_, err := c.Reattest(t.Context())
		require.NoError(t, err)
		require.Same(t, s, <-heard)
		echo(t, c, s, "hello")
	}
	bad.Store(true)
	_, err := c.Reattest(t.Context())
	requireFailure(t, err, StageAppraise, AlertAttestationRejected, Local, ErrReattest)
	_, err = s.Read(make([]byte, 1))
	requireFailure(t, err, StageResult, AlertAttestationRejected, Peer, ErrReattest)
	require.Empty(t, heard)
}

// Bytes pass unchanged, both ways at once, while both sides ask anew all the time.
func TestReattestUnderLoad(t *testing.T) {
	t.Parallel()
	var rounds atomic.Int64
	c, s := openMux(t, mutual, func(cc, sc *Config) {
		for _, cfg := range []*Config{cc, sc} {
			cfg.ReattestEvery = 5 * time.Millisecond
			cfg.AfterReattest = func(_ *Conn, r *attestation.Result, err error) {
				if r != nil {
					rounds.Add(1)
				}
			}
		}
	})
	sent := make([]byte, 16<<20)
	_, _ = rand.Read(sent)
	for begun := time.Now(); rounds.Load() <= 4 && time.Since(begun) < time.Minute; {
		var wg sync.WaitGroup
		for _, pair := range [][2]*Conn{{c, s}, {s, c}} {
			wg.Go(func() {
				if _, err := io.Copy(struct{ io.Writer }{pair[0]}, bytes.NewReader(sent)); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				got := make([]byte, len(sent))
				if n, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(sent, got) {
					t.Errorf("%d bytes: %v", n, err)
				}
			})
		}
		wg.Wait()
	}
	require.Greater(t, rounds.Load(), int64(4))
}

// Many connections that renew all the time, and carry data.
func TestReattestSoak(t *testing.T) {
	const connections = 200
	w := newWorld(t)
	cc, sc := w.configs(mutual)
	var rounds atomic.Int64
	for _, cfg := range []*Config{cc, sc} {
		cfg.ReattestEvery, cfg.Timeout = 50*time.Millisecond, 60*time.Second
		cfg.AfterReattest = func(_ *Conn, r *attestation.Result, err error) {
			if err == nil {
				rounds.Add(1)
			}
		}
	}
	var wg sync.WaitGroup
	start := make(chan struct{})
	until := time.Now().Add(time.Hour)
	var ready sync.WaitGroup
	for range connections {
		cn, sn := tlspair.Pipe(t)
		ready.Add(1)
		wg.Go(func() {
			c, s := Client(cn, cc), Server(sn, sc)
			shake := make(chan error, 1)
			go func() { shake <- s.Handshake() }()
			err := errors.Join(c.Handshake(), <-shake)
			ready.Done()
			<-start
			for b := make([]byte, 100); err == nil && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
				if _, err = c.Write(b); err == nil {
					_, err = io.ReadFull(s, b)
				}
			}
			if err != nil {
				t.Error(err)
			}
			_ = c.Close()
			_ = s.Close()
		})
	}
	ready.Wait()
	until = time.Now().Add(1500 * time.Millisecond)
	rounds.Store(0)
	close(start)
	wg.Wait()
	require.Greater(t, rounds.Load(), int64(connections), "each has renewed")
}
