package attestation

import (
	"crypto"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
)

func binding() Binding {
	s := must(authenticator.NewSessionFromExporter(rfc8448{}, crypto.SHA256, authenticator.Client))
	return must(Expat04().bind(s, goldenContext, goldenSPKI))
}

// AR4SI: the four tiers at both ends of every range.
func TestTrustClaimTier(t *testing.T) {
	t.Parallel()
	for c := math.MinInt8; c <= math.MaxInt8; c++ {
		want := TierContraindicated
		switch {
		case c >= -1 && c <= 1:
			want = TierNone
		case c >= -32 && c <= 31:
			want = TierAffirming
		case c >= -96 && c <= 95:
			want = TierWarning
		}
		require.Equal(t, want, TrustClaim(c).Tier(), "claim %d", c)
	}
	require.Equal(t, "none affirming warning contraindicated",
		TierNone.String()+" "+TierAffirming.String()+" "+TierWarning.String()+" "+TierContraindicated.String())
}

// DESIGN 8: only affirming opens a connection, unless the policy says otherwise by
// name; a vector can lower a status and never raise it; every environment counts.
func TestNewResultTier(t *testing.T) {
	t.Parallel()
	a := func(status Tier, v TrustVector) Appraisal {
		return Appraisal{Environment: "e", Status: status, Vector: v}
	}
	good, none := a(TierAffirming, TrustVector{Hardware: 2}), a(TierNone, TrustVector{Hardware: 2})
	warning := a(TierWarning, TrustVector{})
	for _, tc := range []struct {
		name          string
		appraisals    []Appraisal
		acceptWarning bool
		want          Tier // TierNone: rejected
	}{
		{"affirming", []Appraisal{good}, false, TierAffirming},
		{"affirming without a vector", []Appraisal{a(TierAffirming, TrustVector{})}, false, TierAffirming},
		{"affirming in each", []Appraisal{good, good}, false, TierAffirming},
		{"none", []Appraisal{none}, false, TierNone},
		{"none in one", []Appraisal{good, none}, false, TierNone},
		{"none after contraindicated", []Appraisal{a(TierContraindicated, TrustVector{}), none}, true, TierNone},
		{"none with warnings accepted", []Appraisal{none}, true, TierNone},
		{"warning", []Appraisal{warning}, false, TierNone},
		{"warning accepted", []Appraisal{warning}, true, TierWarning},
		{"warning in one, accepted", []Appraisal{good, warning, good}, true, TierWarning},
		{"affirming with warnings accepted", []Appraisal{good}, true, TierAffirming},
		{"contraindicated", []Appraisal{a(TierContraindicated, TrustVector{})}, false, TierNone},
		{"contraindicated with warnings accepted", []Appraisal{a(TierContraindicated, TrustVector{})}, true, TierNone},
		{"vector warns", []Appraisal{a(TierAffirming, TrustVector{Configuration: 32})}, false, TierNone},
		{"vector warns, accepted", []Appraisal{a(TierAffirming, TrustVector{Configuration: -33})}, true, TierWarning},
		{"vector contraindicates", []Appraisal{a(TierAffirming, TrustVector{InstanceIdentity: 97})}, true, TierNone},
		{"vector does not raise", []Appraisal{a(TierWarning, TrustVector{Executables: 2})}, false, TierNone},
		{"status 1 is no tier", []Appraisal{a(1, TrustVector{})}, true, TierNone},
		{"status 3 is no tier", []Appraisal{a(3, TrustVector{})}, true, TierNone},
		{"status 33 is no tier", []Appraisal{a(33, TrustVector{})}, true, TierNone},
		{"negative status is no tier", []Appraisal{a(-2, TrustVector{Hardware: 2})}, true, TierNone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := NewResult(binding(), ResultOptions{Verifier: "v", Lifetime: time.Second, Appraisals: tc.appraisals, AcceptWarning: tc.acceptWarning})
			if tc.want == TierNone {
				require.ErrorIs(t, err, ErrRejected)
				require.Nil(t, r)
				var rejected *RejectedError
				require.ErrorAs(t, err, &rejected)
				require.Equal(t, tc.appraisals, rejected.Appraisals)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, r.Tier())
		})
	}
}

