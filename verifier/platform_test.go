package verifier_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier"
)

// TestFindings: what a platform's own policy finds is a failed check of its own
// name, reported with all others; no option of the common policy waives it.
func TestFindings(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	f := newFake(func(b attestation.Binding) (*evidence.Claims, error) {
		c := report(b)
		c.Findings = []evidence.Finding{{Check: "tcb", Want: "3 or later", Got: "2"}, {Check: "vmpl", Want: "0", Got: "1"}}
		return c, nil
	})
	p := fakePolicy(l)
	p.AcceptWarning, p.AllowDebugExposingMemory, p.AllowExternalKey = true, true, true
	_, err := f.judged(t, l, p)
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.Equal(t, []string{"platform tcb", "platform vmpl"}, names(err))
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckPlatform, Subject: "tcb"})
	require.NotErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckPlatform, Subject: "smt"})
	require.ErrorContains(t, err, `platform "tcb": want 3 or later, got 2`)
	var rejected *attestation.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, attestation.TierContraindicated, rejected.Appraisals[0].Status)
	require.Equal(t, attestation.TierContraindicated, rejected.Appraisals[0].Vector.Hardware.Tier())
}
