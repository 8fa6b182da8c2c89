package expat

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/internal/tlspair"
)

// source is a GetIdentities that counts.
type source struct {
	calls atomic.Int64
	certs atomic.Pointer[[]tls.Certificate]
	err   atomic.Pointer[error]
}

func gives(certs ...tls.Certificate) *source {
	s := new(source)
	s.certs.Store(&certs)
	return s
}

func (s *source) get(context.Context) ([]tls.Certificate, error) {
	s.calls.Add(1)
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return *s.certs.Load(), nil
}

// One list serves the TLS handshake and the authenticator of both sides; it is
// asked for once a connection, and a connection shows what it was given then.
func TestGetIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(mutual)
	cs, ss := gives(w.client), gives(w.server)
	cc.TLS.Certificates, sc.TLS.Certificates = nil, nil
	cc.GetIdentities, sc.GetIdentities = cs.get, ss.get
	sc.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	cc.RequireSameLeaf, sc.RequireSameLeaf = true, true
	for i := range int64(2) {
		c, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
		server, client := (*ss.certs.Load())[0].Leaf.Raw, (*cs.certs.Load())[0].Leaf.Raw
		require.Equal(t, server, c.ConnectionState().PeerCertificates[0].Raw)
		require.Equal(t, server, c.PeerCertificates()[0].Raw)
		require.Equal(t, client, s.ConnectionState().PeerCertificates[0].Raw)
		require.Equal(t, client, s.PeerCertificates()[0].Raw)
		require.Equal(t, [2]int64{i + 1, i + 1}, [2]int64{cs.calls.Load(), ss.calls.Load()})
		// The next connection shows other certificates, with other keys.
		cs.certs.Store(&[]tls.Certificate{leaf(t, w.ca, "client.test")})
		ss.certs.Store(&[]tls.Certificate{leaf(t, w.ca, serverName)})
	}
}

// What TLS names stays what the TLS handshake shows.
func TestGetIdentitiesBesideTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := leaf(t, w.ca, serverName)
	for name, change := range map[string]func(*Config){
		"Certificates": func(*Config) {},
		"GetCertificate": func(c *Config) {
			c.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &w.server, nil }}
		},
		"GetConfigForClient": func(c *Config) {
			chosen := c.TLS
			c.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }}
		},
	} {
		cc, sc := w.configs(serverAttests)
		change(sc)
		s := gives(other)
		sc.GetIdentities = s.get
		c, _, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		require.Equal(t, w.server.Leaf.Raw, c.ConnectionState().PeerCertificates[0].Raw, name)
		require.Equal(t, other.Leaf.Raw, c.PeerCertificates()[0].Raw, name)
		require.Equal(t, int64(1), s.calls.Load(), name)
	}
	// A server that GetConfigForClient gives no certificate either.
	cc, sc := w.configs(serverAttests)
	s := gives(other)
	sc.GetIdentities = s.get
	sc.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return new(tls.Config), nil }}
	c, _, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, other.Leaf.Raw, c.ConnectionState().PeerCertificates[0].Raw)
	require.Equal(t, int64(1), s.calls.Load())
}

