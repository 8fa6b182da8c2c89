package expathttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// Nothing but https is ever asked for; a redirect to http ends there.
func TestOnlyHTTPS(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	c, _ := client(t, cc, Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("dialled")
	}})
	for _, u := range []*url.URL{
		nil, {}, {Scheme: "https"}, {Host: "localhost"}, {Scheme: "http", Host: "localhost"},
		{Scheme: "HTTP", Host: "localhost"}, {Scheme: "ws", Host: "localhost"}, {Scheme: "https", Host: "bücher.test"},
	} {
		body := &closing{}
		_, err := c.Transport.RoundTrip(&http.Request{URL: u, Body: body, Header: http.Header{}}) //nolint:bodyclose // it fails
		require.ErrorIs(t, err, ErrNotHTTPS, "%v", u)
		require.True(t, body.closed.Load())
	}
	_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
	}))
	c, _ = client(t, cc, Options{})
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.ErrorIs(t, err, ErrNotHTTPS)
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://example.com/":     "example.com:443",
		"https://example.com:8443": "example.com:8443",
		"https://[::1]/":           "[::1]:443",
		"https://127.0.0.1:1/a?b":  "127.0.0.1:1",
	} {
		got, err := address(must(url.Parse(in)))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// A redirect makes the same demands of the next peer.
func TestRedirectKeepsDemands(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "mallory")
	_, second := serve(t, sc, describe)
	cc2, sc2 := configs("alice", "bob")
	cc2.TLS.RootCAs = cc.TLS.RootCAs
	_, first := serve(t, sc2, http.RedirectHandler("https://"+second+"/", http.StatusFound))
	c, _ := client(t, cc2, Options{})
	resp, _, err := get(t, t.Context(), c, "https://"+first+"/")
	require.NoError(t, err)
	require.Equal(t, "mallory", peerName(PeerOf(resp)))
	_, _, err = get(t, WithDemands(t.Context(), named("bob")), c, "https://"+first+"/")
	require.ErrorIs(t, err, ErrDemand)
}

// Through an HTTP CONNECT proxy: the server proves its name through the tunnel.
func TestTunnel(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	_, addr := serve(t, sc, describe)
	tunnel := func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { // the proxy
			defer far.Close()
			req, err := http.ReadRequest(bufio.NewReader(far))
			if err != nil || req.Method != http.MethodConnect {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				return
			}
			defer server.Close()
			_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\n\r\n")
			go func() { defer server.Close(); _, _ = io.Copy(server, far) }()
			_, _ = io.Copy(far, server)
		}()
		if _, err := fmt.Fprintf(near, "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n"); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(near), &http.Request{Method: http.MethodConnect})
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the proxy refuses: %w", err)
		}
		return near, nil
	}
	c, _ := client(t, cc, Options{DialContext: tunnel})
	resp, _, err := get(t, t.Context(), c, fleetURL)
	require.NoError(t, err)
	require.Equal(t, 2, resp.ProtoMajor)
	_, _, err = get(t, t.Context(), c, "https://elsewhere.test/")
	var e *expat.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, expat.StageTLS, e.Stage)
}

// The context of a request ends its wait, and the connection that nobody else
// waits for; others go on waiting.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	for _, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
		cc, sc := configs("alice", "bob", protocols...)
		_, addr := serve(t, sc, describe)
		hold, dialing := make(chan struct{}), make(chan struct{}, 10)
		ended := make(chan struct{}, 10)
		c, tr := client(t, cc, Options{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			dialing <- struct{}{}
			select {
			case <-hold:
				return new(net.Dialer).DialContext(ctx, network, addr)
			case <-ctx.Done():
				ended <- struct{}{}
				return nil, ctx.Err()
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, _, err := get(t, ctx, c, fleetURL); first <- err }()
		<-dialing
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		<-ended

		ctx, cancel = context.WithCancel(t.Context())
		go func() { _, _, err := get(t, ctx, c, fleetURL); first <- err }()
		<-dialing
		go func() { _, _, err := get(t, context.Background(), c, fleetURL); second <- err }()
		require.Eventually(t, func() bool {
			tr.pool.mu.Lock()
			defer tr.pool.mu.Unlock()
			h := tr.pool.hosts["localhost:443"]
			return h != nil && h.shared != nil && h.shared.waiters == 2
		}, 5*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		close(hold)
		require.NoError(t, <-second)
	}
}

// Who stops waiting for a connection of HTTP/1.1 leaves it to others, whether it is
// there already or not.
func TestAbandonedConnection(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		cc, sc := configs("alice", "bob", "http/1.1")
		_, addr := serve(t, sc, describe)
		c, tr := client(t, cc, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), tr.timeout)
		defer cancel()
		h := &host{http1: true, pending: 1}
		tr.pool.hosts[addr] = h
		d := &dialing{cancel: cancel, done: make(chan struct{}), waiters: 1}
		if !late {
			d.waiters = 0
		}
		tr.dial(ctx, addr, d)
		require.NoError(t, d.err)
		require.Equal(t, late, d.conn.busy())
		if late {
			tr.leave(addr, d)
		}
		require.False(t, d.conn.busy())
		_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
		require.NoError(t, err)
		require.Equal(t, 1, h.added)
	}
}

