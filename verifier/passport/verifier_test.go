package passport

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

// resign changes the payload of a token and signs it again.
func (a *authority) resign(t testing.TB, token []byte, change func(m map[string]any)) []byte {
	parts := strings.Split(string(token), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(payload, &m))
	change(m)
	payload, err = json.Marshal(m)
	require.NoError(t, err)
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, a.key, digest[:])
	require.NoError(t, err)
	fixed := func(i *big.Int) []byte { return i.FillBytes(make([]byte, 32)) }
	return []byte(signed + "." + base64.RawURLEncoding.EncodeToString(append(fixed(r), fixed(s)...)))
}

func submod(m map[string]any, name string) map[string]any {
	return m["submods"].(map[string]any)[name].(map[string]any)
}

// B-13, B-15: what each mode accepts. No mode falls back to a weaker one, and none takes an
// EAR that states another key.
func TestModes(t *testing.T) {
	t.Parallel()
	a, key := newAuthority(t), newKey(t)
	b := binding(t, key)
	token, _, err := a.Obtain(context.Background(), b)
	require.NoError(t, err)
	foreign, _, err := a.Obtain(context.Background(), binding(t, newKey(t)))
	require.NoError(t, err)
	otherConnection, _, err := a.Obtain(context.Background(), binding(t, key))
	require.NoError(t, err)
	without := func(names ...string) func(m map[string]any) {
		return func(m map[string]any) {
			for _, name := range names {
				delete(submod(m, name), "ear.veraison.key-attestation")
			}
		}
	}
	otherKey := func(m map[string]any) {
		submod(m, "tpm")["ear.veraison.key-attestation"] = map[string]any{"akpub": base64.RawURLEncoding.EncodeToString(spki(t, newKey(t)))}
	}
	nothing := func(m map[string]any) { delete(m, "eat_nonce"); without("tee", "tpm")(m) }
	for name, c := range map[string]struct {
		token             []byte
		connection, nonce error // nil: accepted
		bound, free       error
	}{
		"for the connection":   {token, nil, nil, nil, nil},
		"other connection":     {otherConnection, ear.ErrNonce, ear.ErrNonce, nil, nil},
		"other key":            {foreign, ear.ErrNonce, ear.ErrNonce, ear.ErrKey, ear.ErrKey},
		"no key":               {a.resign(t, token, without("tee", "tpm")), ear.ErrKey, nil, ear.ErrKey, nil},
		"key in one of two":    {a.resign(t, token, without("tpm")), ear.ErrKey, nil, ear.ErrKey, nil},
		"other key in one":     {a.resign(t, token, otherKey), ear.ErrKey, ear.ErrKey, ear.ErrKey, ear.ErrKey},
		"bound to nothing":     {a.resign(t, token, nothing), ear.ErrNonce, ear.ErrNonce, ear.ErrKey, nil},
		"nonce of nobody":      {a.resign(t, token, func(m map[string]any) { m["eat_nonce"] = "AAAAAAAAAAA" }), ear.ErrNonce, ear.ErrNonce, nil, nil},
		"two submodules, none": {a.resign(t, token, func(m map[string]any) { submod(m, "tpm")["ear.status"] = "none" }), ear.ErrTier, ear.ErrTier, ear.ErrTier, ear.ErrTier},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := record(c.token)
			require.NoError(t, err)
			for _, mode := range []struct {
				v    *Verifier
				want error
			}{
				{a.verifier(t), c.connection}, {a.verifier(t, unattested), c.nonce},
				{a.verifier(t, keyBound), c.bound}, {a.verifier(t, unbound), c.free},
			} {
				r, err := mode.v.Appraise(context.Background(), b, m)
				if mode.want != nil {
					require.Nil(t, r)
					requireNo(t, err, mode.want)
					continue
				}
				require.NoError(t, err)
				require.True(t, r.Answers(b))
			}
		})
	}
}

