package expat

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/testca"
)

// byName is a RootsForURI with roots for each name.
type byName struct {
	mu    sync.Mutex
	known map[string]*x509.CertPool
	asked []string
}

var errUnknownName = errors.New("unknown name")

func (b *byName) roots(_ context.Context, name *url.URL) (*x509.CertPool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, name.String())
	pool, ok := b.known[name.String()]
	if !ok {
		return nil, errUnknownName
	}
	name.Host = "overwritten" // must change nothing
	return pool, nil
}

// uriLeaf issues a certificate that names URIs and nothing else.
func uriLeaf(t testing.TB, ca *testca.CA, usage []x509.ExtKeyUsage, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"SPIRE"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage,
	}
	for _, name := range names {
		u, err := url.Parse(name)
		require.NoError(t, err)
		template.URIs = append(template.URIs, u)
	}
	cert, err := ca.Issue(template, key)
	require.NoError(t, err)
	return cert
}

const clientURI, serverURI = "spiffe://a.test/client", "spiffe://a.test/server"

var bothUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// uriConfigs are mutual, with certificates that have no DNS name.
func uriConfigs(t testing.TB, ca *testca.CA) (cc, sc *Config) {
	known := map[string]*x509.CertPool{clientURI: ca.Pool(), serverURI: ca.Pool()}
	side := func(name string) *Config {
		return &Config{
			Attester: &toy{}, Verifier: &toy{}, Timeout: 10 * time.Second,
			TLS:         &tls.Config{Certificates: []tls.Certificate{uriLeaf(t, ca, bothUsages, name)}},
			RootsForURI: (&byName{known: known}).roots,
		}
	}
	cc, sc = side(clientURI), side(serverURI)
	sc.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	return cc, sc
}

// Both sides are known by their URI, in the TLS handshake and in authenticators, also
// when asked anew.
func TestRootsForURI(t *testing.T) {
	t.Parallel()
	ca := newWorld(t).ca
	for _, auth := range []tls.ClientAuthType{tls.NoClientCert, tls.RequestClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert} {
		cc, sc := uriConfigs(t, ca)
		cc.Reattest, sc.Reattest = true, true
		sc.TLS.ClientAuth = auth
		cc.TLS.ServerName = "name.of.the.proxy.test" // SNI, and nobody's name
		seen := 0
		cc.TLS.VerifyConnection = func(tls.ConnectionState) error { seen++; return nil }
		c, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
		require.Equal(t, serverURI, c.PeerCertificates()[0].URIs[0].String())
		require.Equal(t, clientURI, s.PeerCertificates()[0].URIs[0].String())
		require.Equal(t, 1, seen, "the user's callback is called too")
		for _, conn := range []*Conn{c, s} {
			_, err := conn.Reattest(t.Context())
			require.NoError(t, err)
		}
		_ = c.Close()
		_ = s.Close()
	}
	// A client that shows no certificate in the TLS handshake, and need not.
	cc, sc := uriConfigs(t, ca)
	cc.Identities, cc.TLS.Certificates = cc.TLS.Certificates, nil
	sc.TLS.ClientAuth = tls.VerifyClientCertIfGiven
	_, _, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
}