// Every claim of the vector counts.
func TestTrustVectorWorst(t *testing.T) {
	t.Parallel()
	require.Equal(t, TierNone, TrustVector{}.worst())
	for _, v := range []TrustVector{
		{InstanceIdentity: 96}, {Configuration: 96}, {Executables: 96}, {FileSystem: 96},
		{Hardware: 96}, {RuntimeOpaque: 96}, {StorageOpaque: 96}, {SourcedData: 96},
	} {
		require.Equal(t, TierContraindicated, v.worst(), "%+v", v)
	}
}

// A Result says who decided, on what, for how long and about which connection.
func TestNewResultMisuse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		b      Binding
		change func(*ResultOptions)
		want   error
	}{
		{"complete", binding(), func(*ResultOptions) {}, nil},
		{"shortest lifetime", binding(), func(o *ResultOptions) { o.Lifetime = time.Second }, nil},
		{"lifetime of the connection", binding(), func(o *ResultOptions) { o.Lifetime = ConnectionLifetime }, nil},
		{"no binding", Binding{}, func(*ResultOptions) {}, ErrMisuse},
		{"no verifier", binding(), func(o *ResultOptions) { o.Verifier = "" }, ErrMisuse},
		{"no appraisal", binding(), func(o *ResultOptions) { o.Appraisals = nil }, ErrMisuse},
		{"no lifetime", binding(), func(o *ResultOptions) { o.Lifetime = 0 }, ErrMisuse},
		{"lifetime too short", binding(), func(o *ResultOptions) { o.Lifetime = time.Second - 1 }, ErrMisuse},
		{"negative lifetime", binding(), func(o *ResultOptions) { o.Lifetime = -time.Hour }, ErrMisuse},
	} {
		o := affirming()
		tc.change(&o)
		r, err := NewResult(tc.b, o)
		require.ErrorIs(t, err, tc.want, tc.name)
		require.Equal(t, tc.want == nil, r != nil, tc.name)
	}
}

// A Result does not change with what it was made from or what it gave out.
func TestResultIsImmutable(t *testing.T) {
	t.Parallel()
	o := affirming()
	r, err := NewResult(binding(), o)
	require.NoError(t, err)
	o.Appraisals[0].Status = TierContraindicated
	r.Appraisals()[0].Environment = "changed"
	require.Equal(t, affirming().Appraisals, r.Appraisals())
	require.Equal(t, "strict", r.Verifier())
	require.Equal(t, time.Minute, r.Lifetime())
	require.True(t, r.Answers(binding()))
	require.True(t, r.Binding().same(binding()))
}

// The form for logs and programs, with names for tiers.
func TestResultJSON(t *testing.T) {
	t.Parallel()
	o := affirming()
	o.Appraisals[0].Instance = "0102"
	o.Appraisals[0].Claims = map[string]any{"debug": false}
	o.Appraisals[0].Vector.Hardware = 2
	r, err := NewResult(binding(), o)
	require.NoError(t, err)
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"tier": "affirming", "verifier": "strict", "lifetime": "1m0s", "appraisals": [{
		"status": "affirming", "environment": "test", "policy": "test policy", "instance": "0102", "claims": {"debug": false},
		"trust_vector": {"instance-identity": 0, "configuration": 0, "executables": 0, "file-system": 0, "hardware": 2,
			"runtime-opaque": 0, "storage-opaque": 0, "sourced-data": 0}}]}`, string(b))

	o = affirming()
	o.Lifetime, o.AcceptWarning, o.Appraisals[0].Status = ConnectionLifetime, true, TierWarning
	r, err = NewResult(binding(), o)
	require.NoError(t, err)
	b, err = json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(b), `"tier":"warning"`)
	require.Contains(t, string(b), `"lifetime":"connection"`)
	require.NotContains(t, string(b), "claims")
}

// DESIGN 8: every failed check is reported, in one line.
func TestReject(t *testing.T) {
	t.Parallel()
	require.NoError(t, Reject())
	require.NoError(t, Reject(nil, nil))
	err := Reject(nil, errBinder, nil, errKeyHash)
	require.ErrorIs(t, err, ErrRejected)
	require.ErrorIs(t, err, errBinder)
	require.ErrorIs(t, err, errKeyHash)
	require.EqualError(t, err, "attestation rejected: binder is another; key hash is another")
	require.EqualError(t, &RejectedError{}, "attestation rejected")
	require.ErrorIs(t, &RejectedError{}, ErrRejected)
	require.False(t, errors.Is(&RejectedError{}, errBinder))
}
