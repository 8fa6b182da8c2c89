package expathttp

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// forms are the ways in which requests travel: HTTP/2 on the bare tls.Conn, HTTP/2 on
// the Conn, in frames, and HTTP/1.1.
var forms = []struct {
	name      string
	framed    bool
	protocols []string
	major     int
	proto     string
}{
	{"both offered", false, nil, 2, "h2"},
	{"h2", false, []string{"h2"}, 2, "h2"},
	{"h2 on the Conn", true, []string{"h2"}, 2, "h2"},
	{"http/1.1", false, []string{"http/1.1"}, 1, "http/1.1"},
	{"http/1.1 on the Conn", true, []string{"http/1.1"}, 1, "http/1.1"},
	{"http/1.1 preferred", false, []string{"http/1.1", "h2"}, 1, "http/1.1"},
}

// framing has what travels between two sides travel in frames, or not.
func framing(cc, sc *expat.Config, framed bool) (*expat.Config, *expat.Config) {
	cc.Reattest, sc.Reattest = framed, framed
	return cc, sc
}

func eachForm(t *testing.T, f func(t *testing.T, configs func() (cc, sc *expat.Config))) {
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			f(t, func() (cc, sc *expat.Config) {
				cc, sc = configs("alice", "bob", form.protocols...)
				return framing(cc, sc, form.framed)
			})
		})
	}
}

// DESIGN 13: both protocols are negotiated and used, each side has the verdict on
// the other, and connections are reused.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			conns := map[string]bool{}
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				conns[r.RemoteAddr] = true
				mu.Unlock()
				if body, _ := io.ReadAll(r.Body); len(body) > 0 {
					_, _ = w.Write(body)
					return
				}
				describe(w, r)
			})
			cc, sc := configs("alice", "bob", form.protocols...)
			framing(cc, sc, form.framed)
			_, addr := serve(t, sc, h)
			c, _ := client(t, cc, Options{})
			for range 3 {
				resp, body, err := get(t, t.Context(), c, "https://"+addr+"/")
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("HTTP/%d.%d %s %s from %q", form.major, form.major%2, form.proto, form.proto, "alice"), body)
				require.Equal(t, form.major, resp.ProtoMajor)
				require.Equal(t, form.proto, resp.TLS.NegotiatedProtocol)
				require.True(t, resp.TLS.HandshakeComplete)
				require.Equal(t, "bob", peerName(PeerOf(resp)))

				big := strings.Repeat("a large body ", 50_000)
				resp, err = c.Post("https://"+addr+"/", "text/plain", strings.NewReader(big))
				require.NoError(t, err)
				echoed, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, big, string(echoed))
			}
			require.Len(t, conns, 1)
		})
	}
}

// One side attests and the other does not ask.
func TestDirections(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h2", "http/1.1"} {
		for _, direction := range []string{"server", "client"} {
			t.Run(direction+" "+proto, func(t *testing.T) {
				t.Parallel()
				cc, sc := configs("alice", "bob", proto)
				client2, server2 := "", "bob"
				if direction == "server" {
					cc.Attester, sc.Verifier = nil, nil
				} else {
					sc.Attester, cc.Verifier = nil, nil
					client2, server2 = "alice", ""
				}
				_, addr := serve(t, sc, describe)
				c, _ := client(t, cc, Options{})
				resp, body, err := get(t, t.Context(), c, "https://"+addr+"/")
				require.NoError(t, err)
				require.Contains(t, body, fmt.Sprintf("from %q", client2))
				require.Equal(t, server2, peerName(PeerOf(resp)))

				_, _, err = get(t, WithDemands(t.Context(), named("bob")), c, "https://"+addr+"/")
				if direction == "server" {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, ErrNotAttested, "nothing is known of the server")
				}
			})
		}
	}
}

// A client of plain TLS and one that is refused reach no handler.
func TestOthersReachNoHandler(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	refused := make(chan error, 10)
	sc.Refused = func(_ net.Addr, err error) { refused <- err }
	_, addr := serve(t, sc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler ran") }))
	for _, protocols := range [][]string{nil, {"h2", "http/1.1"}, {"http/1.1"}} {
		plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), NextProtos: protocols}, ForceAttemptHTTP2: true}}
		_, err := plain.Get("https://" + addr + "/") //nolint:bodyclose // it fails
		require.Error(t, err)
		require.ErrorIs(t, <-refused, expat.ErrNegotiation)
		plain.CloseIdleConnections()
	}
	// One that speaks our ALPN name and then HTTP at once.
	tc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"expat/1+http/1.1"}})
	require.NoError(t, err)
	defer tc.Close()
	_, err = tc.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	var e *expat.Error
	require.ErrorAs(t, <-refused, &e)
	require.Equal(t, expat.AlertProtocol, e.Alert)

	cc.Attester = nil
	c, _ := client(t, cc, Options{})
	_, _, err = get(t, t.Context(), c, "https://"+addr+"/")
	require.ErrorAs(t, err, &e)
	require.Equal(t, [2]any{expat.AlertAttestationRequired, expat.Peer}, [2]any{e.Alert, e.Side})
	require.ErrorIs(t, <-refused, expat.ErrNotAttested)
}

