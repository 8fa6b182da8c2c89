package service

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const toyType = "application/vnd.expat-go.toy"

// toy is a Verifier whose Evidence is binder and key hash, without a signature.
type toy struct {
	appraise func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error)
}

func (toy) MediaTypes() []string { return []string{toyType} }

func (t toy) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if t.appraise != nil {
		return t.appraise(ctx, b, m)
	}
	for _, leaf := range m.Leaves() {
		n := len(b.Binder())
		if len(leaf.Value) != 2*n {
			return nil, attestation.ErrMalformed
		}
		if !b.MatchBinder(leaf.Value[:n]) || !b.MatchKeyHash(leaf.Value[n:]) {
			return nil, attestation.Reject(errors.New("binding differs"))
		}
	}
	return yes(b)
}

func yes(b attestation.Binding) (*attestation.Result, error) {
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "toy", Lifetime: time.Minute,
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy policy"}},
	})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// newBinding asserts a binding with a random binder of n bytes.
func newBinding(t testing.TB, n int) attestation.Binding {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(newKey(t).Public())
	require.NoError(t, err)
	binder := make([]byte, n)
	rand.Read(binder)
	b, err := attestation.AssertedBinding(binder, spki)
	require.NoError(t, err)
	return b
}

func evidenceFor(b attestation.Binding) string {
	return string(b.Binder()) + string(b.KeyHash())
}

// world is a service with what checks its answers, and its log.
type world struct {
	*Handler
	checker *ear.Checker
	log     *syncBuilder
}

type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	key := newKey(t)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{Key: key, KeyID: "k1", Name: "test", Developer: "d", Build: "b", Lifetime: time.Minute})
	require.NoError(t, err)
	w := &world{log: new(syncBuilder)}
	o := Options{Verifier: toy{}, Issuer: issuer, Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	if change != nil {
		change(&o)
	}
	w.Handler, err = NewHandler(o)
	require.NoError(t, err)
	keys, err := ear.Static(ear.Key{ID: "k1", Public: &key.PublicKey})
	require.NoError(t, err)
	w.checker, err = ear.NewChecker(ear.CheckerOptions{Keys: keys, Issuer: "test", Audience: o.Audience})
	require.NoError(t, err)
	return w
}

// call makes one request.
func (w *world) call(method, target, mediaType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out
}

// query is the URL of newSession for a binding.
func query(b attestation.Binding) string {
	q := url.Values{"nonce": {encode(b.Binder())}, "key": {encode(b.SPKI())}}
	return "/challenge-response/v1/newSession?" + q.Encode()
}

// session opens a session and returns its path.
func (w *world) session(t testing.TB, b attestation.Binding) string {
	t.Helper()
	out := w.call(http.MethodPost, query(b), "", "")
	require.Equal(t, http.StatusCreated, out.Code, out.Body)
	return "/challenge-response/v1/" + out.Header().Get("Location")
}
