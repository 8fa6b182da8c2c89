package expathttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// fleet is one address behind which connections reach several servers in turn, each
// with another name in its Evidence, as behind a load balancer.
type fleet struct {
	addrs []string
	turn  atomic.Int64
	fixed atomic.Int64 // if not 0, the one (from 1) that all connections reach
}

func newFleet(t testing.TB, sc func(name string) *expat.Config, names ...string) *fleet {
	t.Helper()
	f := new(fleet)
	for _, name := range names {
		_, addr := serve(t, sc(name), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, name)
		}))
		f.addrs = append(f.addrs, addr)
	}
	return f
}

func (f *fleet) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	i := f.turn.Add(1) - 1
	if fixed := f.fixed.Load(); fixed > 0 {
		i = fixed - 1
	}
	return new(net.Dialer).DialContext(ctx, network, f.addrs[i%int64(len(f.addrs))])
}

const fleetURL = "https://localhost/"

// A request with demands goes to a peer that meets them and to no other, whatever
// else is in the pool for that address; what PeerOf says is who answered.
func TestPoolIsolation(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cc, sc := configs("alice", "", protocol)
			f := newFleet(t, func(name string) *expat.Config {
				c := sc.Clone()
				c.Attester = &toy{name: name}
				return c
			}, "blue", "green")
			c, tr := client(t, cc, Options{DialContext: f.dial, MaxIdle: 100})
			var wg sync.WaitGroup
			for i := range 60 {
				wg.Go(func() {
					ctx, want := context.Background(), []string{"blue", "green", ""}[i%3]
					if want != "" {
						ctx = WithDemands(ctx, named(want))
					}
					for range 3 {
						resp, body, err := get(t, ctx, c, fleetURL)
						switch {
						case errors.Is(err, ErrPeers): // chance gave it the other four times
						case err != nil || peerName(PeerOf(resp)) != body || want != "" && want != body:
							t.Error(want, body, err)
						}
					}
				})
			}
			wg.Wait()
			classes := map[string]string{}
			for _, c := range pooled(tr, "localhost:443") {
				name := peerName(c.conn.Peer(), true)
				classes[c.class()] = name
			}
			require.Len(t, classes, 2)
		})
	}
}

// Requests without demands stay with the kind of peer that the newest connection
// led to, and move on when its connections have ended.
func TestOneKindOfPeerAtATime(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "", "h2")
	f := newFleet(t, func(name string) *expat.Config {
		c := sc.Clone()
		c.Attester = &toy{name: name}
		return c
	}, "blue", "green")
	c, tr := client(t, cc, Options{DialContext: f.dial})
	ask := func(demands ...Demand) string {
		_, body, err := get(t, WithDemands(t.Context(), demands...), c, fleetURL)
		require.NoError(t, err)
		return body
	}
	for range 5 {
		require.Equal(t, "blue", ask())
	}
	require.Equal(t, "green", ask(named("green")))
	for range 5 {
		require.Equal(t, "green", ask())
		require.Equal(t, "blue", ask(named("blue")))
	}
	require.EqualValues(t, 2, f.turn.Load(), "no further connection was made")
	conns := pooled(tr, "localhost:443")
	require.NoError(t, conns[1].conn.Close())
	require.Eventually(t, func() bool { return ask() == "blue" }, 5*time.Second, time.Millisecond)
	require.EqualValues(t, 2, f.turn.Load())
}

// A demand that no peer meets fails after so many connections, which are kept for
// others; the body is closed.
func TestUnmetDemand(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "", protocol)
		f := newFleet(t, func(name string) *expat.Config {
			c := sc.Clone()
			c.Attester = &toy{name: name}
			return c
		}, "blue", "green", "red")
		c, _ := client(t, cc, Options{DialContext: f.dial})
		body := &closing{}
		req, err := http.NewRequestWithContext(WithDemands(t.Context(), named("white")), http.MethodPost, fleetURL, body)
		require.NoError(t, err)
		_, err = c.Do(req) //nolint:bodyclose // it fails
		require.ErrorIs(t, err, ErrPeers)
		require.ErrorIs(t, err, ErrDemand)
		require.ErrorContains(t, err, `is not "white"`)
		require.EqualValues(t, MaxUnfit, f.turn.Load())
		require.True(t, body.closed.Load())
		require.False(t, body.read.Load(), "nothing was sent")

		// Met by one that was made on the way, and demands add up.
		ctx := WithDemands(WithDemands(t.Context(), named("red")), Tier(attestation.TierAffirming))
		_, got, err := get(t, ctx, c, fleetURL)
		require.NoError(t, err)
		require.Equal(t, "red", got)
		require.EqualValues(t, MaxUnfit, f.turn.Load())
		_, _, err = get(t, WithDemands(ctx, nil), c, fleetURL)
		require.ErrorIs(t, err, ErrConfig, "a nil Demand is met by nobody")
	}
}

// closing is a body that remembers what was done with it.
type closing struct{ read, closed atomic.Bool }

func (c *closing) Read([]byte) (int, error) { c.read.Store(true); return 0, io.EOF }
func (c *closing) Close() error             { c.closed.Store(true); return nil }