// Every way in which a server's certificate of the TLS handshake, the server's
// authenticator or the client's is not good for its name.
func TestRootsForURIRefuses(t *testing.T) {
	t.Parallel()
	ca, other := newWorld(t).ca, newWorld(t).ca
	for name, c := range map[string]struct {
		cert tls.Certificate
		want string
	}{
		"unknown name":       {uriLeaf(t, ca, bothUsages, "spiffe://a.test/other"), "unknown name"},
		"another CA":         {uriLeaf(t, other, bothUsages, serverURI), "x509: certificate signed by unknown authority"},
		"no URI":             {leaf(t, ca, serverName), "has 0 URI names"},
		"two URIs":           {uriLeaf(t, ca, bothUsages, serverURI, clientURI), "has 2 URI names"},
		"another usage":      {uriLeaf(t, ca, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, serverURI), "incompatible key usage"},
		"roots that are nil": {uriLeaf(t, ca, bothUsages, "spiffe://a.test/nil"), "gave no roots"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := func(cfg *Config) {
				cfg.RootsForURI = (&byName{known: map[string]*x509.CertPool{clientURI: ca.Pool(), serverURI: ca.Pool(), "spiffe://a.test/nil": nil}}).roots
			}
			cc, sc := uriConfigs(t, ca)
			tree(cc)
			sc.Identities, sc.TLS.Certificates = sc.TLS.Certificates, []tls.Certificate{c.cert}
			_, _, err, _ := connect(t, cc, sc)
			requireFailure(t, err, StageTLS, AlertCertificate, Local, errAnyTLS(err))
			require.ErrorContains(t, err, c.want)

			cc, sc = uriConfigs(t, ca)
			tree(cc)
			sc.Identities = []tls.Certificate{c.cert}
			_, _, err, theirs := connect(t, cc, sc)
			requireFailure(t, err, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
			requireFailure(t, theirs, StageResult, AlertCertificate, Peer, ErrPeerAlert)
			require.ErrorContains(t, err, c.want)

			cc, sc = uriConfigs(t, ca)
			tree(sc)
			cc.Identities = []tls.Certificate{c.cert}
			_, _, theirs, err = connect(t, cc, sc)
			requireFailure(t, err, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
			require.ErrorContains(t, err, c.want)
			require.Error(t, theirs)

			cc, sc = uriConfigs(t, ca)
			tree(sc)
			cc.TLS.Certificates = []tls.Certificate{c.cert}
			_, _, theirs, err = connect(t, cc, sc)
			requireFailure(t, err, StageTLS, AlertCertificate, Local, errAnyTLS(err))
			require.ErrorContains(t, err, c.want)
			require.Error(t, theirs)
		})
	}
	// Each name is good, but they are not the same: the TLS connection is with one
	// server and the Evidence of another.
	cc, sc := uriConfigs(t, ca)
	sc.Identities = []tls.Certificate{uriLeaf(t, ca, bothUsages, clientURI)}
	_, _, err, _ := connect(t, cc, sc)
	requireFailure(t, err, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
	require.ErrorContains(t, err, "the peer is spiffe://a.test/client now, and was spiffe://a.test/server before")
	// And where it is the client, whether or not the handshake validates what it shows.
	for _, auth := range []tls.ClientAuthType{tls.RequestClientCert, tls.RequireAndVerifyClientCert} {
		cc, sc = uriConfigs(t, ca)
		sc.TLS.ClientAuth = auth
		cc.Identities = []tls.Certificate{uriLeaf(t, ca, bothUsages, serverURI)}
		_, _, _, err = connect(t, cc, sc)
		requireFailure(t, err, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
		require.ErrorContains(t, err, "the peer is spiffe://a.test/server now, and was spiffe://a.test/client before")
	}
	// A CA is no peer.
	_, err = uriOf(ca.Root)
	require.EqualError(t, err, "the peer's certificate is that of a CA")
	for _, usage := range []x509.KeyUsage{x509.KeyUsageCertSign, x509.KeyUsageCRLSign} {
		_, err = uriOf(&x509.Certificate{URIs: ca.Root.URIs, KeyUsage: x509.KeyUsageDigitalSignature | usage})
		require.EqualError(t, err, "the peer's certificate is that of a CA")
	}
	require.EqualError(t, new(prepared).verifyShown(nil, x509.ExtKeyUsageServerAuth), "the server shows no certificate")
}

// A callback that does not come back, or panics, refuses.
func TestRootsForURIMisbehaves(t *testing.T) {
	t.Parallel()
	ca := newWorld(t).ca
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for _, f := range []func(context.Context, *url.URL) (*x509.CertPool, error){
		func(context.Context, *url.URL) (*x509.CertPool, error) { <-release; return ca.Pool(), nil },
		func(context.Context, *url.URL) (*x509.CertPool, error) { panic("secret") },
	} {
		cc, sc := uriConfigs(t, ca)
		cc.Timeout, cc.RootsForURI = 300*time.Millisecond, f
		c, _, err, theirs := connect(t, cc, sc)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, StageTLS, e.Stage)
		require.NotContains(t, err.Error(), "secret")
		require.Error(t, theirs)
		requireDead(t, c)
	}
}

// A peer that is asked anew keeps its name, whatever else it may change.
func TestRootsForURIAnew(t *testing.T) {
	t.Parallel()
	ca := newWorld(t).ca
	for _, next := range []string{clientURI, serverURI} {
		cc, sc := uriConfigs(t, ca)
		cc.Reattest, sc.Reattest, sc.AllowKeyChange = true, true, true
		certs := gives(cc.TLS.Certificates...)
		cc.TLS.Certificates, cc.GetIdentities = nil, certs.get
		_, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
		certs.certs.Store(&[]tls.Certificate{uriLeaf(t, ca, bothUsages, next)})
		_, err := s.Reattest(t.Context())
		if next == clientURI {
			require.NoError(t, err)
			_ = s.Close()
			continue
		}
		requireFailure(t, err, StageValidate, AlertCertificate, Local, ErrReattest)
		require.ErrorContains(t, err, "the peer is spiffe://a.test/server now, and was spiffe://a.test/client before")
	}
	require.EqualError(t, sameURI(ca.Root, ca.Root), "the peer's certificate is that of a CA")
}
