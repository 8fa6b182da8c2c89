package ear

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/attestation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuerName = "https://verifier.example"

// start is when the tests' tokens are issued.
var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

// newBinding is a binding for a key, with a binder of 32 bytes that begins with seed.
func newBinding(t testing.TB, public crypto.PublicKey, seed byte) attestation.Binding {
	spki, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	binder := make([]byte, 32)
	binder[0] = seed
	b, err := attestation.AssertedBinding(binder, spki)
	require.NoError(t, err)
	return b
}

// party is an issuer, what it knows of one attester, and a relying party's checker.
type party struct {
	*clock
	key      *ecdsa.PrivateKey
	attested *ecdsa.PrivateKey
	binding  attestation.Binding
	issuer   *Issuer
	options  CheckerOptions
}

func newParty(t testing.TB) *party {
	p := &party{clock: newClock(), key: newKey(t), attested: newKey(t)}
	p.binding = newBinding(t, p.attested.Public(), 7)
	var err error
	p.issuer, err = NewIssuer(IssuerOptions{
		Key: p.key, KeyID: "k1", Name: issuerName, Developer: "https://expat.example", Build: "v1", Now: p.Now,
	})
	require.NoError(t, err)
	keys, err := Static(Key{ID: "k1", Public: &p.key.PublicKey})
	require.NoError(t, err)
	p.options = CheckerOptions{Keys: keys, Issuer: issuerName, Now: p.Now}
	return p
}

func (p *party) checker(t testing.TB) *Checker {
	c, err := NewChecker(p.options)
	require.NoError(t, err)
	return c
}

func (p *party) check(t testing.TB, token []byte) (*EAR, error) {
	return p.checker(t).Check(context.Background(), token)
}

func affirming(name string) attestation.Appraisal {
	return attestation.Appraisal{
		Environment: name,
		Status:      attestation.TierAffirming,
		Vector:      attestation.TrustVector{Hardware: 2, Executables: 2},
		Policy:      "policy-1",
		Instance:    "01ab",
		Claims:      map[string]any{"debug": "disabled"},
	}
}

func (p *party) statement(appraisals ...attestation.Appraisal) Statement {
	if appraisals == nil {
		appraisals = []attestation.Appraisal{affirming("tee")}
	}
	return Statement{Binding: p.binding, Appraisals: appraisals}
}

func (p *party) issue(t testing.TB, s Statement) []byte {
	token, err := p.issuer.Issue(context.Background(), s)
	require.NoError(t, err)
	return token
}

// payload is the payload of a good token, for tests to change.
func (p *party) payload(t testing.TB) map[string]any {
	parsed, err := parseToken(p.issue(t, p.statement()))
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(parsed.payload, &m))
	return m
}

// sign makes a token of any header and payload with the issuer's key.
func (p *party) sign(t testing.TB, header, payload string) []byte {
	return signWith(t, p.key, header, payload)
}

func signWith(t testing.TB, key *ecdsa.PrivateKey, header, payload string) []byte {
	signed := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	require.NoError(t, err)
	return []byte(signed + "." + base64url.EncodeToString(append(fixed(r), fixed(s)...)))
}

func fixed(i *big.Int) []byte { return i.FillBytes(make([]byte, coordinate)) }

const goodHeader = `{"alg":"ES256","kid":"k1","typ":"JWT"}`

func encode(t testing.TB, v any) string {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

// requireNo asserts an answer of no for this reason.
func requireNo(t testing.TB, err, reason error) {
	t.Helper()
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, reason)
	var rejected *attestation.RejectedError
	require.True(t, errors.As(err, &rejected))
}
