package verifier_test

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// lines says of each outcome what it is about and how it ended.
func lines(outcomes []verifier.Outcome) []string {
	var out []string
	for _, o := range outcomes {
		line := string(o.Check)
		if o.Subject != "" {
			line += " " + o.Subject
		}
		out = append(out, line+": "+o.Verdict.String())
	}
	return out
}

func explained(t *testing.T, l *lab, lies ...simulated.Lie) *verifier.Explanation {
	t.Helper()
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device, lies...))
	require.NoError(t, err)
	e, err := appraiser(t, l.policy).Explain(context.Background(), m, b)
	require.NoError(t, err)
	return e
}

// TestExplain: every check is listed in the order in which it is made, with what
// was wanted and got, also where it holds.
func TestExplain(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Rules = []verifier.Rule{rule("odd", nil), rule("even", nil)}
	l.policy.RevokedInstances = [][]byte{{9}}
	l.policy.Revoked = revoked(false, nil)
	e := explained(t, l)
	require.NoError(t, e.Err)
	require.Equal(t, attestation.TierAffirming, e.Appraisal.Status)
	require.Equal(t, []string{
		"signature: holds", "certificate chain: holds", "binder: holds", "key hash: holds", "certificate expiry: holds",
		"instance: holds", "revocation: holds", "vendor: holds", "hardware model: holds", "debug: holds", "key provenance: holds",
		"measurement kernel: holds", "measurement app: holds", "software version firmware: holds", "platform: holds",
		"rule odd: holds", "rule even: holds", "revocation: holds",
	}, lines(e.Outcomes))
	for _, o := range e.Outcomes {
		require.NotEmpty(t, o.Want, o.Check)
		require.NotEmpty(t, o.Got, o.Check)
	}
	require.Equal(t, verifier.Outcome{
		Check: verifier.CheckMeasurement, Subject: "kernel", Want: hex.EncodeToString(kernel), Got: hex.EncodeToString(kernel), Verdict: verifier.Holds,
	}, e.Outcomes[11])
	text, err := json.Marshal(e.Outcomes[13])
	require.NoError(t, err)
	require.JSONEq(t, `{"check":"software version","subject":"firmware","want":"1.9 or later","got":"\"1.10.2\"","verdict":"holds"}`, string(text))
}

// TestExplainNotMade: what a policy does not ask for is listed as not made.
func TestExplainNotMade(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Instances, l.policy.AnyInstance = nil, true
	l.policy.Vendors, l.policy.HardwareModels, l.policy.MinVersions = nil, nil, nil
	l.policy.AllowUnlistedMeasurements = true
	delete(l.policy.Measurements, "app")
	e := explained(t, l)
	require.NoError(t, e.Err)
	require.Equal(t, []string{
		"signature: holds", "certificate chain: holds", "binder: holds", "key hash: holds", "certificate expiry: holds",
		"instance: not made", "revocation: not made", "vendor: not made", "hardware model: not made", "debug: holds", "key provenance: holds",
		"measurement kernel: holds", "measurement app: holds", "software version: not made", "platform: holds", "rule: not made",
	}, lines(e.Outcomes))
	require.Equal(t, "the policy accepts any instance; it is "+hex.EncodeToString(instance), e.Outcomes[5].Got)
	require.Equal(t, "anything: unlisted measurements are allowed", e.Outcomes[12].Want)
}

// TestExplainFails: an explanation has the same failures as the appraisal, and the
// checks around them.
func TestExplainFails(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Rules = []verifier.Rule{rule("odd", errors.New("it is even"))}
	asked := false
	l.policy.Revoked = func(context.Context, *evidence.Claims) (bool, error) { asked = true; return false, nil }
	for name, c := range map[string]struct {
		lies []simulated.Lie
		want []string
	}{
		"bound, and bad": {[]simulated.Lie{simulated.OldFirmware, simulated.DebugOn}, []string{
			"signature: holds", "certificate chain: holds", "binder: holds", "key hash: holds", "certificate expiry: holds",
			"instance: holds", "revocation: not made", "vendor: holds", "hardware model: holds", "debug: fails", "key provenance: holds",
			"measurement kernel: fails", "measurement app: holds", "software version firmware: fails", "platform: holds",
			"rule odd: fails", "revocation: not made",
		}},
		"not bound": {[]simulated.Lie{simulated.WrongNonce}, []string{
			"signature: holds", "certificate chain: holds", "binder: fails", "key hash: holds", "certificate expiry: holds",
			"instance: holds", "revocation: not made", "vendor: holds", "hardware model: holds", "debug: holds", "key provenance: holds",
			"measurement kernel: holds", "measurement app: holds", "software version firmware: holds", "platform: holds",
			"rule odd: not made", "revocation: not made",
		}},
		"not signed": {[]simulated.Lie{simulated.TamperedClaims, simulated.DebugOn}, []string{
			"signature: fails", "certificate chain: not made", "binder: not made", "certificate expiry: not made",
			"instance: not made", "revocation: not made", "vendor: not made", "hardware model: not made", "debug: not made",
			"key provenance: not made", "measurement: not made", "software version: not made", "platform: not made", "rule: not made",
		}},
	} {
		e := explained(t, l, c.lies...)
		require.Equal(t, c.want, lines(e.Outcomes), name)
		require.ErrorIs(t, e.Err, attestation.ErrRejected, name)
		require.Equal(t, attestation.TierContraindicated, e.Appraisal.Status, name)
		failing := 0
		for _, o := range e.Outcomes {
			if o.Verdict == verifier.Fails {
				require.NotEmpty(t, o.Want, o.Check)
				require.NotEmpty(t, o.Got, o.Check)
				failing++
			}
		}
		require.Len(t, verifier.FailedChecks(e.Err), failing, name)
		require.False(t, asked, name)
	}
}

