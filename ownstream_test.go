package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// ownStream is a Stream that is all there is of its connection.
type ownStream struct {
	*tls.Conn
	ctx    context.Context
	openBy error
	closed chan *Error // what CloseWithError was told first
}

func (s *ownStream) Context() context.Context   { return s.ctx }
func (s *ownStream) Open(context.Context) error { return s.openBy }

// CloseWithError closes at once, as a QUIC connection does.
func (s *ownStream) CloseWithError(e *Error) error {
	select {
	case s.closed <- e:
	default:
	}
	return s.NetConn().Close()
}

// ownStreams are the two ends of a connection whose TLS is not a Conn's to do.
func ownStreams(t *testing.T, client, server *Config) (c, s *ownStream) {
	t.Helper()
	clientTLS, err := StreamTLS(client, authenticator.Client)
	require.NoError(t, err)
	serverTLS, err := StreamTLS(server, authenticator.Server)
	require.NoError(t, err)
	cn, sn := tlspair.Pipe(t)
	c = &ownStream{Conn: tls.Client(cn, clientTLS), ctx: context.Background(), closed: make(chan *Error, 1)}
	s = &ownStream{Conn: tls.Server(sn, serverTLS), ctx: StreamContext(context.Background()), closed: make(chan *Error, 1)}
	done := make(chan error, 1)
	go func() { done <- s.HandshakeContext(s.ctx) }()
	require.NoError(t, c.HandshakeContext(c.ctx))
	require.NoError(t, <-done)
	return c, s
}

// The exchange and what follows it run on a Stream with the same code.
func TestOwnStream(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{true, false} {
		cc, sc := newWorld(t).configs(mutual)
		cc.Reattest, sc.Reattest = again, again
		cn, sn := ownStreams(t, cc, sc)
		c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		for _, conn := range []*Conn{c, s} {
			require.NotNil(t, conn.Peer())
			_, err := conn.Reattest(t.Context())
			if again {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrNoReattest)
			}
			for _, use := range []func([]byte) (int, error){conn.Read, conn.Write} {
				_, err = use([]byte{1})
				require.ErrorIs(t, err, errApart)
			}
			require.ErrorIs(t, conn.CloseWrite(), errApart)
			_, ok := conn.Bare()
			require.False(t, ok)
		}
		require.NoError(t, s.SetDeadline(time.Now().Add(-time.Second)), "of application data, which it has none of")
		// The end of the stream is that of the connection.
		require.NoError(t, cn.CloseWrite())
		told := <-sn.closed
		require.Equal(t, [2]any{StageStream, AlertProtocol}, [2]any{told.Stage, told.Alert})
		require.ErrorIs(t, told, ErrLost)
		require.ErrorIs(t, s.Handshake(), ErrLost)
		_ = c.Close()
	}
}

// What a Stream's connection is told when it must close: at once on an open one,
// after the frame that says why in the exchange.
func TestOwnStreamFailures(t *testing.T) {
	t.Parallel()
	t.Run("lifetime", func(t *testing.T) {
		t.Parallel()
		cc, sc := newWorld(t).configs(serverAttests)
		cc.Verifier = &toy{lifetime: time.Second}
		cn, sn := ownStreams(t, cc, sc)
		c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		// Both know when it runs out. Who is second may see the end of the other.
		<-cn.closed
		<-sn.closed
		require.ErrorIs(t, errors.Join(c.Handshake(), s.Handshake()), ErrExpired)
	})
	t.Run("DATA", func(t *testing.T) {
		t.Parallel()
		cc, sc := newWorld(t).configs(serverAttests)
		cn, sn := ownStreams(t, cc, sc)
		_, _, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		b, err := wire.Append(nil, wire.Data, []byte("x"))
		require.NoError(t, err)
		_, err = cn.Write(b)
		require.NoError(t, err)
		requireFailure(t, <-sn.closed, StageStream, AlertProtocol, Local, ErrProtocol)
	})
	t.Run("exchange", func(t *testing.T) {
		t.Parallel()
		cc, sc := newWorld(t).configs(serverAttests)
		cn, sn := ownStreams(t, cc, sc)
		go func() { _ = Server(sn, sc).Handshake() }()
		_, err := cn.Write([]byte{byte(wire.Result), 0, 0, 1, 0})
		require.NoError(t, err)
		_, _, err = wire.Read(cn, 1<<20) // HELLO
		require.NoError(t, err)
		typ, payload, err := wire.Read(cn, 1<<20)
		require.NoError(t, err)
		require.Equal(t, wire.Alert, typ)
		require.Equal(t, wire.EncodeAlert(uint16(AlertProtocol)), payload)
		requireFailure(t, <-sn.closed, StageHello, AlertProtocol, Local, ErrProtocol)
	})
}

// deaf is a Stream whose peer, in the end, takes no more bytes.
type deaf struct {
	*ownStream
	now atomic.Bool
}

func (s *deaf) Write(b []byte) (int, error) {
	if s.now.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return s.ownStream.Write(b)
}

// A peer that no longer reads the stream has ended it: nobody waits for an answer
// until a deadline.
func TestOwnStreamUnread(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(mutual)
	cc.Reattest, sc.Reattest = true, true
	cn, sn := ownStreams(t, cc, sc)
	stream := &deaf{ownStream: cn}
	c, _, err1, err2 := handshakes(t, Client(stream, cc), Server(sn, sc))
	require.NoError(t, errors.Join(err1, err2))
	stream.now.Store(true)
	_, err := c.Reattest(t.Context())
	requireFailure(t, err, StageValidate, AlertProtocol, Local, ErrLost)
	require.ErrorIs(t, err, ErrReattest)
}