// Connections are not shared between names, though one certificate holds both and
// both lead to the same server.
func TestNoCoalescing(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "h2")
	var mu sync.Mutex
	conns := map[string]bool{}
	_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
	}))
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	c, _ := client(t, cc, Options{})
	for range 2 {
		for _, host := range []string{"127.0.0.1", "localhost"} {
			_, _, err := get(t, t.Context(), c, "https://"+net.JoinHostPort(host, port)+"/")
			require.NoError(t, err)
		}
	}
	require.Len(t, conns, 2)
}

// A pooled connection whose verdict ran out is not used again, even if it is still
// there; its end is no error for the next request, whose method does not matter.
func TestExpiredIsNotReused(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cc, sc := configs("alice", "bob", protocol)
			cc.Verifier = &toy{lifetime: 3 * time.Second} // two requests fit in, on a busy machine too
			f := newFleet(t, func(string) *expat.Config { return sc }, "bob")
			c, tr := client(t, cc, Options{DialContext: f.dial})
			ask := func() {
				resp, err := c.Post(fleetURL, "text/plain", new(closing))
				require.NoError(t, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			ask()
			ask()
			require.EqualValues(t, 1, f.turn.Load())
			conn := pooled(tr, "localhost:443")[0]
			time.Sleep(time.Until(conn.conn.Expires()))
			require.ErrorIs(t, conn.usable(), expat.ErrExpired)
			ask()
			require.EqualValues(t, 2, f.turn.Load())
			require.Eventually(t, func() bool {
				return len(pooled(tr, "localhost:443")) == 1
			}, 5*time.Second, time.Millisecond)
		})
	}
}

// What is idle is closed after a time, beyond a number, and when asked.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cc, sc := configs("alice", "bob", protocol)
			f := newFleet(t, func(string) *expat.Config { return sc }, "bob")
			c, tr := client(t, cc, Options{DialContext: f.dial, IdleTimeout: 200 * time.Millisecond})
			empty := func() bool { return forgotten(tr) }
			begun := time.Now()
			_, _, err := get(t, t.Context(), c, fleetURL)
			require.NoError(t, err)
			require.False(t, empty())
			require.Eventually(t, empty, 5*time.Second, time.Millisecond)
			require.GreaterOrEqual(t, time.Since(begun), 200*time.Millisecond)
			_, _, err = get(t, t.Context(), c, fleetURL)
			require.NoError(t, err)
			require.EqualValues(t, 2, f.turn.Load())
			tr.CloseIdleConnections()
			require.True(t, empty())
		})
	}
}

// A burst of HTTP/1.1 leaves no more than MaxIdle connections behind.
func TestMaxIdle(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "http/1.1")
	const n = 12
	var all sync.WaitGroup
	all.Add(n)
	_, addr := serve(t, sc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { all.Done(); all.Wait() }))
	c, tr := client(t, cc, Options{MaxIdle: 3})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, _, err := get(t, context.Background(), c, "https://"+addr+"/"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool {
		return len(pooled(tr, addr)) == 3
	}, 5*time.Second, time.Millisecond)
}

// CloseIdleConnections leaves a request alone; its connection ends after it.
func TestCloseIdleSparesRequests(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		entered, leave := make(chan struct{}), make(chan struct{})
		_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			_, _ = io.WriteString(w, "done")
		}))
		c, tr := client(t, cc, Options{})
		got := make(chan string, 1)
		go func() {
			_, body, err := get(t, context.Background(), c, "https://"+addr+"/")
			got <- fmt.Sprint(body, err)
		}()
		<-entered
		conn := pooled(tr, addr)[0]
		tr.CloseIdleConnections()
		require.NoError(t, conn.cc.Err())
		conn.retire() // as by MaxIdle in a race with the request
		require.Error(t, conn.reserve(), "nobody else gets it")
		close(leave)
		require.Equal(t, "done<nil>", <-got)
		require.Eventually(t, func() bool { return conn.cc.Err() != nil }, 5*time.Second, time.Millisecond)
	}
}

// A server that has vanished without a word, as one behind a tunnel can, is noticed
// under a request that would wait for ever.
func TestVanishedServer(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "h2")
	entered := make(chan struct{})
	_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	var deaf atomic.Bool
	c, tr := client(t, cc, Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &deafConn{nc, &deaf}, err
	}})
	require.Equal(t, pingAfter, tr.http2.HTTP2.SendPingTimeout)
	tr.http2.HTTP2.SendPingTimeout, tr.http2.HTTP2.PingTimeout = 50*time.Millisecond, 200*time.Millisecond
	failed := make(chan error, 1)
	go func() { failed <- lasting(c, "https://"+addr+"/", http.NoBody) }()
	<-entered
	deaf.Store(true)
	require.ErrorContains(t, <-failed, "lost")
	require.Eventually(t, func() bool { return forgotten(tr) }, 5*time.Second, time.Millisecond)
}

// deafConn hears nothing any more when it is told so.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (d *deafConn) Read(b []byte) (int, error) {
	for {
		n, err := d.Conn.Read(b)
		if err != nil || !d.deaf.Load() {
			return n, err
		}
	}
}
