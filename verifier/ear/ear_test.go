package ear

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	tpm := affirming("tpm")
	tpm.Claims = map[string]any{"svn": 18446744073709551615.0}
	tpm.Instance, tpm.Policy = "", ""
	token := p.issue(t, p.statement(affirming("tee"), tpm))

	e, err := p.check(t, token)
	require.NoError(t, err)
	require.Equal(t, issuerName, e.Issuer())
	require.Equal(t, VerifierID{Developer: "https://expat.example", Build: "v1"}, e.Verifier())
	require.True(t, e.IssuedAt().Equal(start))
	require.True(t, e.Expires().Equal(start.Add(DefaultLifetime)))
	want := affirming("tpm")
	want.Claims = map[string]any{"svn": json.Number("18446744073709552000")}
	want.Instance, want.Policy = "", ""
	require.Equal(t, []attestation.Appraisal{affirming("tee"), want}, e.Appraisals())
	require.NoError(t, e.Answers(p.binding))
	require.NoError(t, e.AttestsKey(p.binding))

	p.add(10 * time.Minute)
	r, err := e.Result(p.binding, ResultOptions{})
	require.NoError(t, err)
	require.Equal(t, 50*time.Minute, r.Lifetime())
	require.Equal(t, issuerName, r.Verifier())
	require.True(t, r.Answers(p.binding))
	require.Equal(t, e.Appraisals(), r.Appraisals())
}
