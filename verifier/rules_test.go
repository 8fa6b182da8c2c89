package verifier_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

func rule(name string, err error) verifier.Rule {
	return verifier.Rule{Name: name, Check: func(context.Context, *evidence.Claims) error { return err }}
}

// TestRules: every rule must hold, each that does not is reported, and one that
// gives no answer is no yes.
func TestRules(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	reason := errors.New("model-1 has a recall")
	panics := verifier.Rule{Name: "panics", Check: func(context.Context, *evidence.Claims) error { panic("secret") }}
	for name, c := range map[string]struct {
		rules  []verifier.Rule
		lies   []simulated.Lie
		checks []string
		want   []error
	}{
		"all hold":               {rules: []verifier.Rule{rule("a", nil), rule("b", nil)}},
		"one fails":              {[]verifier.Rule{rule("a", nil), rule("b", reason)}, nil, []string{"rule b"}, []error{attestation.ErrRejected, reason}},
		"all are asked":          {[]verifier.Rule{rule("a", reason), rule("b", reason)}, nil, []string{"rule a", "rule b"}, []error{attestation.ErrRejected}},
		"beside reference value": {[]verifier.Rule{rule("a", reason)}, []simulated.Lie{simulated.DebugOn}, []string{"debug", "rule a"}, []error{attestation.ErrRejected}},
		"not over a foreign":     {[]verifier.Rule{panics, rule("a", reason)}, []simulated.Lie{simulated.WrongNonce}, []string{"binder"}, []error{attestation.ErrRejected}},
		"not over an unsigned":   {[]verifier.Rule{panics, rule("a", reason)}, []simulated.Lie{simulated.TamperedClaims}, []string{"signature"}, []error{attestation.ErrRejected}},
		"a panic":                {[]verifier.Rule{panics, rule("a", nil)}, nil, []string{"rule panics"}, []error{attestation.ErrUnavailable}},
		"a panic beside a no":    {[]verifier.Rule{panics, rule("a", reason)}, nil, []string{"rule a"}, []error{attestation.ErrRejected}},
		"no answer":              {[]verifier.Rule{rule("a", fmt.Errorf("%w: %w", attestation.ErrUnavailable, reason))}, nil, []string{"rule a"}, []error{attestation.ErrUnavailable, reason}},
	} {
		p := l.policy
		p.Rules = c.rules
		r, err := exchange(t, crypto.SHA256, l.id, simulated.NewAttester(l.device, c.lies...), appraiser(t, p))
		require.Equal(t, c.checks, names(err), name)
		if c.want == nil {
			require.NoError(t, err, name)
			require.Equal(t, attestation.TierAffirming, r.Tier())
			continue
		}
		require.Nil(t, r, name)
		for _, want := range c.want {
			require.ErrorIs(t, err, want, name)
		}
		if c.want[0] == attestation.ErrUnavailable {
			require.NotErrorIs(t, err, attestation.ErrRejected, name)
		}
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestRuleFailureSpoilsConfiguration(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Rules = []verifier.Rule{rule("a", errors.New("no"))}
	_, err := l.run(t)
	require.ErrorContains(t, err, `rule "a": no`)
	var rejected *attestation.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, attestation.TrustVector{InstanceIdentity: 2, Configuration: 96, Executables: 2, Hardware: 2}, rejected.Appraisals[0].Vector)
}

// TestRuleSeesTheEndOfContext: what a rule says after the end of ctx is not heard.
func TestRuleSeesTheEndOfContext(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(context.Background())
	l.policy.Rules = []verifier.Rule{{Name: "slow", Check: func(context.Context, *evidence.Claims) error { cancel(late); return nil }}}
	_, err = appraiser(t, l.policy).Appraise(ctx, b, m)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, late)
}

// TestRulesAreCopied: an Appraiser keeps the rules that it was made with.
func TestRulesAreCopied(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Rules = []verifier.Rule{rule("a", nil)}
	a := appraiser(t, l.policy)
	l.policy.Rules[0] = rule("a", errors.New("no"))
	_, err := exchange(t, crypto.SHA256, l.id, simulated.NewAttester(l.device), a)
	require.NoError(t, err)
}

// TestRevokedPanics: a source of revocations that panics has given no answer.
func TestRevokedPanics(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Revoked = func(context.Context, *evidence.Claims) (bool, error) { panic("secret") }
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	_, err = appraiser(t, l.policy).Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.EqualError(t, err, "revocation: "+attestation.ErrUnavailable.Error()+": it panicked with a string")
}
