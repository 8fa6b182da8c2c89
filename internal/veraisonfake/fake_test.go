package veraisonfake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
)

const mediaType = "application/vnd.example"

func newFake(t *testing.T, change func(*Options)) (*Service, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	o := Options{Key: key, MediaTypes: []string{mediaType}, Good: func(nonce []byte, _ string, evidence []byte) bool {
		return string(nonce) == string(evidence)
	}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	return s, key
}

func call(s *Service, method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// open opens a session for a nonce and returns its path.
func open(t *testing.T, s *Service, nonce string) string {
	t.Helper()
	w := call(s, http.MethodPost, newSession+"?nonce="+b64(nonce), "", "")
	require.Equal(t, http.StatusCreated, w.Code)
	require.Equal(t, SessionType, w.Header().Get("Content-Type"))
	var one session
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &one))
	require.Equal(t, "waiting", one.Status)
	require.Equal(t, b64(nonce), one.Nonce)
	require.Equal(t, []string{mediaType}, one.Accept)
	where := w.Header().Get("Location")
	require.True(t, strings.HasPrefix(where, "session/"), "relative, as the real service's")
	return "/challenge-response/v1/" + where
}

func result(t *testing.T, w *httptest.ResponseRecorder, key *ecdsa.PrivateKey) *ear.AttestationResult {
	t.Helper()
	var one session
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &one))
	require.Equal(t, "complete", one.Status)
	var ar ear.AttestationResult
	require.NoError(t, ar.Verify([]byte(*one.Result), jwa.ES256(), &key.PublicKey))
	return &ar
}

const testNonce = "a nonce of some thirty-two bytes."

func TestNonces(t *testing.T) {
	t.Parallel()
	s, _ := newFake(t, nil)
	for query, want := range map[string]int{
		"":                                       201,
		"?nonceSize=8":                           201,
		"?nonceSize=64":                          201,
		"?nonceSize=7":                           400,
		"?nonceSize=65":                          400,
		"?nonceSize=x":                           400,
		"?nonce=" + b64("12345678"):              201,
		"?nonce=" + b64("1234567"):               400,
		"?nonce=MTIzNDU2Nzg=":                    201, // padded
		"?nonce=%2B%2F%2B%2F%2B%2F%2B%2F8":       400, // standard base64
		"?nonce=" + b64(strings.Repeat("x", 64)): 201,
		"?nonce=" + b64(strings.Repeat("x", 65)): 400,
		"?nonceSize=8&nonce=" + b64("12345678"):  400,
	} {
		w := call(s, http.MethodPost, newSession+query, "", "")
		require.Equal(t, want, w.Code, query)
		if want == 400 {
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		}
	}
}

// Good Evidence or not, the answer is 200 and a signed EAR with a padded nonce.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	s, key := newFake(t, func(o *Options) {
		o.Issuer = "issuer"
		o.AttestedKey = func([]byte) crypto.PublicKey { return o.Key.Public() }
	})
	for evidence, want := range map[string]ear.TrustTier{testNonce: ear.TrustTierAffirming, "other": ear.TrustTierContraindicated} {
		w := call(s, http.MethodPost, open(t, s, testNonce), mediaType, evidence)
		require.Equal(t, http.StatusOK, w.Code)
		ar := result(t, w, key)
		require.Equal(t, want, *ar.Submods["FAKE"].Status)
		require.Equal(t, base64.URLEncoding.EncodeToString([]byte(testNonce)), *ar.Nonce)
		attested, err := ar.Submods["FAKE"].GetKeyAttestation()
		require.NoError(t, err)
		require.True(t, key.PublicKey.Equal(attested))
	}
	require.Equal(t, 2, s.Stats().Appraisals)
}

