package passport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuerName = "https://verifier.example"

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

func spki(t testing.TB, k *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	require.NoError(t, err)
	return der
}

// binding is one of a connection with a fresh context, and of a key.
func binding(t testing.TB, k *ecdsa.PrivateKey) attestation.Binding {
	b, err := challenge(spki(t, k))
	require.NoError(t, err)
	return b
}

// authority is a Verifier elsewhere that affirms whoever asks, and its key.
type authority struct {
	key      *ecdsa.PrivateKey
	issuer   *ear.Issuer
	options  ear.CheckerOptions
	lifetime time.Duration
}

func newAuthority(t testing.TB) *authority {
	a := &authority{key: newKey(t), lifetime: time.Hour}
	var err error
	a.issuer, err = ear.NewIssuer(ear.IssuerOptions{Key: a.key, Name: issuerName, Developer: "d", Build: "b"})
	require.NoError(t, err)
	keys, err := ear.Static(ear.Key{Public: &a.key.PublicKey})
	require.NoError(t, err)
	a.options = ear.CheckerOptions{Keys: keys, Issuer: issuerName}
	return a
}

// Obtain makes the authority a Source.
func (a *authority) Obtain(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error) {
	token, err := a.issuer.Issue(ctx, ear.Statement{Binding: b, Lifetime: a.lifetime, Appraisals: []attestation.Appraisal{
		{Environment: "tee", Status: attestation.TierAffirming, Policy: "p"},
		{Environment: "tpm", Status: attestation.TierAffirming, Policy: "p"},
	}})
	return token, time.Now().Add(a.lifetime), err
}

// verifier takes the authority's passports.
func (a *authority) verifier(t testing.TB, change ...func(*VerifierOptions)) *Verifier {
	checker, err := ear.NewChecker(a.options)
	require.NoError(t, err)
	o := VerifierOptions{Checker: checker}
	for _, c := range change {
		c(&o)
	}
	v, err := NewVerifier(o)
	require.NoError(t, err)
	return v
}

func keyBound(o *VerifierOptions)   { o.KeyBound = true }
func unattested(o *VerifierOptions) { o.AcceptUnattestedKey = true }
func unbound(o *VerifierOptions)    { o.AllowUnboundPassport = true }

func attest(t testing.TB, a attestation.Attester, b attestation.Binding) *cmw.Message {
	t.Helper()
	m, err := a.Attest(context.Background(), b, a.MediaTypes())
	require.NoError(t, err)
	return m
}

func requireNo(t testing.TB, err, reason error) {
	t.Helper()
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, reason)
}
