package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/tlspair"
)

// stranger runs a peer that is no expat against a Conn in the given role, and
// returns what the Conn's handshake came to.
func stranger(t *testing.T, w *world, server bool, change func(*Config), peer func(net.Conn)) (*Conn, error) {
	t.Helper()
	cc, sc := w.configs(serverAttests)
	cn, sn := tlspair.Pipe(t)
	c, other := Client(cn, apply(cc, []func(*Config){change})), sn
	if server {
		c, other = Server(sn, apply(sc, []func(*Config){change})), cn
	}
	done := make(chan struct{})
	go func() { defer close(done); peer(other) }()
	err := c.Handshake()
	<-done
	return c, err
}

// DESIGN 4 and 5, I-8: a peer that does not speak expat/1 over TLS 1.3 gets no
// connection, and the error says what to look for.
func TestNegotiation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := func(c *tls.Config) func(net.Conn) {
		return func(nc net.Conn) {
			c.RootCAs, c.ServerName = w.ca.Pool(), serverName
			p := tls.Client(nc, c)
			_ = p.Handshake()
			_, _ = io.Copy(io.Discard, p)
			nc.Close()
		}
	}
	server := func(c *tls.Config) func(net.Conn) {
		return func(nc net.Conn) {
			c.Certificates = []tls.Certificate{w.server}
			p := tls.Server(nc, c)
			if p.Handshake() == nil {
				_, _ = io.Copy(io.Discard, p)
			}
			nc.Close()
		}
	}
	say := func(s string) func(net.Conn) {
		return func(nc net.Conn) {
			_, _ = nc.Write([]byte(s))
			_, _ = io.Copy(io.Discard, nc)
			nc.Close()
		}
	}
	keep := func(*Config) {}
	names := func(names ...string) func(*Config) { return func(c *Config) { c.TLS.NextProtos = names } }
	for name, c := range map[string]struct {
		server bool
		change func(*Config)
		peer   func(net.Conn)
		stage  Stage
		alert  Alert
		reason error
	}{
		"client without ALPN":           {true, keep, client(&tls.Config{}), StageNegotiate, AlertProtocol, ErrNegotiation},
		"client with other ALPN":        {true, keep, client(&tls.Config{NextProtos: []string{"h2", "http/1.1"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"client with another version":   {true, keep, client(&tls.Config{NextProtos: []string{"expat/2"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"client with another protocol":  {true, names("h2"), client(&tls.Config{NextProtos: []string{"expat/1+http/1.1"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"client with the bare protocol": {true, names("h2"), client(&tls.Config{NextProtos: []string{"h2"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"client with a callback's own": {true, func(c *Config) {
			c.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.weak(), nil }
		}, client(&tls.Config{NextProtos: []string{"h2"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"server with the bare protocol": {false, names("h2"), server(&tls.Config{NextProtos: []string{"h2"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"client without the protocol":   {true, names("h2"), client(&tls.Config{NextProtos: []string{"expat/1"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"client of TLS 1.2":             {true, keep, client(&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"expat/1"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"server without ALPN":           {false, keep, server(&tls.Config{}), StageNegotiate, AlertProtocol, ErrNegotiation},
		"server with other ALPN":        {false, keep, server(&tls.Config{NextProtos: []string{"h2", "http/1.1"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"server of TLS 1.2":             {false, keep, server(&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"expat/1"}}), StageTLS, AlertProtocol, ErrNegotiation},
		"HTTP client in plain text":     {true, keep, say("GET / HTTP/1.1\r\nHost: server.test\r\n\r\n"), StageTLS, AlertProtocol, ErrNegotiation},
		"HTTP server in plain text":     {false, keep, say("HTTP/1.1 400 Bad Request\r\n\r\n"), StageTLS, AlertProtocol, ErrNegotiation},
		"SSH server":                    {false, keep, say("SSH-2.0-OpenSSH_9.2p1\r\n"), StageTLS, AlertProtocol, ErrNegotiation},
		"garbage to a server":           {true, keep, say("\x00\x01\x02\x03\x04\x05\x06\x07"), StageTLS, AlertProtocol, ErrNegotiation},
		"frames without TLS":            {true, keep, say("\x01\x00\x00\x07\xa3\x00\x01\x01\xf5\x02\xf4"), StageTLS, AlertProtocol, ErrNegotiation},
		"peer that closes":              {true, keep, func(nc net.Conn) { nc.Close() }, StageTLS, AlertInternal, io.EOF},
		"peer that closes on a client":  {false, keep, func(nc net.Conn) { _, _ = nc.Read(make([]byte, 4096)); nc.Close() }, StageTLS, AlertInternal, io.EOF},
		"silent peer":                   {true, func(c *Config) { c.Timeout = 30 * time.Millisecond }, say(""), StageTLS, AlertTimeout, context.DeadlineExceeded},
		"silent peer of a client":       {false, func(c *Config) { c.Timeout = 30 * time.Millisecond }, say(""), StageTLS, AlertTimeout, context.DeadlineExceeded},
		"server's certificate is wrong": {false, func(c *Config) { c.TLS.ServerName = "other.test" }, server(&tls.Config{NextProtos: []string{"expat/1"}}), StageTLS, AlertCertificate, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := stranger(t, w, c.server, c.change, c.peer)
			requireFailure(t, err, c.stage, c.alert, Local, or(c.reason, err))
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.alert == AlertTimeout, e.Timeout())
			require.False(t, e.Temporary())
			requireDead(t, conn)
		})
	}
}

// ALPN carries the application's protocol, and ConnectionState shows it alone.
func TestApplicationProtocol(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct{ client, server, want []string }{
		"none":                {nil, nil, []string{"", "expat/1"}},
		"one":                 {[]string{"http/1.1"}, []string{"http/1.1"}, []string{"http/1.1", "expat/1+http/1.1"}},
		"the server's choice": {[]string{"b", "a"}, []string{"a", "b"}, []string{"a", "expat/1+a"}},
		"a name with a plus":  {[]string{"a+b"}, []string{"a+b"}, []string{"a+b", "expat/1+a+b"}},
	} {
		cc, sc := w.configs(serverAttests)
		cc.TLS.NextProtos, sc.TLS.NextProtos = c.client, c.server
		conn, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		for _, x := range []*Conn{conn, s} {
			require.Equal(t, c.want[0], x.ConnectionState().NegotiatedProtocol, name)
			require.Equal(t, c.want[1], x.tls.ConnectionState().NegotiatedProtocol, name)
			require.Equal(t, uint16(tls.VersionTLS13), x.ConnectionState().Version)
		}
	}
	for _, bad := range []string{"", "expat", "expat/1+", "expat/11", "h2", "EXPAT/1", "expat/1h2"} {
		_, err := applicationProtocol(bad)
		require.ErrorIs(t, err, ErrNegotiation, bad)
	}
}

// E-5, A-1: whatever the TLS stack came to, these states are refused.
func TestCheckNegotiated(t *testing.T) {
	t.Parallel()
	good := tls.ConnectionState{Version: tls.VersionTLS13, NegotiatedProtocol: "expat/1"}
	require.NoError(t, checkNegotiated(good))
	old, resumed, plain := good, good, good
	old.Version, resumed.DidResume, plain.NegotiatedProtocol = tls.VersionTLS12, true, ""
	for text, cs := range map[string]tls.ConnectionState{
		"peer did not negotiate expat/1: version is TLS 1.2, want TLS 1.3":                   old,
		"peer did not negotiate expat/1: the TLS session was resumed":                        resumed,
		`peer did not negotiate expat/1: ALPN is ""; does the peer require attestation too?`: plain,
	} {
		err := checkNegotiated(cs)
		require.ErrorIs(t, err, ErrNegotiation)
		require.EqualError(t, err, text)
	}
}
