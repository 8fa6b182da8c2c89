package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"
)

// With TLS to a backend the header comes before it, as backends that know the protocol
// read it; so do probes of the sidecar's own, which say so.
func TestProxyProtocolBeforeTLS(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	leaf := newAuthority(t, dir, "backends").leaf(t, "backend.test")
	headers := make(chan *proxyproto.Header, 8)
	b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			return
		}
		tc := tls.Server(&buffered{c, r}, &tls.Config{Certificates: []tls.Certificate{leaf}})
		if tc.Handshake() != nil {
			return
		}
		headers <- h
		_, _ = io.Copy(tc, tc)
		_ = tc.CloseWrite()
	})
	server := start(t, dir, serverSide(b.addr, "proxy_protocol: v2", "backend_tls: {roots: backends.pem, server_name: backend.test}"))
	client := start(t, dir, clientSide(server.addrs["web"]))
	got, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	h := <-headers
	require.Equal(t, proxyproto.PROXY, h.Command)
	require.Equal(t, server.addrs["web"], h.DestinationAddr.String())
	status, text := server.get("/readyz")
	require.Equal(t, http.StatusOK, status, text)
	require.Equal(t, proxyproto.LOCAL, (<-headers).Command)
}

// buffered is a connection of which something was read.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// The address families, as one listener for both sees them.
func TestProxyProtocolAddresses(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	headers := make(chan *proxyproto.Header, 8)
	b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err == nil {
			headers <- h
		}
		_, _ = r.WriteTo(c)
	})
	server := start(t, dir, strings.Replace(serverSide(b.addr, "proxy_protocol: v2", `listen: "[::]:0"`), "state: s", "state: s, expose_test_keys: true", 1))
	_, port, err := net.SplitHostPort(server.addrs["web"])
	require.NoError(t, err)
	for host, want := range map[string]proxyproto.AddressFamilyAndProtocol{"127.0.0.1": proxyproto.TCPv4, "::1": proxyproto.TCPv6} {
		client := start(t, dir, clientSide(net.JoinHostPort(host, port)))
		_, err = ask(t, client.addrs["out"], "hello")
		require.NoError(t, err)
		h := <-headers
		require.Equal(t, want, h.TransportProtocol)
		require.Equal(t, host, h.SourceAddr.(*net.TCPAddr).IP.String())
		require.Equal(t, net.JoinHostPort(host, port), h.DestinationAddr.String())
	}
}

// A stream of TLS that nobody has ended is no whole answer.
func TestBackendTLSCut(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	leaf := newAuthority(t, dir, "backends").leaf(t, "backend.test")
	b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{leaf}})
		_, _ = io.WriteString(tc, "half")
		_ = c.(*net.TCPConn).CloseWrite() // FIN, and no close_notify
		_, _ = io.Copy(io.Discard, c)
	})
	server := start(t, dir, serverSide(b.addr, "backend_tls: {roots: backends.pem, server_name: backend.test}"))
	client := start(t, dir, clientSide(server.addrs["web"]))
	_, err := ask(t, client.addrs["out"], "")
	require.Error(t, err, "half an answer is not taken for a whole one")

	// In mode http, where the end of the connection is that of the answer.
	b = serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{leaf}})
		_, _ = tc.Read(make([]byte, 4096))
		_, _ = io.WriteString(tc, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	server = start(t, dir, serverSide(b.addr, "mode: http", "backend_tls: {roots: backends.pem, server_name: backend.test}"))
	client = start(t, dir, clientSide(server.addrs["web"], "mode: http"))
	resp, err := plainClient(t, false).Get("http://" + client.addrs["out"])
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	require.Error(t, err, "half an answer is not taken for a whole one")
}

// An upstream that swallows what is sent to it keeps nobody from asking the others.
func TestReadyWithSilentUpstream(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	newAuthority(t, dir, "backends")
	silent := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	leaf := newAuthority(t, dir, "backends").leaf(t, "backend.test")
	b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{leaf}}).Handshake()
	})
	server := start(t, dir, serverSide(silent.addr+`", "`+b.addr, "backend_tls: {roots: backends.pem, server_name: backend.test}", "timeouts: {connect: 1m}"))
	began := time.Now()
	status, text := server.get("/readyz")
	require.Equal(t, http.StatusOK, status, text)
	require.Less(t, time.Since(began), 30*time.Second)
}
