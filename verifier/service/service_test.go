package service

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

type answer struct {
	Status string    `json:"status"`
	Nonce  string    `json:"nonce"`
	Expiry time.Time `json:"expiry"`
	Accept []string  `json:"accept"`
	Result string    `json:"result"`
}

func parse(t testing.TB, body string) (a answer) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	return a
}

func TestConfig(t *testing.T) {
	t.Parallel()
	issuer := newWorld(t, nil).o.Issuer
	for name, o := range map[string]Options{
		"nothing":  {},
		"verifier": {Issuer: issuer},
		"issuer":   {Verifier: toy{}},
		"slots":    {Verifier: toy{}, Issuer: issuer, MaxInFlight: -1},
		"timeout":  {Verifier: toy{}, Issuer: issuer, Timeout: -1},
		"lifetime": {Verifier: toy{}, Issuer: issuer, SessionLifetime: -1},
	} {
		_, err := NewHandler(o)
		require.ErrorIs(t, err, ErrConfig, name)
	}
	h, err := NewHandler(Options{Verifier: toy{}, Issuer: issuer})
	require.NoError(t, err)
	require.Equal(t, DefaultTimeout, h.o.Timeout)
	require.Equal(t, DefaultMaxInFlight, cap(h.slots))
}

// C-5: a whole appraisal; the answer states binder and key.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, n := range []int{32, 48} {
		w := newWorld(t, nil)
		b := newBinding(t, n)
		out := w.call(http.MethodPost, query(b), "", "")
		require.Equal(t, http.StatusCreated, out.Code)
		require.Equal(t, sessionType, out.Header().Get("Content-Type"))
		require.Equal(t, "no-store", out.Header().Get("Cache-Control"))
		a := parse(t, out.Body.String())
		require.Equal(t, "waiting", a.Status)
		require.Equal(t, encode(b.Binder()), a.Nonce)
		require.Equal(t, []string{toyType}, a.Accept)
		require.WithinDuration(t, time.Now().Add(DefaultSessionLifetime), a.Expiry, 5*time.Second)
		where := out.Header().Get("Location")
		require.True(t, strings.HasPrefix(where, "session/"), where)
		where = "/challenge-response/v1/" + where

		require.Equal(t, "waiting", parse(t, w.call(http.MethodGet, where, "", "").Body.String()).Status)
		out = w.call(http.MethodPost, where, toyType, evidenceFor(b))
		require.Equal(t, http.StatusOK, out.Code)
		a = parse(t, out.Body.String())
		require.Equal(t, "complete", a.Status)
		e, err := w.checker.Check(context.Background(), []byte(a.Result))
		require.NoError(t, err)
		require.NoError(t, e.Answers(b))
		require.NoError(t, e.AttestsKey(b))
		require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, where, "", "").Code)
		require.Contains(t, w.log.String(), "outcome=accepted")
	}
}

// Any replica answers any session: one opens it, the other appraises.
func TestReplicas(t *testing.T) {
	t.Parallel()
	one, two := newWorld(t, nil), newWorld(t, nil)
	b := newBinding(t, 32)
	out := two.call(http.MethodPost, one.session(t, b), toyType, evidenceFor(b))
	require.Equal(t, http.StatusOK, out.Code)
	_, err := two.checker.Check(context.Background(), []byte(parse(t, out.Body.String()).Result))
	require.NoError(t, err)
}

// A verdict of no is a signed EAR on HTTP 200, for Evidence of another connection and
// for Evidence of another key.
func TestRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b, other := newBinding(t, 32), newBinding(t, 32)
	for name, evidence := range map[string]string{
		"other connection": string(other.Binder()) + string(b.KeyHash()),
		"other key":        string(b.Binder()) + string(other.KeyHash()),
	} {
		out := w.call(http.MethodPost, w.session(t, b), toyType, evidence)
		require.Equal(t, http.StatusOK, out.Code, name)
		_, err := w.checker.Check(context.Background(), []byte(parse(t, out.Body.String()).Result))
		require.ErrorIs(t, err, attestation.ErrRejected, name)
		require.ErrorIs(t, err, ear.ErrTier, name)
	}
	require.Contains(t, w.log.String(), "outcome=rejected")

	plain := newWorld(t, func(o *Options) {
		o.Verifier = toy{func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return nil, attestation.ErrRejected
		}}
	})
	out := plain.call(http.MethodPost, plain.session(t, b), toyType, "x")
	require.Equal(t, http.StatusOK, out.Code)
	_, err := plain.checker.Check(context.Background(), []byte(parse(t, out.Body.String()).Result))
	require.ErrorIs(t, err, ear.ErrTier)
}

