package rotate_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/rotate"
)

// toy is an Attester and Verifier whose Evidence is the binding without a signature.
type toy struct{}

const toyMediaType = "application/vnd.expat-go.toy"

func (toy) MediaTypes() []string { return []string{toyMediaType} }

func (toy) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return cmw.NewRecord(toyMediaType, b.Binder(), cmw.Evidence)
}

func (toy) Appraise(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if !b.MatchBinder(m.Value()) {
		return nil, attestation.Reject(errors.New("binding differs"))
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "toy", Lifetime: attestation.ConnectionLifetime,
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy"}},
	})
}

// configs are those of a client that asks and a server that is served by w.
func (p *place) configs(w *rotate.Watcher) (client, server *expat.Config) {
	client = &expat.Config{Verifier: toy{}, Reattest: true, TLS: &tls.Config{RootCAs: p.ca.Pool(), ServerName: serverName}}
	server = &expat.Config{Attester: toy{}, Reattest: true, TLS: new(tls.Config), GetIdentities: w.GetIdentities}
	return client, server
}

func open(t testing.TB, cc, sc *expat.Config) (c, s *expat.Conn) {
	t.Helper()
	cn, sn := tlspair.Pipe(t)
	c, s = expat.Client(cn, cc), expat.Server(sn, sc)
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	ch := make(chan error, 1)
	go func() { ch <- s.Handshake() }()
	require.NoError(t, errors.Join(c.Handshake(), <-ch))
	return c, s
}

// Rotation between two connections: TLS handshake and authenticator change together.
func TestBetweenConnections(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.put(p.issue(newKey(t), time.Now()))
	w := p.watch(rotate.Options{Every: time.Hour})
	cc, sc := p.configs(w)
	cc.RequireSameLeaf = true
	for range 2 {
		c, _ := open(t, cc, sc)
		require.Equal(t, w.Certificate().Leaf.Raw, c.ConnectionState().PeerCertificates[0].Raw)
		require.Equal(t, w.Certificate().Leaf.Raw, c.PeerCertificates()[0].Raw)
		p.put(p.issue(newKey(t), time.Now()))
		w.Look()
	}
}

// Rotation between two attestations of one connection: the same key is shown on, a
// new one is refused unless that is allowed, and one that is bad is not shown.
func TestBetweenAttestations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sameKey, bad, allow bool
		want                error
	}{
		"same key":         {sameKey: true},
		"new key":          {want: expat.ErrKeyChanged},
		"new key, allowed": {allow: true},
		"bad":              {bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			first := p.issue(newKey(t), time.Now())
			p.put(first)
			w := p.watch(rotate.Options{Every: time.Hour})
			cc, sc := p.configs(w)
			cc.AllowKeyChange = c.allow
			client, _ := open(t, cc, sc)
			next, shown := p.issue(newKey(t), time.Now()), first
			if c.sameKey {
				next = p.issue(first.PrivateKey.(crypto.Signer), time.Now())
			}
			if p.put(next); !c.bad {
				shown = next
			} else {
				p.write(p.key, []byte("garbage"))
			}
			w.Look()
			_, err := client.Reattest(t.Context())
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				require.NoError(t, err)
				require.Equal(t, shown.Certificate[0], client.PeerCertificates()[0].Raw)
			}
		})
	}
}

// The callbacks of crypto/tls.
func TestPlainTLS(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.put(p.issue(newKey(t), time.Now()))
	w := p.watch(rotate.Options{})
	server := &tls.Config{GetCertificate: w.GetCertificate, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: p.ca.Pool()}
	client := &tls.Config{RootCAs: p.ca.Pool(), ServerName: serverName, GetClientCertificate: w.GetClientCertificate}
	c, s := tlspair.Connect(t, client, server)
	require.Equal(t, w.Certificate().Leaf.Raw, c.ConnectionState().PeerCertificates[0].Raw)
	require.Equal(t, w.Certificate().Leaf.Raw, s.ConnectionState().PeerCertificates[0].Raw)

	cert, err := w.GetClientCertificate(&tls.CertificateRequestInfo{
		AcceptableCAs: [][]byte{[]byte("another")}, Version: tls.VersionTLS13,
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
	})
	require.NoError(t, err)
	require.Empty(t, cert.Certificate)
}
