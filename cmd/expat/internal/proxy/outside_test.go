package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
)

// raw is a plain backend that answers each connection with a text, after the head of
// one request, which it reports.
func raw(t *testing.T, answer string) (*backend, chan string) {
	t.Helper()
	heads := make(chan string, 64)
	return serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		r := bufio.NewReader(c)
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		heads <- head.String()
		_, _ = io.WriteString(c, answer)
	}), heads
}

// through runs both sides in mode http before a backend.
func through(t *testing.T, dir, backend string, more ...string) (server, client *running) {
	t.Helper()
	server = start(t, dir, serverSide(backend, append(more, "mode: http")...))
	return server, start(t, dir, clientSide(server.addrs["web"], "mode: http"))
}

// say sends a text on a plain connection and returns all that comes back, and how it
// ended.
func say(t *testing.T, addr, text string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	b, err := io.ReadAll(c)
	return string(b), err
}

const ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

// Informational responses are stripped as final ones are.
func TestInformational(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b, _ := raw(t, "HTTP/1.1 103 Early Hints\r\nExpat-Result: forged\r\nLink: kept\r\n\r\n"+ok)
	_, client := through(t, dir, b.addr)
	got, err := say(t, client.addrs["out"], "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	require.Contains(t, got, "103 Early Hints\r\nLink: kept")
	require.NotContains(t, strings.ToLower(got), "expat-result")
}

// What a client says of those before it, and in names that a backend may take for a
// sidecar's, does not pass.
func TestForwardedFromOutside(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b, heads := raw(t, ok)
	_, client := through(t, dir, b.addr)
	_, err := say(t, client.addrs["out"], "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Expat-Result, X-Forwarded-For\r\n"+
		"X-Forwarded-For: forged\r\nX_Forwarded_For: forged\r\nx-forwarded-client-cert: forged\r\nX-Forwarded-Port: forged\r\n"+
		"X-Real-IP: forged\r\nForwarded: for=forged\r\nExpat.Result: forged\r\nExpat~Result: forged\r\nExpat-Result: forged\r\n"+
		"Expat-Result: forged twice\r\nX-Forwarding: kept\r\n\r\n")
	require.NoError(t, err)
	head := <-heads
	require.NotContains(t, head, "forged")
	require.Contains(t, head, "X-Forwarding: kept\r\n")
	require.Contains(t, head, "X-Forwarded-For: 127.0.0.1\r\n")
	require.Contains(t, head, "X-Forwarded-Proto: https\r\n")
}

// A sidecar understands nothing of a query, and changes nothing of it.
func TestQueryIsKept(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b, heads := raw(t, ok)
	_, client := through(t, dir, b.addr)
	for _, target := range []string{"/a?z=1;y=2&b=%zz&a", "/%2e%2e//x?", "//double"} {
		_, err := say(t, client.addrs["out"], "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, "GET "+target+" HTTP/1.1", strings.SplitN(<-heads, "\r\n", 2)[0])
	}
}

// Request targets that are neither a path nor have one do not pass, and what could be
// read in two ways does not either.
func TestNoSmuggling(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b, heads := raw(t, ok)
	_, client := through(t, dir, b.addr)
	for name, request := range map[string]string{
		"opaque target":         "GET http:internal HTTP/1.1\r\nHost: x\r\n\r\n",
		"two lengths":           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"unknown coding":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"coding with a space":   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"folded header":         "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
		"two hosts":             "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"connect":               "CONNECT internal:80 HTTP/1.1\r\nHost: internal:80\r\n\r\n",
		"a header of 100 kByte": "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n",
	} {
		got, _ := say(t, client.addrs["out"], strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		require.Regexp(t, `^HTTP/1.1 [45]\d\d `, got, name)
	}
	_, err := say(t, client.addrs["out"], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n")
	require.NoError(t, err)
	head := <-heads
	require.NotEqual(t, strings.Contains(head, "Content-Length"), strings.Contains(head, "Transfer-Encoding"), "one length")
	got, err := say(t, client.addrs["out"], "GET http://user:secret@internal/path HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	require.Contains(t, got, "200 OK")
	close(heads)
	for head := range heads {
		require.NotContains(t, head, "internal")
		require.NotContains(t, head, "secret")
	}
}

// Of upgrades only WebSocket passes: in what follows one to another HTTP nobody would
// remove headers.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	heads := make(chan http.Header, 8)
	b := web(t, func(w http.ResponseWriter, r *http.Request) {
		heads <- r.Header
		protocol := r.Header.Get("Upgrade")
		if protocol == "" {
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\nExpat-Result: forged\r\n\r\n", protocol)
		_, _ = io.Copy(conn, rw)
	})
	_, client := through(t, dir, b.Listener.Addr().String())
	for protocol, want := range map[string]int{"websocket": 101, "WebSocket": 101, "h2c": 200, "websocket, h2c": 200, "TLS/1.2": 200} {
		conn, err := net.Dial("tcp", client.addrs["out"])
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", protocol)
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, want, resp.StatusCode, protocol)
		require.Empty(t, resp.Header["Expat-Result"])
		got := <-heads
		require.Equal(t, want == 101, got.Get("Upgrade") != "", protocol)
		require.Empty(t, got["Http2-Settings"])
		if want != 101 {
			continue
		}
		_, err = io.WriteString(conn, "ping")
		require.NoError(t, err)
		echoed := make([]byte, 4)
		_, err = io.ReadFull(r, echoed)
		require.NoError(t, err)
		require.Equal(t, "ping", string(echoed))
	}
}

// A request that is being sent is not late.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := web(t, nil)
	server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http", "timeouts: {response: 400ms}"))
	client := start(t, dir, clientSide(server.addrs["web"], "mode: http", "timeouts: {response: 400ms}"))
	in, out := io.Pipe()
	go func() {
		for range 16 {
			time.Sleep(100 * time.Millisecond)
			_, _ = io.WriteString(out, "x")
		}
		_ = out.Close()
	}()
	resp, err := plainClient(t, false).Post("http://"+client.addrs["out"]+"/", "text/plain", in)
	require.NoError(t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "POST / "+strings.Repeat("x", 16), string(got))
}

// To a program that speaks HTTP/1.0 the end of the connection is that of the answer.
func TestCutAnswerToHTTP10(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b, _ := raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	_, client := through(t, dir, b.addr)
	_, err := say(t, client.addrs["out"], "GET / HTTP/1.0\r\n\r\n")
	require.Error(t, err, "half an answer is not taken for a whole one")
}

// A token does not outlive the verdict, of whose time some has passed.
func TestTokenEndsWithVerdict(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	key := writeKey(t, dir, "sign.pem")
	s, err := newSigner(&config.Result{Key: dir + "/sign.pem", Issuer: "expat-proxy", Audience: "backend", Lifetime: time.Minute})
	require.NoError(t, err)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server := start(t, dir, serverSide(b.addr))
	c, err := expat.Dial(t.Context(), "tcp", server.addrs["web"], peer(t, dir))
	require.NoError(t, err)
	defer c.Close()
	expires := func(ends time.Time) time.Time {
		token, err := s.token(t.Context(), c.Peer(), ends)
		require.NoError(t, err)
		e := checkToken(t, key, token)
		require.Equal(t, attestation.TierAffirming, e.Appraisals()[0].Status)
		return e.Expires()
	}
	soon := time.Now().Add(20 * time.Second)
	require.False(t, expires(soon).After(soon))
	clear(s.tokens)
	require.WithinDuration(t, time.Now().Add(time.Minute), expires(time.Now().Add(time.Hour)), 5*time.Second)
	clear(s.tokens)
	_, err = s.token(t.Context(), c.Peer(), time.Now())
	require.Error(t, err, "nothing is left to state")
}

// A name is what whoever is asked makes of it: plain text goes to this machine only.
func TestOnThisMachine(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]error{
		"127.0.0.1:80": nil, "127.9.9.9:80": nil, "[::1]:80": nil, "[::ffff:127.0.0.1]:80": nil, "/run/backend": nil,
		"192.0.2.1:80": errElsewhere, "[2001:db8::1]:80": errElsewhere, "[::ffff:192.0.2.1]:80": errElsewhere, "0.0.0.0:80": errElsewhere,
	} {
		require.ErrorIs(t, onThisMachine("tcp", address, nil), want, address)
	}
	g := &generation{spec: config.Proxy{Side: config.Server, Timeouts: config.Timeouts{Connect: time.Second}}, proxy: &proxy{metrics: newMetrics()}}
	_, err := g.dialOne(t.Context(), "192.0.2.1:80", nil)
	require.ErrorIs(t, err, errElsewhere)
}

// Keys that everybody can read are told of.
func TestOpenSecrets(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	newAuthority(t, dir, "ca").write(t, "cert", "localhost")
	writeKey(t, dir, "sign.pem")
	require.NoError(t, os.Chmod(filepath.Join(dir, "cert-key.pem"), 0o644))
	server := start(t, dir, strings.Replace(serverSide("127.0.0.1:1", "mode: http", "result: {key: sign.pem}"), "{attester: simulated, state: s}", "{certificate: cert.pem, key: cert-key.pem}", 1))
	require.Equal(t, 1, server.log.lines(t, "secret is open to everybody", "/cert-key.pem", `"mode":"-rw-r--r--"`))
	require.Equal(t, 1, server.log.lines(t, "secret is open to everybody"))
}
