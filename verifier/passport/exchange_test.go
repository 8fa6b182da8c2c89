package passport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
)

const serverName = "server.test"

// scene is a CA, a Verifier that issues EARs, and a server's identity.
type scene struct {
	ca       *testca.CA
	identity tls.Certificate
	issuer   *ear.Issuer
	checker  *ear.Checker
}

func newScene(t *testing.T) *scene {
	s := &scene{}
	var err error
	s.ca, err = testca.New("test", time.Now())
	require.NoError(t, err)
	s.identity = s.leaf(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s.issuer, err = ear.NewIssuer(ear.IssuerOptions{Key: key, Name: "verifier", Developer: "d", Build: "b"})
	require.NoError(t, err)
	keys, err := ear.Static(ear.Key{Public: &key.PublicKey})
	require.NoError(t, err)
	s.checker, err = ear.NewChecker(ear.CheckerOptions{Keys: keys, Issuer: "verifier"})
	require.NoError(t, err)
	return s
}

func (s *scene) leaf(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := s.ca.Leaf(key, time.Now(), serverName)
	require.NoError(t, err)
	return cert
}

func spki(t *testing.T, c tls.Certificate) []byte {
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	require.NoError(t, err)
	return leaf.RawSubjectPublicKeyInfo
}

// Obtain stands for Evidence sent to a Verifier that finds it good.
func (s *scene) Obtain(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error) {
	token, err := s.issuer.Issue(ctx, ear.Statement{Binding: b, Appraisals: []attestation.Appraisal{{Environment: "tee", Status: attestation.TierAffirming}}})
	return token, time.Now().Add(time.Hour), err
}

func (s *scene) verifier(t *testing.T, o passport.VerifierOptions) *passport.Verifier {
	o.Checker = s.checker
	v, err := passport.NewVerifier(o)
	require.NoError(t, err)
	return v
}

// exchange opens a connection to a server with this identity and attester, and sends a
// word through it.
func (s *scene) exchange(t *testing.T, identity tls.Certificate, a attestation.Attester, v attestation.Verifier) (*attestation.Result, error) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := expat.NewListener(tcp, &expat.Config{TLS: &tls.Config{Certificates: []tls.Certificate{identity}}, Attester: a, Timeout: 10 * time.Second})
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	defer func() { l.Close(); <-served }()
	c, err := expat.Dial(context.Background(), "tcp", tcp.Addr().String(), &expat.Config{
		TLS: &tls.Config{RootCAs: s.ca.Pool(), ServerName: serverName}, Verifier: v, Timeout: 10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_, err = c.Write([]byte("word"))
	require.NoError(t, err)
	word := make([]byte, 4)
	_, err = io.ReadFull(c, word)
	require.NoError(t, err)
	return c.Peer(), nil
}

// stolen presents what someone else obtained.
type stolen struct{ token []byte }

func (stolen) MediaTypes() []string { return []string{ear.MediaType} }

func (s stolen) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	return cmw.NewRecord(ear.MediaType, s.token, cmw.AttestationResults)
}

// B-13, B-15: the passport model over real connections, and what a thief can do.
func TestExchange(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	per, err := passport.NewPerConnection(s)
	require.NoError(t, err)
	cached, err := passport.NewCached(context.Background(), passport.CachedOptions{Source: s, SPKI: spki(t, s.identity)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cached.Close()) })
	b, err := attestation.AssertedBinding(make([]byte, 32), spki(t, s.identity))
	require.NoError(t, err)
	token, _, err := s.Obtain(context.Background(), b)
	require.NoError(t, err)
	thief := s.leaf(t)
	bound, free := passport.VerifierOptions{KeyBound: true}, passport.VerifierOptions{AllowUnboundPassport: true}
	for name, c := range map[string]struct {
		identity tls.Certificate
		attester attestation.Attester
		options  passport.VerifierOptions
		want     error
	}{
		"per connection":                  {s.identity, per, passport.VerifierOptions{}, nil},
		"per connection, bound to key":    {s.identity, per, bound, nil},
		"cached":                          {s.identity, cached, bound, nil},
		"cached is not for a connection":  {s.identity, cached, passport.VerifierOptions{}, ear.ErrNonce},
		"replayed":                        {s.identity, stolen{token}, passport.VerifierOptions{}, ear.ErrNonce},
		"stolen":                          {thief, stolen{token}, passport.VerifierOptions{}, ear.ErrNonce},
		"stolen, bound to key":            {thief, stolen{token}, bound, ear.ErrKey},
		"stolen, but it states its owner": {thief, stolen{token}, free, ear.ErrKey},
		"garbage":                         {s.identity, stolen{[]byte("x")}, free, attestation.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := s.exchange(t, c.identity, c.attester, s.verifier(t, c.options))
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "verifier", r.Verifier())
			require.LessOrEqual(t, r.Lifetime(), time.Hour)
		})
	}
}