// A Stream that cannot be opened, and what the peer gave as its reason.
func TestOwnStreamNotOpened(t *testing.T) {
	t.Parallel()
	said := &PeerClosedError{Alert: AlertLimit, Err: io.ErrUnexpectedEOF}
	for _, c := range []struct {
		openBy error
		alert  Alert
		side   Side
		reason error
	}{
		{said, AlertLimit, Peer, ErrPeerAlert},
		{io.ErrUnexpectedEOF, AlertProtocol, Local, ErrClosed},
		{context.DeadlineExceeded, AlertTimeout, Local, context.DeadlineExceeded},
	} {
		cc, sc := newWorld(t).configs(serverAttests)
		cn, _ := ownStreams(t, cc, sc)
		cn.openBy = c.openBy
		requireFailure(t, Client(cn, cc).Handshake(), StageHello, c.alert, c.side, c.reason)
	}
	require.ErrorIs(t, said, io.ErrUnexpectedEOF)
	require.EqualError(t, said, "limit: unexpected EOF")
}

// Nothing runs on a server's Stream whose TLS handshake was not under StreamTLS and
// StreamContext.
func TestOwnStreamConfig(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(serverAttests)
	_, sn := ownStreams(t, cc, sc)
	for _, ctx := range []context.Context{context.Background(), StreamContext(context.Background())} {
		sn.ctx = ctx
		requireFailure(t, Server(sn, sc).Handshake(), StageConfig, AlertInternal, Local, ErrConfig)
	}
	require.ErrorIs(t, Server(sn, nil).Handshake(), ErrConfig)
	_, err := StreamTLS(nil, authenticator.Server)
	requireFailure(t, err, StageConfig, AlertInternal, Local, ErrConfig)

	serverTLS, err := StreamTLS(sc, authenticator.Server)
	require.NoError(t, err)
	a, b := tlspair.Pipe(t)
	go func() {
		_ = tls.Client(a, &tls.Config{RootCAs: cc.TLS.RootCAs, ServerName: serverName, NextProtos: []string{alpnPrefix}}).Handshake()
	}()
	require.ErrorIs(t, tls.Server(b, serverTLS).HandshakeContext(context.Background()), ErrConfig)
}

// endless is a client's Stream whose TLS handshake runs under a context of its own.
type endless struct{ *ownStream }

func (s endless) HandshakeContext(ctx context.Context) error {
	return s.ownStream.HandshakeContext(context.WithoutCancel(ctx))
}

// What is plugged into the TLS handshake has until the Config's Timeout, be the context
// of a Stream's handshake without end: it would hold up the connection for ever.
func TestOwnStreamCallbacks(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	waits := func(ctx context.Context) ([]tls.Certificate, error) { <-ctx.Done(); return nil, ctx.Err() }
	ignores := func(context.Context) ([]tls.Certificate, error) { <-release; return nil, nil }
	for name, c := range map[string]struct {
		ofServer bool
		set      func(cc, sc *Config)
	}{
		"a server's GetIdentities":             {true, func(_, sc *Config) { sc.TLS.Certificates, sc.GetIdentities = nil, waits }},
		"a server's GetIdentities without ctx": {true, func(_, sc *Config) { sc.TLS.Certificates, sc.GetIdentities = nil, ignores }},
		"a client's GetIdentities":             {false, func(cc, _ *Config) { cc.TLS.Certificates, cc.GetIdentities = nil, waits }},
		"a client's GetIdentities without ctx": {false, func(cc, _ *Config) { cc.TLS.Certificates, cc.GetIdentities = nil, ignores }},
		"GetCertificate": {true, func(_, sc *Config) {
			sc.TLS.Certificates = nil
			sc.TLS.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { <-release; return nil, nil }
		}},
		"GetConfigForClient": {true, func(_, sc *Config) {
			sc.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { <-release; return nil, nil }
		}},
		"GetClientCertificate": {false, func(cc, _ *Config) {
			cc.Identities, cc.TLS.Certificates = cc.TLS.Certificates, nil
			cc.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { <-release; return nil, nil }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cc, sc := newWorld(t).configs(mutual)
			sc.TLS.ClientAuth = tls.RequireAnyClientCert
			c.set(cc, sc)
			if c.ofServer {
				sc.Timeout = 300 * time.Millisecond
			} else {
				cc.Timeout = 300 * time.Millisecond
			}
			clientTLS, err := StreamTLS(cc, authenticator.Client)
			require.NoError(t, err)
			serverTLS, err := StreamTLS(sc, authenticator.Server)
			require.NoError(t, err)
			cn, sn := tlspair.Pipe(t)
			served := make(chan error, 1)
			go func() {
				err := tls.Server(sn, serverTLS).HandshakeContext(StreamContext(context.Background()))
				_ = sn.Close()
				served <- err
			}()
			stream := endless{&ownStream{Conn: tls.Client(cn, clientTLS), ctx: context.Background(), closed: make(chan *Error, 1)}}
			err = Client(stream, cc).Handshake()
			require.Error(t, err)
			if onServer := <-served; c.ofServer {
				err = onServer
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}
