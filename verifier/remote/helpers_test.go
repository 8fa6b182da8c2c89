package remote

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/veraisonfake"
	"github.com/expat-go/expat/verifier/ear"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	toyType    = "application/vnd.expat-go.toy"
	reportType = "application/vnd.expat-go.report"
	issuerName = "fake"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var newKey = func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// newBinding asserts a binding with a random binder.
func newBinding() attestation.Binding {
	binder := make([]byte, 32)
	rand.Read(binder)
	return must(attestation.AssertedBinding(binder, must(x509.MarshalPKIXPublicKey(newKey().Public()))))
}

// toyEvidence is the nonce and then the key, without a signature.
func toyEvidence(b attestation.Binding) *cmw.Message {
	return must(cmw.NewRecord(toyType, append(bytes.Clone(b.Binder()), b.SPKI()...), cmw.Evidence))
}

func reportEvidence(b attestation.Binding) *cmw.Message {
	r := b.ReportData()
	return must(cmw.NewRecord(reportType, r[:], cmw.Evidence))
}

func good(nonce []byte, _ string, evidence []byte) bool { return bytes.HasPrefix(evidence, nonce) }

// keyOf is the key that toyEvidence names.
func keyOf(evidence []byte) crypto.PublicKey {
	return must(x509.ParsePKIXPublicKey(evidence[32:]))
}

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is a fake Veraison service on loopback and a Verifier that asks it.
type world struct {
	*Verifier
	service *veraisonfake.Service
	server  *httptest.Server
	clock   *clock
}

type change struct {
	fake    func(*veraisonfake.Options)
	options func(*Options)
	checker func(*ear.CheckerOptions)
}

func newWorld(t testing.TB, c change) *world {
	t.Helper()
	key := newKey()
	fake := veraisonfake.Options{
		Key: key, Issuer: issuerName, MediaTypes: []string{toyType, reportType, collectionType}, Good: good, AttestedKey: keyOf,
	}
	if c.fake != nil {
		c.fake(&fake)
	}
	w := &world{clock: &clock{t: time.Unix(1_800_000_000, 0)}}
	w.service = must(veraisonfake.New(fake))
	w.server = httptest.NewServer(w.service)
	t.Cleanup(w.server.Close)
	checker := ear.CheckerOptions{Keys: must(ear.Static(ear.Key{Public: &key.PublicKey})), Issuer: issuerName}
	if c.checker != nil {
		c.checker(&checker)
	}
	o := Options{
		URL: w.server.URL, PlainHTTPToLoopback: true, MediaTypes: []string{toyType, reportType},
		Checker: must(ear.NewChecker(checker)), Backoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond,
		PollInterval: time.Millisecond, AttemptTimeout: 2 * time.Second, Now: w.clock.Now,
	}
	if c.options != nil {
		c.options(&o)
	}
	v, err := New(o)
	require.NoError(t, err)
	w.Verifier = v
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return w
}

// ask has toy Evidence appraised for a new binding.
func (w *world) ask(t testing.TB) error {
	t.Helper()
	b := newBinding()
	r, err := w.Appraise(context.Background(), b, toyEvidence(b))
	require.Equal(t, err == nil, r != nil)
	if err == nil {
		require.True(t, r.Answers(b))
	}
	return err
}