// B-20: without a verdict there is no EAR.
func TestUndecided(t *testing.T) {
	t.Parallel()
	secret := "reason of ours"
	other := newBinding(t, 32)
	for name, f := range map[string]func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error){
		"unavailable": func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return nil, attestation.ErrUnavailable
		},
		"other error": func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return nil, errors.New(secret)
		},
		"neither": func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { return nil, nil },
		"panic":   func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { panic("boom") },
		"other binding": func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return yes(other)
		},
		"own goroutine": func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			runtime.Goexit()
			return nil, nil
		},
		"takes too long": func(ctx context.Context, _ attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"no claims that can be encoded": func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
			return attestation.NewResult(b, attestation.ResultOptions{Verifier: "v", Lifetime: time.Minute, Appraisals: []attestation.Appraisal{
				{Environment: "e", Status: attestation.TierAffirming, Claims: map[string]any{"f": func() {}}},
			}})
		},
	} {
		w := newWorld(t, func(o *Options) { o.Verifier, o.Timeout = toy{f}, 50*time.Millisecond })
		out := w.call(http.MethodPost, w.session(t, newBinding(t, 32)), toyType, "sealed")
		require.Equal(t, http.StatusServiceUnavailable, out.Code, name)
		require.Equal(t, "1", out.Header().Get("Retry-After"), name)
		require.Equal(t, "application/problem+json", out.Header().Get("Content-Type"), name)
		require.NotContains(t, out.Body.String(), secret, name)
		require.Contains(t, w.log.String(), "no verdict", name)
		require.NotContains(t, w.log.String(), "sealed", name) // F-3
	}
}

// What is not asked rightly is refused by its HTTP status, without details.
func TestRefused(t *testing.T) {
	t.Parallel()
	b := newBinding(t, 32)
	w := newWorld(t, nil)
	where := w.session(t, b)
	good := query(b)
	collection := func(types ...string) string {
		var items []cmw.Item
		for i, typ := range types {
			m, err := cmw.NewRecord(typ, []byte(evidenceFor(b)), cmw.Evidence)
			require.NoError(t, err)
			items = append(items, cmw.Item{Label: cmw.TextLabel(string(rune('a' + i))), Message: m})
		}
		m, err := cmw.NewCollection("", items)
		require.NoError(t, err)
		data, err := m.MarshalCBOR()
		require.NoError(t, err)
		return string(data)
	}
	short := encode(make([]byte, 31))
	for _, tc := range []struct {
		name, method, target, mediaType, body string
		want                                  int
	}{
		{"good", http.MethodPost, where, toyType, evidenceFor(b), 200},
		{"collection", http.MethodPost, where, "application/cmw+cbor", collection(toyType, toyType), 200},
		{"no query", http.MethodPost, "/challenge-response/v1/newSession", "", "", 400},
		{"no key", http.MethodPost, "/challenge-response/v1/newSession?nonce=" + encode(b.Binder()), "", "", 400},
		{"nonceSize", http.MethodPost, "/challenge-response/v1/newSession?nonceSize=32", "", "", 400},
		{"another parameter", http.MethodPost, good + "&x=1", "", "", 400},
		{"two nonces", http.MethodPost, good + "&nonce=" + encode(b.Binder()), "", "", 400},
		{"padded nonce", http.MethodPost, strings.Replace(good, "nonce="+encode(b.Binder()), "nonce="+base64.URLEncoding.EncodeToString(b.Binder()), 1), "", "", 400},
		{"short nonce", http.MethodPost, strings.Replace(good, encode(b.Binder()), short, 1), "", "", 400},
		{"key that is none", http.MethodPost, strings.Replace(good, encode(b.SPKI()), short, 1), "", "", 400},
		{"key in standard base64", http.MethodPost, strings.Replace(good, encode(b.SPKI()), "%2B%2F%2B%2F", 1), "", "", 400},
		{"query that is none", http.MethodPost, "/challenge-response/v1/newSession?%zz", "", "", 400},
		{"long query", http.MethodPost, good + strings.Repeat("A", maxToken), "", "", 400},
		{"GET newSession", http.MethodGet, good, "", "", 405},
		{"PUT", http.MethodPut, where, toyType, "x", 405},
		{"no such session", http.MethodPost, sessionPath + "AAAA", toyType, "x", 404},
		{"no such session to see", http.MethodGet, sessionPath + "AAAA", "", "", 404},
		{"no such session to delete", http.MethodDelete, sessionPath + "AAAA", "", "", 404},
		{"no such page", http.MethodGet, "/", "", "", 404},
		{"no media type", http.MethodPost, where, "", "x", 415},
		{"other media type", http.MethodPost, where, "text/plain", "x", 415},
		{"media type with an escape", http.MethodPost, where, `a/b; c="\x"`, "x", 415},
		{"collection with another type", http.MethodPost, where, "application/cmw+cbor", collection(toyType, "text/plain"), 415},
		{"collection that is none", http.MethodPost, where, "application/cmw+cbor", "x", 400},
		{"no Evidence", http.MethodPost, where, toyType, "", 400},
		{"malformed Evidence", http.MethodPost, where, toyType, "sealed", 400},
		{"largest", http.MethodPost, where, toyType, strings.Repeat("x", cmw.MaxSize), 400},
		{"too large", http.MethodPost, where, toyType, strings.Repeat("x", MaxEvidence+1), 413},
	} {
		out := w.call(tc.method, tc.target, tc.mediaType, tc.body)
		require.Equal(t, tc.want, out.Code, tc.name)
		if tc.want != 200 && tc.want != 405 && tc.name != "no such page" {
			require.Equal(t, "application/problem+json", out.Header().Get("Content-Type"), tc.name)
			require.Less(t, out.Body.Len(), 200, tc.name)
		}
	}
	require.NotContains(t, w.log.String(), "sealed") // F-3
}