// Of several the TLS handshake shows the first that fits, and a server one in any
// case.
func TestGetIdentitiesChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca, err := testca.New("strange", time.Now())
	require.NoError(t, err)
	strange := leaf(t, ca, "client.test")
	cc, sc := w.configs(mutual)
	cc.TLS.Certificates, sc.TLS.Certificates = nil, nil
	second := leaf(t, w.ca, serverName)
	cc.GetIdentities = gives(strange, w.client).get
	sc.GetIdentities = gives(leaf(t, w.ca, "other.test"), second).get
	sc.TLS.ClientAuth = tls.VerifyClientCertIfGiven
	c, s, err1, err2 := connect(t, cc, sc)
	require.Equal(t, second.Leaf.Raw, c.tls.ConnectionState().PeerCertificates[0].Raw)
	require.Equal(t, w.client.Leaf.Raw, s.tls.ConnectionState().PeerCertificates[0].Raw)
	// The authenticator is of the first that fits the request, which names no CA.
	requireFailure(t, err2, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
	requireFailure(t, err1, StageResult, AlertCertificate, Peer, ErrPeerAlert)

	sc.GetIdentities = gives(leaf(t, w.ca, "other.test")).get
	cc2, sc2 := w.configs(mutual)
	cc2.TLS.Certificates, sc2.TLS.Certificates = nil, nil
	cc2.GetIdentities, sc2.GetIdentities = gives(strange).get, sc.GetIdentities
	_, _, err1, _ = connect(t, cc2, sc2)
	requireFailure(t, err1, StageTLS, AlertCertificate, Local, errAnyTLS(err1))

	cc2, sc2 = w.configs(clientAttests)
	cc2.TLS.Certificates, cc2.GetIdentities = nil, gives(strange).get
	sc2.TLS.ClientAuth = tls.VerifyClientCertIfGiven
	_, s, _, err2 = connect(t, cc2, sc2)
	require.Empty(t, s.tls.ConnectionState().PeerCertificates, "the server takes none of its CA")
	requireFailure(t, err2, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
}

// errAnyTLS is the error of crypto/tls inside err.
func errAnyTLS(err error) error {
	var e *tls.CertificateVerificationError
	if errors.As(err, &e) {
		return e
	}
	return errors.New("no error of a certificate")
}

// Whatever goes wrong in GetIdentities fails the connection at its stage, on the
// side that has it, be it asked in the TLS handshake or after it.
func TestGetIdentitiesFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := errors.New("no key today")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	mixed := tls.Certificate{Certificate: w.server.Certificate, PrivateKey: w.client.PrivateKey}
	for name, c := range map[string]struct {
		get  func(context.Context) ([]tls.Certificate, error)
		want error
	}{
		"error":           {func(context.Context) ([]tls.Certificate, error) { return nil, broken }, broken},
		"refusal":         {func(context.Context) ([]tls.Certificate, error) { return nil, authenticator.ErrNoIdentity }, authenticator.ErrNoIdentity},
		"nothing":         {func(context.Context) ([]tls.Certificate, error) { return nil, nil }, errNoCertificate},
		"panic":           {func(context.Context) ([]tls.Certificate, error) { panic("secret") }, nil},
		"key of another":  {func(context.Context) ([]tls.Certificate, error) { return []tls.Certificate{mixed}, nil }, authenticator.ErrCertificate},
		"waits too long":  {func(ctx context.Context) ([]tls.Certificate, error) { <-ctx.Done(); return nil, ctx.Err() }, context.DeadlineExceeded},
		"ignores its ctx": {func(context.Context) ([]tls.Certificate, error) { <-release; return nil, broken }, context.DeadlineExceeded},
	} {
		for _, inTLS := range []bool{false, true} {
			for _, side := range []string{serverAttests, clientAttests} {
				if inTLS && name == "key of another" {
					continue // crypto/tls finds out
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					cc, sc := w.configs(side)
					mine := sc
					if side == clientAttests {
						mine = cc
						sc.TLS.ClientAuth = tls.RequestClientCert
					}
					mine.GetIdentities = c.get
					if inTLS {
						mine.TLS.Certificates = nil
					}
					if errors.Is(c.want, context.DeadlineExceeded) {
						mine.Timeout = 500 * time.Millisecond
					}
					client, server, err1, err2 := connect(t, cc, sc)
					err, theirs, conn := err2, err1, server
					if side == clientAttests {
						err, theirs, conn = err1, err2, client
					}
					want := c.want
					if want == nil {
						require.ErrorContains(t, err, "GetIdentities: it panicked with a string")
						require.NotContains(t, err.Error(), "secret")
						want = err
					}
					requireFailure(t, err, StageIdentity, AlertInternal, Local, want)
					require.Error(t, theirs)
					requireDead(t, conn)
				})
			}
		}
	}
}

// Close ends a GetIdentities that is under way.
func TestGetIdentitiesClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(serverAttests)
	called := make(chan struct{})
	sc.GetIdentities = func(ctx context.Context) ([]tls.Certificate, error) {
		close(called)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	sc.TLS.Certificates = nil
	cn, sn := tlspair.Pipe(t)
	c, s := Client(cn, cc), Server(sn, sc)
	go func() {
		<-called
		_ = s.Close()
	}()
	_, _, err1, err2 := handshakes(t, c, s)
	require.Error(t, err1)
	requireFailure(t, err2, StageIdentity, AlertInternal, Local, net.ErrClosed)
}

// On an open connection it is asked once each time, and what it says is as fatal.
func TestGetIdentitiesRenews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := gives(w.server)
	c, server := openMux(t, serverAttests, func(cc, sc *Config) {
		cc.TLS.RootCAs = w.ca.Pool()
		sc.TLS.Certificates, sc.GetIdentities = nil, s.get
	})
	key := w.server.PrivateKey.(*ecdsa.PrivateKey)
	for i := range int64(3) {
		next, err := w.ca.Leaf(key, time.Now(), serverName)
		require.NoError(t, err)
		s.certs.Store(&[]tls.Certificate{next})
		_, err = c.Reattest(t.Context())
		require.NoError(t, err)
		require.Equal(t, next.Leaf.Raw, c.PeerCertificates()[0].Raw)
		require.Equal(t, i+2, s.calls.Load())
	}
	gone := errors.New("gone")
	s.err.Store(&gone)
	_, err := c.Reattest(t.Context())
	requireFailure(t, err, StageValidate, AlertInternal, Peer, ErrReattest)
	_, err = server.Read(make([]byte, 1))
	requireFailure(t, err, StageIdentity, AlertInternal, Local, gone)
	require.ErrorIs(t, err, ErrReattest)
}

// A side without an Attester has it for the TLS handshake alone.
func TestGetIdentitiesWithoutAttester(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(clientAttests)
	s := gives(w.server)
	sc.TLS.Certificates, sc.GetIdentities = nil, s.get
	c, server, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, w.server.Leaf.Raw, c.ConnectionState().PeerCertificates[0].Raw)
	require.Equal(t, int64(1), s.calls.Load())
	require.Equal(t, attestation.TierAffirming, server.Peer().Tier())
}