// TestExplainAgrees: with a Binding, explaining and appraising are one judgement.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Rules = []verifier.Rule{rule("odd", nil)}
	a := appraiser(t, l.policy)
	for _, lie := range []simulated.Lie{
		simulated.WrongNonce, simulated.WrongKey, simulated.DebugOn, simulated.OldFirmware, simulated.ForeignKey, simulated.TamperedClaims,
	} {
		b, m, err := evidencetest.Attest(context.Background(), crypto.SHA384, l.id, simulated.NewAttester(l.device, lie))
		require.NoError(t, err)
		_, want := a.Appraise(context.Background(), b, m)
		e, err := a.Explain(context.Background(), m, b)
		require.NoError(t, err)
		require.Equal(t, want, e.Err)
	}
}

// TestExplainWithoutBinding: Evidence from a file is judged as far as it can be, and
// only by Explain.
func TestExplainWithoutBinding(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	asked := false
	l.policy.Rules = []verifier.Rule{{Name: "r", Check: func(context.Context, *evidence.Claims) error { asked = true; return nil }}}
	a := appraiser(t, l.policy)
	_, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	e, err := a.Explain(context.Background(), m, attestation.Binding{})
	require.NoError(t, err)
	require.NoError(t, e.Err)
	require.True(t, asked)
	require.Equal(t, verifier.CheckBinder, e.Outcomes[2].Check)
	require.Equal(t, verifier.NotMade, e.Outcomes[2].Verdict)
	require.Contains(t, e.Outcomes[2].Got, "binding not compared")
	require.Equal(t, verifier.CheckExpiry, e.Outcomes[3].Check)
	_, err = a.Appraise(context.Background(), attestation.Binding{}, m)
	require.Equal(t, []string{"binder", "key hash"}, names(err))
}

// TestExplainForms: the comparisons of each form of binding are listed.
func TestExplainForms(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	for name, c := range map[string]struct {
		change func(*evidence.Claims, attestation.Binding)
		want   []string
	}{
		"report data": {func(*evidence.Claims, attestation.Binding) {}, []string{"report data: holds"}},
		"certified key": {func(c *evidence.Claims, b attestation.Binding) {
			c.Form, c.Binder, c.SPKI = evidence.CertifiedKey, b.Binder(), b.SPKI()
		}, []string{"binder: holds", "certified key: holds"}},
		"another key": {func(c *evidence.Claims, b attestation.Binding) {
			c.Form, c.Binder, c.SPKI = evidence.CertifiedKey, b.Binder(), []byte{1}
		}, []string{"binder: holds", "certified key: fails"}},
		"unknown": {func(c *evidence.Claims, _ attestation.Binding) { c.Form = 0 }, []string{"binder: fails"}},
	} {
		f := newFake(func(b attestation.Binding) (*evidence.Claims, error) {
			r := report(b)
			c.change(r, b)
			return r, nil
		})
		v, err := verifier.New(fakePolicy(l), f)
		require.NoError(t, err)
		b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, f)
		require.NoError(t, err)
		e, err := v.Explain(context.Background(), m, b)
		require.NoError(t, err)
		require.Equal(t, c.want, lines(e.Outcomes)[2:2+len(c.want)], name)
		require.Equal(t, "certificate expiry: not made", lines(e.Outcomes)[2+len(c.want)], name)
	}
}

// TestExplainNoVerdict: a source that gives no answer leaves no verdict, which is
// told apart from a no.
func TestExplainNoVerdict(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	broken := errors.New("list is gone")
	l.policy.Revoked = revoked(false, broken)
	e := explained(t, l)
	require.ErrorIs(t, e.Err, attestation.ErrUnavailable)
	require.ErrorIs(t, e.Err, broken)
	require.Equal(t, attestation.TierNone, e.Appraisal.Status)
	last := e.Outcomes[len(e.Outcomes)-1]
	require.Equal(t, verifier.CheckRevocation, last.Check)
	require.Equal(t, verifier.NotMade, last.Verdict)
	require.Contains(t, last.Got, "list is gone")
}

// TestExplainWarns: a warning is told apart from a failure.
func TestExplainWarns(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.AllowDebugExposingMemory, l.policy.AcceptWarning = true, true
	e := explained(t, l, simulated.DebugOn)
	require.NoError(t, e.Err)
	require.Equal(t, attestation.TierWarning, e.Appraisal.Status)
	require.Contains(t, lines(e.Outcomes), "debug: warns")
}

// TestExplainNothing: where nothing is judged there is no explanation.
func TestExplainNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	a := appraiser(t, l.policy)
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	pair, err := cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel("a"), Message: m}, {Label: cmw.TextLabel("b"), Message: m}})
	require.NoError(t, err)
	_, err = a.Explain(context.Background(), pair, b)
	require.ErrorIs(t, err, verifier.ErrComposite)
	junk, err := cmw.NewRecord(simulated.MediaType, []byte("junk"), cmw.Evidence)
	require.NoError(t, err)
	_, err = a.Explain(context.Background(), junk, b)
	require.ErrorIs(t, err, attestation.ErrMalformed)
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	_, err = a.Explain(ctx, m, b)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
}

func TestOutcomeVerdict(t *testing.T) {
	t.Parallel()
	for v, want := range map[verifier.OutcomeVerdict]string{
		verifier.NotMade: "not made", verifier.Holds: "holds", verifier.Warns: "warns", verifier.Fails: "fails", 9: "not made",
	} {
		text, err := v.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
}