func TestPollAndDelete(t *testing.T) {
	t.Parallel()
	s, key := newFake(t, func(o *Options) { o.Polls = 2 })
	where := open(t, s, testNonce)
	require.Contains(t, call(s, http.MethodGet, where, "", "").Body.String(), "waiting")
	require.Equal(t, http.StatusAccepted, call(s, http.MethodPost, where, mediaType, testNonce).Code)
	require.Contains(t, call(s, http.MethodGet, where, "", "").Body.String(), "processing")
	result(t, call(s, http.MethodGet, where, "", ""), key)
	require.Equal(t, http.StatusNoContent, call(s, http.MethodDelete, where, "", "").Code)
	require.Zero(t, s.Open())
	require.Equal(t, http.StatusInternalServerError, call(s, http.MethodDelete, where, "", "").Code)
	require.Equal(t, http.StatusNotFound, call(s, http.MethodGet, where, "", "").Code)
	require.Equal(t, http.StatusNotFound, call(s, http.MethodPost, where, mediaType, "x").Code)
	require.Equal(t, http.StatusUnsupportedMediaType, call(s, http.MethodPost, where, "a/b", "x").Code)
	require.Equal(t, http.StatusBadRequest, call(s, http.MethodPost, where, mediaType, "").Code)
	require.Equal(t, http.StatusNotFound, call(s, http.MethodGet, "/", "", "").Code)
}

func TestIncapableScheme(t *testing.T) {
	t.Parallel()
	s, _ := newFake(t, func(o *Options) { o.AttestedKey = func([]byte) crypto.PublicKey { return nil } })
	require.Equal(t, http.StatusInternalServerError, call(s, http.MethodPost, open(t, s, testNonce), mediaType, "x").Code)
	_, err := New(Options{})
	require.Error(t, err)
}

// Each fault is what its name says; over a socket, as some close it.
func TestFaults(t *testing.T) {
	t.Parallel()
	s, key := newFake(t, nil)
	srv := httptest.NewServer(s)
	defer srv.Close()
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	ask := func(f Fault) (*http.Response, string, error) {
		s.Set(f)
		defer s.Set(None)
		r, err := client.Post(srv.URL+newSession+"?nonce="+b64(testNonce), "", nil)
		if err != nil {
			return nil, "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		return r, string(b), err
	}
	r, _, err := ask(Down)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	_, _, err = ask(Drops)
	require.Error(t, err)
	_, body, err := ask(Garbage)
	require.NoError(t, err)
	require.False(t, json.Valid([]byte(body)))
	_, body, err = ask(HTML)
	require.NoError(t, err)
	require.Contains(t, body, "<html>")
	_, body, err = ask(Huge)
	require.NoError(t, err)
	require.Len(t, body, 1<<20)
	r, _, err = ask(Redirect)
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, r.StatusCode)
	r, _, err = ask(OtherOrigin)
	require.NoError(t, err)
	require.Equal(t, Elsewhere, r.Header.Get("Location"))
	_, body, err = ask(OtherNonce)
	require.NoError(t, err)
	require.NotContains(t, body, `"`+b64(testNonce)+`"`)

	submit := func(f Fault, nonce string) *httptest.ResponseRecorder {
		where := open(t, s, nonce)
		s.Set(f)
		defer s.Set(None)
		return call(s, http.MethodPost, where, mediaType, nonce)
	}
	require.Equal(t, http.StatusAccepted, submit(Forever, testNonce).Code)
	require.Equal(t, http.StatusInternalServerError, submit(Incapable, testNonce).Code)
	var one session
	require.NoError(t, json.Unmarshal(submit(Unsigned, testNonce).Body.Bytes(), &one))
	require.Error(t, new(ear.AttestationResult).Verify([]byte(*one.Result), jwa.ES256(), &key.PublicKey))
	ar := result(t, submit(OtherEvidence, "another nonce"), key)
	require.Equal(t, base64.URLEncoding.EncodeToString([]byte(testNonce)), *ar.Nonce)
}

// Slow is over when the caller leaves.
func TestSlow(t *testing.T) {
	t.Parallel()
	s, _ := newFake(t, nil)
	s.Set(Slow)
	srv := httptest.NewServer(s)
	defer srv.Close()
	client := srv.Client()
	client.Timeout = 50 * time.Millisecond
	r, err := client.Post(srv.URL+newSession, "", nil)
	if err == nil {
		_ = r.Body.Close()
	}
	var timeout interface{ Timeout() bool }
	require.True(t, errors.As(err, &timeout) && timeout.Timeout())
}