// H-5: a passport is as good as its EAR; package ear has all the cases.
func TestBadPassports(t *testing.T) {
	t.Parallel()
	a, key := newAuthority(t), newKey(t)
	b := binding(t, key)
	token, _, err := a.Obtain(context.Background(), b)
	require.NoError(t, err)
	now := time.Now().Unix()
	set := func(name string, v any) []byte {
		return a.resign(t, token, func(m map[string]any) { m[name] = v })
	}
	status := func(s string) []byte {
		return a.resign(t, token, func(m map[string]any) { submod(m, "tpm")["ear.status"] = s })
	}
	other := newAuthority(t)
	stranger, _, err := other.Obtain(context.Background(), b)
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(token), ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + rest
	hs256 := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + rest
	for name, c := range map[string]struct {
		token []byte
		want  error
	}{
		"expired":         {a.resign(t, token, func(m map[string]any) { m["iat"], m["exp"] = now-60, now-1 }), ear.ErrExpired},
		"from the future": {a.resign(t, token, func(m map[string]any) { m["iat"], m["exp"] = now+60, now+120 }), ear.ErrFuture},
		"issuer":          {set("iss", "https://evil.example"), ear.ErrIssuer},
		"audience":        {set("aud", "others"), ear.ErrAudience},
		"profile":         {set("eat_profile", "tag:example.com,2026:x"), ear.ErrProfile},
		"alg none":        {[]byte(none), ear.ErrAlgorithm},
		"HS256":           {[]byte(hs256), ear.ErrAlgorithm},
		"warning":         {status("warning"), ear.ErrTier},
		"contraindicated": {status("contraindicated"), ear.ErrTier},
		"stranger":        {stranger, ear.ErrSignature},
		"no status":       {a.resign(t, token, func(m map[string]any) { delete(submod(m, "tee"), "ear.status") }), attestation.ErrMalformed},
		"truncated":       {token[:len(token)-1], attestation.ErrMalformed},
		"extra part":      {append(append([]byte(nil), token...), ".x"...), attestation.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := record(c.token)
			require.NoError(t, err)
			for _, v := range []*Verifier{a.verifier(t), a.verifier(t, unattested), a.verifier(t, keyBound), a.verifier(t, unbound)} {
				_, err = v.Appraise(context.Background(), b, m)
				require.ErrorIs(t, err, c.want)
			}
		})
	}
}

type down struct{}

var errDown = errors.New("down")

func (down) Keys(context.Context, string) ([]ear.Key, error) { return nil, errDown }

// Without the issuer's keys there is no verdict, in any mode.
func TestKeysDown(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.options.Keys = down{}
	b := binding(t, newKey(t))
	token, _, err := a.Obtain(context.Background(), b)
	require.NoError(t, err)
	m, err := record(token)
	require.NoError(t, err)
	for _, v := range []*Verifier{a.verifier(t), a.verifier(t, unattested), a.verifier(t, keyBound), a.verifier(t, unbound)} {
		_, err = v.Appraise(context.Background(), b, m)
		require.ErrorIs(t, err, attestation.ErrUnavailable)
		require.ErrorIs(t, err, errDown)
		require.NotErrorIs(t, err, attestation.ErrRejected)
	}
}

func TestMessageForms(t *testing.T) {
	t.Parallel()
	a, key := newAuthority(t), newKey(t)
	b := binding(t, key)
	token, _, err := a.Obtain(context.Background(), b)
	require.NoError(t, err)
	must := func(m *cmw.Message, err error) *cmw.Message {
		require.NoError(t, err)
		return m
	}
	good := must(record(token))
	for name, c := range map[string]struct {
		m    *cmw.Message
		want error
	}{
		"record":        {good, nil},
		"no indicator":  {must(cmw.NewRecord(ear.MediaType, token, 0)), nil},
		"says evidence": {must(cmw.NewRecord(ear.MediaType, token, cmw.Evidence)), attestation.ErrMalformed},
		"says both":     {must(cmw.NewRecord(ear.MediaType, token, cmw.Evidence|cmw.AttestationResults)), attestation.ErrMalformed},
		"no profile":    {must(cmw.NewRecord("application/eat+jwt", token, cmw.AttestationResults)), attestation.ErrMalformed},
		"tag":           {must(cmw.NewTag("application/eat+jwt", token)), attestation.ErrMalformed},
		"collection":    {must(cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel("a"), Message: good}})), attestation.ErrMalformed},
	} {
		_, err := a.verifier(t).Appraise(context.Background(), b, c.m)
		require.ErrorIs(t, err, c.want, name)
	}
}

// The Result ends with the EAR, or earlier.
func TestLifetime(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), binding(t, newKey(t))
	token, expires, err := a.Obtain(context.Background(), b)
	require.NoError(t, err)
	m, err := record(token)
	require.NoError(t, err)
	r, err := a.verifier(t).Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.LessOrEqual(t, r.Lifetime(), time.Until(expires)+time.Second)
	require.Greater(t, r.Lifetime(), 59*time.Minute)
	r, err = a.verifier(t, func(o *VerifierOptions) { o.Lifetime = time.Minute }).Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, time.Minute, r.Lifetime())
}

func TestNewVerifierMisuse(t *testing.T) {
	t.Parallel()
	checker, err := ear.NewChecker(newAuthority(t).options)
	require.NoError(t, err)
	for name, o := range map[string]VerifierOptions{
		"no checker": {},
		"both modes": {Checker: checker, KeyBound: true, AllowUnboundPassport: true},
		"key or not": {Checker: checker, KeyBound: true, AcceptUnattestedKey: true},
		"two losses": {Checker: checker, AcceptUnattestedKey: true, AllowUnboundPassport: true},
		"lifetime":   {Checker: checker, Lifetime: time.Second - 1},
	} {
		_, err := NewVerifier(o)
		require.ErrorIs(t, err, attestation.ErrMisuse, name)
	}
}