// The client sends nothing to a server that is refused, or of another name.
func TestServerRefused(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	sc.Attester = nil
	_, addr := serve(t, sc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler ran") }))
	c, tr := client(t, cc, Options{})
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.ErrorIs(t, err, expat.ErrNotAttested)
	require.True(t, forgotten(tr))

	_, good := configs("alice", "bob")
	good.TLS.Certificates = leaf("other.test")
	_, addr = serve(t, good, describe)
	_, _, err = get(t, t.Context(), c, "https://"+addr+"/")
	var e *expat.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, expat.StageTLS, e.Stage)
}

// A plain port that serves the same mux: the middleware lets nobody through.
func TestPlainPort(t *testing.T) {
	t.Parallel()
	denied := make(chan error, 1)
	guard := Require(describe)
	guard.Denied = func(_ *http.Request, reason error) { denied <- reason }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	plain := &http.Server{Handler: guard, ConnContext: attach, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- plain.Serve(ln) }()
	defer func() { _ = plain.Close(); <-done }()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, body, err := get(t, t.Context(), &http.Client{Transport: tr}, "http://"+ln.Addr().String()+"/")
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Equal(t, "Forbidden\n", body)
	require.ErrorIs(t, <-denied, ErrNotAttested)
	_, ok := PeerOf(resp)
	require.False(t, ok)
}

// Two hundred requests at a time over one HTTP/2 connection.
func TestManyRequestsOneConnection(t *testing.T) {
	t.Parallel()
	for _, framed := range []bool{false, true} {
		const n = 200
		all := make(chan struct{}, n)
		var mu sync.Mutex
		conns := map[string]int{}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			conns[r.RemoteAddr]++
			mu.Unlock()
			if r.URL.Path == "/wait" {
				all <- struct{}{}
				for len(all) < n {
					time.Sleep(time.Millisecond)
				}
			}
			_, _ = io.WriteString(w, r.URL.RawQuery)
		})
		cc, sc := configs("alice", "bob")
		framing(cc, sc, framed)
		_, addr := serve(t, sc, h)
		c, tr := client(t, cc, Options{})
		_, _, err := get(t, t.Context(), c, "https://"+addr+"/") // the server's SETTINGS are here now
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				resp, body, err := get(t, context.Background(), c, fmt.Sprintf("https://%s/wait?%d", addr, i))
				if err != nil || body != fmt.Sprint(i) || resp.ProtoMajor != 2 {
					t.Error(body, err)
				}
			})
		}
		wg.Wait()
		require.Len(t, conns, 1)
		require.Len(t, pooled(tr, addr), 1)
	}
}

// The first requests at the same time share the connection that is being made.
func TestFirstRequestsShareConnection(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	conns := map[string]bool{}
	cc, sc := configs("alice", "bob")
	_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
	}))
	c, _ := client(t, cc, Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, _, err := get(t, context.Background(), c, "https://"+addr+"/"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, conns, 1)
}

// Clients that are silent, in the TLS handshake or after it, hold up no other.
func TestSilentClients(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	sc.MaxExchanges = 2
	_, addr := serve(t, sc, describe)
	for range 8 {
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer nc.Close()
		tc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"expat/1+h2"}})
		require.NoError(t, err)
		defer tc.Close()
		conn, err := expat.Dial(t.Context(), "tcp", addr, withH2(cc))
		require.NoError(t, err) // attested, and then silent
		defer conn.Close()
	}
	c, _ := client(t, cc, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, _, err := get(t, ctx, c, "https://"+addr+"/")
	require.NoError(t, err)
}

func withH2(cfg *expat.Config) *expat.Config {
	cfg = cfg.Clone()
	cfg.TLS.NextProtos = []string{"h2"}
	return cfg
}

// E-10: a verdict that runs out, where nobody is asked anew, ends the connection under a
// request, on either side; the next request has a connection of its own.
func TestVerdictRunsOut(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		for _, side := range []string{"client", "server"} {
			t.Run(protocol+" "+side, func(t *testing.T) {
				t.Parallel()
				const lifetime = 2 * time.Second
				cc, sc := configs("alice", "bob", protocol)
				if side == "client" {
					cc.Verifier = &toy{lifetime: lifetime}
				} else {
					sc.Verifier = &toy{lifetime: lifetime}
				}
				ended := make(chan struct{}, 1)
				_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/wait" {
						<-r.Context().Done()
						if _, ok := FromRequest(r); ok && side == "server" {
							t.Error("the verdict still counts")
						}
						ended <- struct{}{}
					}
				}))
				c, _ := client(t, cc, Options{})
				begun := time.Now()
				_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
				require.NoError(t, err)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/wait", nil)
				require.NoError(t, err)
				resp, err := c.Do(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				require.Error(t, err)
				if side == "client" { // else the server's clock may be a moment ahead
					require.ErrorIs(t, err, expat.ErrExpired)
				}
				require.GreaterOrEqual(t, time.Since(begun), lifetime-50*time.Millisecond)
				<-ended
				require.Eventually(t, func() bool { // on a slow machine the next one runs out too
					_, _, err = get(t, t.Context(), c, "https://"+addr+"/")
					return err == nil
				}, 10*time.Second, time.Millisecond)
			})
		}
	}
}

var _ attestation.Verifier = (*toy)(nil)