// A body without Content-Length is bounded all the same, and one that ends early is
// refused.
func TestBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	where := w.session(t, newBinding(t, 32))
	for want, body := range map[int]readerFunc{
		413: func(p []byte) (int, error) { return len(p), nil },
		400: func([]byte) (int, error) { return 0, errors.New("gone") },
	} {
		out := serve(w, where, body)
		require.Equal(t, want, out)
	}
}

func TestSessionRunsOut(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	w := newWorld(t, func(o *Options) { o.Now, o.SessionLifetime = func() time.Time { return now }, time.Minute })
	where := w.session(t, newBinding(t, 32))
	now = now.Add(time.Minute - time.Nanosecond)
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, where, "", "").Code)
	now = now.Add(time.Nanosecond)
	require.Equal(t, http.StatusNotFound, w.call(http.MethodGet, where, "", "").Code)
}

// As many appraisals as allowed are under way; one more is told to come again.
func TestInFlight(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(o *Options) {
		o.MaxInFlight = 2
		o.Verifier = toy{func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
			entered <- struct{}{}
			<-release
			return yes(b)
		}}
	})
	where := w.session(t, newBinding(t, 32))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if out := w.call(http.MethodPost, where, toyType, "x"); out.Code != http.StatusOK {
				t.Errorf("status %d", out.Code)
			}
		})
	}
	<-entered
	<-entered
	out := w.call(http.MethodPost, where, toyType, "x")
	require.Equal(t, http.StatusServiceUnavailable, out.Code)
	require.Equal(t, "1", out.Header().Get("Retry-After"))
	close(release)
	wg.Wait()
	go func() { <-entered }()
	require.Equal(t, http.StatusOK, w.call(http.MethodPost, where, toyType, "x").Code)
}

// hanging is a key in a device that has stopped answering.
type hanging struct {
	crypto.Signer
	asked   *atomic.Int64
	release chan struct{}
}

func (h hanging) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	h.asked.Add(1)
	<-h.release
	return h.Signer.Sign(r, digest, o)
}

// A key that hangs holds up nobody beyond the time of an appraisal, and no more
// signatures than appraisals are waited for.
func TestHangingKey(t *testing.T) {
	t.Parallel()
	key := hanging{newKey(t), new(atomic.Int64), make(chan struct{})}
	w := newWorld(t, func(o *Options) {
		o.MaxInFlight, o.Timeout = 1, 50*time.Millisecond
		var err error
		o.Issuer, err = ear.NewIssuer(ear.IssuerOptions{Key: key, KeyID: "k1", Name: "test", Developer: "d", Build: "b"})
		require.NoError(t, err)
	})
	b := newBinding(t, 32)
	where := w.session(t, b)
	for range 3 {
		out := w.call(http.MethodPost, where, toyType, evidenceFor(b))
		require.Equal(t, http.StatusServiceUnavailable, out.Code)
	}
	require.EqualValues(t, 1, key.asked.Load())
	close(key.release)
	require.Eventually(t, func() bool {
		return w.call(http.MethodPost, where, toyType, evidenceFor(b)).Code == http.StatusOK
	}, 10*time.Second, time.Millisecond)
}

func TestOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Audience = "us" })
	require.Equal(t, http.StatusNoContent, w.call(http.MethodGet, "/healthz", "", "").Code)
	require.Equal(t, http.StatusNoContent, w.call(http.MethodGet, "/readyz", "", "").Code)
	w.Drain()
	require.Equal(t, http.StatusNoContent, w.call(http.MethodGet, "/healthz", "", "").Code)
	require.Equal(t, http.StatusServiceUnavailable, w.call(http.MethodGet, "/readyz", "", "").Code)

	out := w.call(http.MethodGet, "/.well-known/jwks.json", "", "")
	require.Equal(t, http.StatusOK, out.Code)
	keys, err := ear.ParseKeys(out.Body.Bytes())
	require.NoError(t, err)
	require.Equal(t, "k1", keys[0].ID)

	b := newBinding(t, 32)
	out = w.call(http.MethodPost, w.session(t, b), toyType, evidenceFor(b))
	_, err = w.checker.Check(context.Background(), []byte(parse(t, out.Body.String()).Result))
	require.NoError(t, err)
}
