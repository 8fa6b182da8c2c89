package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

func TestTCP(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server, client := pair(t, dir, b.addr)
	got, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.Equal(t, "hello and the end", got, "a stream that ends one way goes on the other")

	large := make([]byte, 3<<20)
	_, err = rand.Read(large)
	require.NoError(t, err)
	got, err = ask(t, client.addrs["out"], string(large))
	require.NoError(t, err)
	require.True(t, bytes.Equal(append(large, " and the end"...), []byte(got)))

	require.EqualValues(t, 2, server.metric("handshakes_total", `outcome="accepted",proxy="web"`))
	require.EqualValues(t, 2, client.metric("handshakes_total", `outcome="accepted",proxy="out"`))
	require.EqualValues(t, 2, server.metric("verifier_seconds_count", `outcome="accepted",proxy="web"`))
	require.EqualValues(t, 2, server.metric("attester_seconds_count", `outcome="accepted",proxy="web"`))
	require.EqualValues(t, len(large)+len("hello"), client.metric("received_bytes_total", `proxy="out"`))
	eventually(t, func() bool { return server.metric("connections", `proxy="web"`) == 0 }, "both have ended")
	eventually(t, func() bool { return server.log.lines(t, "ended", `"tier":"affirming"`, `"proxy":"web"`) == 2 }, "ends are logged")
	require.NotContains(t, server.log.String(), "eat_nonce")
}

// A client without a sidecar of its own, and one that the policy refuses.
func TestNothingUnattested(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server := start(t, dir, serverSide(b.addr))
	addr := server.addrs["web"]

	c, err := expat.Dial(t.Context(), "tcp", addr, peer(t, dir))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, " and the end", string(got))
	require.NoError(t, c.Close())
	require.EqualValues(t, 1, b.conns.Load())

	silent := peer(t, dir)
	silent.Attester = nil
	_, err = expat.Dial(t.Context(), "tcp", addr, silent)
	require.Error(t, err)
	tc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: silent.TLS.RootCAs, ServerName: "localhost"})
	if err == nil { // in TLS 1.3 a client is done before the server has seen all
		_, err = tc.Read(make([]byte, 1))
		_ = tc.Close()
	}
	require.Error(t, err, "TLS without attestation")
	answer, _ := ask(t, addr, "GET / HTTP/1.0\r\n\r\n") // an alert, or a reset
	require.NotContains(t, answer, "end")
	eventually(t, func() bool {
		return server.metric("refusals_total", `proxy="web",reason="attestation_required",side="local"`) == 1 &&
			server.metric("refusals_total", `proxy="web",reason="negotiation",side="local"`) == 2
	}, "refusals are counted by reason")
	require.EqualValues(t, 3, server.metric("handshakes_total", `outcome="refused",proxy="web"`))

	strict, err := os.ReadFile(filepath.Join(dir, "s/policy-client.yaml"))
	require.NoError(t, err)
	strict = []byte(strings.ReplaceAll(string(strict), `client-image: "`, `client-image: "9`))
	replace(t, filepath.Join(dir, "s/strict.yaml"), strict)
	server = start(t, dir, strings.ReplaceAll(serverSide(b.addr), "s/policy-client.yaml", "s/strict.yaml"))
	client := start(t, dir, clientSide(server.addrs["web"]))
	_, err = ask(t, client.addrs["out"], "secret")
	require.Error(t, err, "the connection is broken off")
	eventually(t, func() bool {
		return server.metric("refusals_total", `proxy="web",reason="attestation_rejected",side="local"`) == 1 &&
			client.metric("refusals_total", `proxy="out",reason="attestation_rejected",side="peer"`) == 1
	}, "both sides know")
	require.EqualValues(t, 1, b.conns.Load(), "the backend saw the attested client alone")
}

