package ear

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	vear "github.com/veraison/ear"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// checked is the EAR of a payload.
func (p *party) checked(t *testing.T, m map[string]any) *EAR {
	e, err := p.check(t, p.sign(t, goodHeader, encode(t, m)))
	require.NoError(t, err)
	return e
}

// B-13, B-15: what each option takes, and that none takes another key.
func TestResultBinding(t *testing.T) {
	t.Parallel()
	const (
		whole = iota
		nonceOnly
		keyOnly
		unbound
	)
	options := [...]ResultOptions{whole: {}, nonceOnly: {AllowUnstatedKey: true}, keyOnly: {AllowOtherNonce: true}, unbound: {AllowUnstatedKey: true, AllowOtherNonce: true}}
	noKey := func(m map[string]any) { delete(submod(m), "ear.veraison.key-attestation") }
	noNonce := func(m map[string]any) { delete(m, "eat_nonce") }
	second := func(key []byte) func(m map[string]any) {
		return func(m map[string]any) {
			tpm := map[string]any{"ear.status": "affirming"}
			if key != nil {
				tpm["ear.veraison.key-attestation"] = map[string]any{"akpub": base64url.EncodeToString(key)}
			}
			m["submods"].(map[string]any)["tpm"] = tpm
		}
	}
	other := newBinding(t, newKey(t).Public(), 7)
	for name, c := range map[string]struct {
		change func(m map[string]any)
		want   [4]error // by option
	}{
		"ours":             {func(map[string]any) {}, [4]error{}},
		"no nonce":         {noNonce, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"other":            {func(m map[string]any) { m["eat_nonce"] = base64url.EncodeToString(make([]byte, 32)) }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"longer":           {func(m map[string]any) { m["eat_nonce"] = m["eat_nonce"].(string) + "AA" }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"shorter":          {func(m map[string]any) { m["eat_nonce"] = m["eat_nonce"].(string)[:40] }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"padded":           {func(m map[string]any) { m["eat_nonce"] = m["eat_nonce"].(string) + "=" }, [4]error{}},
		"too much padding": {func(m map[string]any) { m["eat_nonce"] = m["eat_nonce"].(string) + "==" }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"padding alone":    {func(m map[string]any) { m["eat_nonce"] = "=" }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"padding first":    {func(m map[string]any) { m["eat_nonce"] = "=" + m["eat_nonce"].(string) }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"line end, padded": {func(m map[string]any) { m["eat_nonce"] = m["eat_nonce"].(string) + "\n=" }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"other, padded":    {func(m map[string]any) { m["eat_nonce"] = base64.URLEncoding.EncodeToString(make([]byte, 32)) }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"line end":         {func(m map[string]any) { m["eat_nonce"] = m["eat_nonce"].(string) + "\n" }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"standard":         {func(m map[string]any) { m["eat_nonce"] = base64.StdEncoding.EncodeToString(make([]byte, 32)) }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce}},
		"no key":           {noKey, [4]error{whole: ErrKey, keyOnly: ErrKey}},
		"nothing":          {func(m map[string]any) { noKey(m); noNonce(m) }, [4]error{whole: ErrNonce, nonceOnly: ErrNonce, keyOnly: ErrKey}},
		"other key": {func(m map[string]any) {
			submod(m)["ear.veraison.key-attestation"] = map[string]any{"akpub": base64url.EncodeToString(other.SPKI())}
		}, [4]error{ErrKey, ErrKey, ErrKey, ErrKey}},
		"second":     {second(other.SPKI()), [4]error{ErrKey, ErrKey, ErrKey, ErrKey}},
		"empty key":  {second([]byte{0}), [4]error{ErrKey, ErrKey, ErrKey, ErrKey}},
		"second has": {second(nil), [4]error{whole: ErrKey, keyOnly: ErrKey}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t)
			m := p.payload(t)
			c.change(m)
			e := p.checked(t, m)
			for i, o := range options {
				r, err := e.Result(p.binding, o)
				if c.want[i] != nil {
					require.Nil(t, r)
					requireNo(t, err, c.want[i])
					continue
				}
				require.NoError(t, err)
				require.True(t, r.Answers(p.binding))
			}
		})
	}
}

// An EAR is for one binder and one key, whatever it is compared with.
func TestOtherBindings(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	e := p.checked(t, p.payload(t))
	otherNonce := newBinding(t, p.attested.Public(), 8)
	otherKey := newBinding(t, newKey(t).Public(), 7)
	requireNo(t, e.Answers(otherNonce), ErrNonce)
	require.NoError(t, e.AttestsKey(otherNonce))
	require.NoError(t, e.Answers(otherKey), "only a real binder covers the key")
	requireNo(t, e.AttestsKey(otherKey), ErrKey)
	for _, b := range []attestation.Binding{otherNonce, otherKey, {}} {
		_, err := e.Result(b, ResultOptions{})
		require.ErrorIs(t, err, attestation.ErrRejected)
	}
	_, err := e.Result(attestation.Binding{}, ResultOptions{AllowUnstatedKey: true, AllowOtherNonce: true})
	requireNo(t, err, ErrKey)
	_, err = e.Result(p.binding, ResultOptions{Lifetime: -1})
	require.ErrorIs(t, err, attestation.ErrMisuse)
}

func TestResultLifetime(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	e := p.checked(t, p.payload(t))
	for _, c := range []struct {
		after, bound, want time.Duration
	}{
		{0, 0, time.Hour},
		{0, time.Minute, time.Minute},
		{0, 2 * time.Hour, time.Hour},
		{time.Hour - time.Second, time.Minute, time.Second},
	} {
		p.clock.now = start.Add(c.after)
		r, err := e.Result(p.binding, ResultOptions{Lifetime: c.bound})
		require.NoError(t, err)
		require.Equal(t, c.want, r.Lifetime())
	}
	p.clock.now = start.Add(time.Hour - time.Second + 1)
	_, err := e.Result(p.binding, ResultOptions{})
	requireNo(t, err, ErrExpired)
}

func TestResultWarning(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.options.AcceptWarning = true
	m := p.payload(t)
	submod(m)["ear.status"] = "warning"
	r, err := p.checked(t, m).Result(p.binding, ResultOptions{})
	require.NoError(t, err)
	require.Equal(t, attestation.TierWarning, r.Tier())
}

// The library panics here; whatever it does, the caller gets an error.
func TestGuardedLibrary(t *testing.T) {
	t.Parallel()
	_, err := guarded(func() (any, error) {
		status := vear.TrustTierAffirming
		(&vear.Appraisal{Status: &status}).UpdateStatusFromTrustVector()
		return nil, nil
	})
	require.ErrorIs(t, err, ErrLibrary)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.EqualError(t, err, "verifier reached no verdict: the EAR library failed: it panicked with a runtime.errorString")
	v, err := guarded(func() (int, error) { return 1, nil })
	require.NoError(t, err)
	require.Equal(t, 1, v)
}

// The vectors of both packages have the same categories in the same places.
func TestVectors(t *testing.T) {
	t.Parallel()
	v := attestation.TrustVector{InstanceIdentity: 1, Configuration: 2, Executables: 3, FileSystem: 4, Hardware: 5, RuntimeOpaque: 6, StorageOpaque: 7, SourcedData: -128}
	require.Equal(t, v, fromVector(toVector(v)))
	ours, err := json.Marshal(v)
	require.NoError(t, err)
	theirs, err := json.Marshal(toVector(v).AsMap())
	require.NoError(t, err)
	require.JSONEq(t, string(ours), string(theirs))
}