// Failures to connect are those of expat and net, once for all who wait, and leave
// nothing behind.
func TestDialFails(t *testing.T) {
	t.Parallel()
	cc, _ := configs("alice", "bob")
	refused := errors.New("refused")
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"error":   func(context.Context, string, string) (net.Conn, error) { return nil, refused },
		"nothing": func(context.Context, string, string) (net.Conn, error) { return nil, nil },
	} {
		c, tr := client(t, cc, Options{DialContext: dial})
		_, _, err := get(t, t.Context(), c, fleetURL)
		require.ErrorIs(t, err, map[string]error{"error": refused, "nothing": ErrConfig}[name])
		require.True(t, forgotten(tr))
	}
	short := cc.Clone()
	short.Timeout = 50 * time.Millisecond
	c, _ := client(t, short, Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		return near, nil // silent
	}})
	_, _, err := get(t, t.Context(), c, fleetURL)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestNewTransportRefuses(t *testing.T) {
	t.Parallel()
	cc, _ := configs("alice", "bob")
	other := cc.Clone()
	other.TLS.NextProtos = []string{"h3"}
	for _, c := range []struct {
		cfg *expat.Config
		o   Options
	}{{nil, Options{}}, {&expat.Config{}, Options{}}, {other, Options{}}, {cc, Options{IdleTimeout: -1}}, {cc, Options{MaxIdle: -1}}} {
		tr, err := NewTransport(c.cfg, c.o)
		require.ErrorIs(t, err, ErrConfig)
		require.Nil(t, tr)
	}
	empty := cc.Clone()
	empty.Attester, empty.Verifier = nil, nil
	_, sc := configs("alice", "bob")
	_, addr := serve(t, sc, describe)
	c, _ := client(t, empty, Options{})
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.ErrorIs(t, err, expat.ErrConfig)
}

// Traces see the connection and whether it has served before.
func TestTrace(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		_, addr := serve(t, sc, describe)
		c, _ := client(t, cc, Options{})
		for _, reused := range []bool{false, true} {
			var got httptrace.GotConnInfo
			var wrote atomic.Bool
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GotConn:      func(i httptrace.GotConnInfo) { got = i },
				WroteHeaders: func() { wrote.Store(true) },
			})
			_, _, err := get(t, ctx, c, "https://"+addr+"/")
			require.NoError(t, err)
			require.Equal(t, reused, got.Reused)
			require.IsType(t, (*expat.Conn)(nil), got.Conn)
			require.True(t, wrote.Load())
		}
	}
}

func TestPeerOfOthers(t *testing.T) {
	t.Parallel()
	for _, resp := range []*http.Response{nil, {}, {Request: &http.Request{}}} {
		_, ok := PeerOf(resp)
		require.False(t, ok)
	}
	require.Empty(t, classOf(nil))

	// A request with the context of another one's response does not have its peer.
	cc, sc := configs("alice", "bob")
	_, addr := serve(t, sc, describe)
	c, _ := client(t, cc, Options{})
	resp, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
	asks := cc.Clone()
	asks.Verifier = nil
	c, _ = client(t, asks, Options{})
	resp, _, err = get(t, context.WithoutCancel(resp.Request.Context()), c, "https://"+addr+"/")
	require.NoError(t, err)
	_, ok := PeerOf(resp)
	require.False(t, ok)
}

// An upgrade takes the attested connection over; the pool leaves it alone.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "http/1.1")
	_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.CopyN(conn, rw, 10)
	}))
	_, tr := client(t, cc, Options{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", nil)
	require.NoError(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.Equal(t, "bob", peerName(PeerOf(resp)))
	require.Eventually(t, func() bool { return forgotten(tr) }, 5*time.Second, time.Millisecond)
	stream := resp.Body.(io.ReadWriteCloser)
	for range 2 {
		_, err = io.WriteString(stream, "hello")
		require.NoError(t, err)
		echoed := make([]byte, 5)
		_, err = io.ReadFull(stream, echoed)
		require.NoError(t, err)
		require.Equal(t, "hello", string(echoed))
	}
	require.NoError(t, stream.Close())
}

// With DisableCompression encodings are left to who asks.
func TestDisableCompression(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, off := range []bool{false, true} {
			cc, sc := configs("alice", "bob", proto)
			_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding"))
			}))
			c, _ := client(t, cc, Options{DisableCompression: off})
			_, body, err := get(t, t.Context(), c, "https://"+addr+"/")
			require.NoError(t, err)
			require.Equal(t, map[bool]string{false: "gzip", true: ""}[off], body)
		}
	}
}

// The body of a request that cannot be sent as it is is closed all the same.
func TestInvalidRequest(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		_, addr := serve(t, sc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler ran") }))
		c, tr := client(t, cc, Options{})
		body := &closing{}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/", body)
		require.NoError(t, err)
		req.Header["X"] = []string{"a\r\nY: b"}
		_, err = c.Do(req) //nolint:bodyclose // it fails
		require.ErrorContains(t, err, "invalid header")
		require.True(t, body.closed.Load())
		require.False(t, pooled(tr, addr)[0].busy())
	}
}