// A server that cannot attest gets nothing of what a plain client sends.
func TestUpstreamUnattested(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	cfg := peer(t, dir)
	var mu sync.Mutex
	var got []byte
	rogue := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: cfg.TLS.Certificates, NextProtos: []string{"expat/1"}})
		b, _ := io.ReadAll(io.TeeReader(c, io.Discard))
		_ = tc
		mu.Lock()
		defer mu.Unlock()
		got = append(got, b...)
	})
	client := start(t, dir, clientSide(rogue.addr, "timeouts: {handshake: 200ms}"))
	_, err := ask(t, client.addrs["out"], "the secret of the plain client")
	require.Error(t, err)
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) > 0
	}, "a ClientHello came")
	require.NotContains(t, string(got), "secret")
}

func TestBackendFaults(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	t.Run("down", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, ln.Close())
		server, client := pair(t, dir, ln.Addr().String())
		_, err = ask(t, client.addrs["out"], "hello")
		require.Error(t, err, "a reset, not an end")
		require.EqualValues(t, 1, server.metric("refusals_total", `proxy="web",reason="upstream",side="local"`))
		require.EqualValues(t, 1, server.log.lines(t, "no upstream", "refused"))
		status, text := server.get("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Contains(t, text, `"web":"no upstream answers`)
		status, _ = client.get("/readyz")
		require.Equal(t, http.StatusOK, status, "of a client side the upstream is not asked")
	})
	t.Run("one of two down", func(t *testing.T) {
		t.Parallel()
		b := serve(t, "tcp", "127.0.0.1:0", echo)
		server, client := pair(t, dir, `127.0.0.1:1", "`+b.addr)
		for range 3 {
			got, err := ask(t, client.addrs["out"], "x")
			require.NoError(t, err)
			require.Equal(t, "x and the end", got)
		}
		status, text := server.get("/readyz")
		require.Equal(t, http.StatusOK, status, text)
		require.Positive(t, server.metric("upstream_errors_total", `proxy="web",upstream="127.0.0.1:1"`))
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c); time.Sleep(time.Second) })
		server := start(t, dir, serverSide(b.addr, "timeouts: {idle: 300ms}"))
		client := start(t, dir, clientSide(server.addrs["web"]))
		_, err := ask(t, client.addrs["out"], "hello")
		require.Error(t, err)
		eventually(t, func() bool { return server.log.lines(t, "cut", "silent for too long") == 1 }, "logged")
	})
	t.Run("closing early", func(t *testing.T) {
		t.Parallel()
		b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.WriteString(c, "half") })
		_, client := pair(t, dir, b.addr)
		got, err := ask(t, client.addrs["out"], "")
		require.NoError(t, err)
		require.Equal(t, "half", got)
	})
	t.Run("cut", func(t *testing.T) {
		t.Parallel()
		b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
			_, _ = io.WriteString(c, "half")
			time.Sleep(50 * time.Millisecond)
			_ = c.(*net.TCPConn).SetLinger(0)
		})
		_, client := pair(t, dir, b.addr)
		_, err := ask(t, client.addrs["out"], "")
		require.Error(t, err, "half an answer is not taken for a whole one")
	})
}

func TestExpiryAndReattestation(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	short, err := os.ReadFile(filepath.Join(dir, "s/policy-client.yaml"))
	require.NoError(t, err)
	short = []byte(strings.Replace(string(short), "platform: simulated", "platform: simulated\n    lifetime: 2s", 1))
	replace(t, filepath.Join(dir, "s/short.yaml"), short)
	b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(c, c) })
	expiring := func(more ...string) string {
		return strings.ReplaceAll(serverSide(b.addr, more...), "s/policy-client.yaml", "s/short.yaml")
	}
	talk := func(t *testing.T, addr string, until time.Duration) error {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(until+10*time.Second)))
		buf := make([]byte, 4)
		for end := time.Now().Add(until); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if _, err := io.WriteString(c, "ping"); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
		}
		return nil
	}
	t.Run("expiry", func(t *testing.T) {
		t.Parallel()
		server := start(t, dir, expiring())
		client := start(t, dir, clientSide(server.addrs["web"]))
		err := talk(t, client.addrs["out"], 10*time.Second)
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF, "neither side takes it for the end of the stream")
		eventually(t, func() bool { return server.metric("expiries_total", `proxy="web"`) == 1 }, "counted")
	})
	t.Run("reattest", func(t *testing.T) {
		t.Parallel()
		server := start(t, dir, expiring("reattest_every: 1s"))
		client := start(t, dir, clientSide(server.addrs["web"], "reattest: true"))
		require.NoError(t, talk(t, client.addrs["out"], 4*time.Second))
		require.GreaterOrEqual(t, server.metric("reattestations_total", `outcome="accepted",proxy="web"`), 2.0)
		require.Zero(t, server.metric("expiries_total", `proxy="web"`))
	})
	t.Run("peer does not", func(t *testing.T) {
		t.Parallel()
		server := start(t, dir, expiring("reattest_every: 1s"))
		client := start(t, dir, clientSide(server.addrs["web"]))
		_, err := ask(t, client.addrs["out"], "x")
		require.Error(t, err)
		eventually(t, func() bool { return server.metric("handshakes_total", `outcome="refused",proxy="web"`) == 1 }, "counted")
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server := start(t, dir, serverSide(b.addr))
	client := start(t, dir, "version: 1\nadmin: {listen: \"127.0.0.1:0\"}\nshutdown: {delay: 100ms, timeout: 10s}\n"+clientSide(server.addrs["web"]))
	c, err := net.Dial("tcp", client.addrs["out"])
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "still")
	require.NoError(t, err)
	buf := make([]byte, 5)
	_, err = io.ReadFull(c, buf)
	require.NoError(t, err)
	client.stop()
	eventually(t, func() bool { status, _ := client.get("/readyz"); return status == http.StatusServiceUnavailable }, "not ready")
	status, _ := client.get("/healthz")
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 1, client.metricOf("expat_proxy_draining"))
	eventually(t, func() bool {
		nc, err := net.Dial("tcp", client.addrs["out"])
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	}, "nothing new")
	_, err = io.WriteString(c, " here")
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, " here and the end", string(got))
	require.NoError(t, client.end())
	require.Equal(t, 1, client.log.lines(t, "draining"))
	require.Zero(t, client.log.lines(t, "connections cut"))

	// What does not end is cut.
	server2 := start(t, dir, "version: 1\nshutdown: {timeout: 100ms}\n"+serverSide(b.addr))
	attested, err := expat.Dial(t.Context(), "tcp", server2.addrs["web"], peer(t, dir))
	require.NoError(t, err)
	defer attested.Close()
	eventually(t, func() bool { return server2.log.lines(t, "opened") == 1 }, "open")
	require.NoError(t, server2.end())
	require.Equal(t, 1, server2.log.lines(t, "connections cut", `"connections":1`))
	_, err = attested.Read(make([]byte, 1))
	require.Error(t, err)
}

// metricOf is the value of a metric without labels.
func (s *running) metricOf(name string) float64 {
	_, text := s.get("/metrics")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name+" 1") {
			return 1
		}
	}
	return 0
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	taken := serve(t, "tcp", "127.0.0.1:0", echo)
	for name, tc := range map[string]struct{ text, want string }{
		"address taken": {serverSide("127.0.0.1:1", "listen: "+taken.addr), "address already in use"},
		"no policy":     {strings.Replace(serverSide("127.0.0.1:1"), "s/policy-client.yaml", "nowhere.yaml", 1), "nowhere.yaml"},
		"no roots":      {strings.Replace(serverSide("127.0.0.1:1"), "s/ca.pem", "sidecar-none.pem", 1), "sidecar-none.pem"},
		"no state":      {strings.Replace(serverSide("127.0.0.1:1"), "state: s", "state: s/ca.pem", 1), "ca.pem"},
		"no list":       {"proxies: 7 ", "it is no list"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tryStart(t, dir, tc.text+"#listen:")
			require.ErrorContains(t, err, tc.want)
		})
	}
	require.Error(t, Run(context.Background(), Options{Path: filepath.Join(dir, "none.yaml")}))
}
