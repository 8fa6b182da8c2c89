package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/policy"
)

// composite demands the device as "first"; another as "second" is optional.
func composite(second *lab) string {
	first := strings.ReplaceAll(strings.TrimPrefix(good(), "version: 1\nname: test\nenvironments:\n"), "\n", "\n  ")
	first = "  " + strings.Replace(first, "platform: simulated", "platform: simulated\n      label: first", 1)
	return "version: 1\nname: test\ncomposite:\n  environments:\n" + strings.TrimRight(first, " ") + fmt.Sprintf(`    - platform: simulated
      label: second
      may_be_absent: true
      roots: [{pem: %q}]
      measurements: {kernel: [%s]}
      any_instance: true
`, second.pem(), digest)
}

func collection(t *testing.T, items map[string]*cmw.Message) *cmw.Message {
	t.Helper()
	var list []cmw.Item
	for _, label := range []string{"first", "second", "third"} {
		if m := items[label]; m != nil {
			list = append(list, cmw.Item{Label: cmw.TextLabel(label), Message: m})
		}
	}
	m, err := cmw.NewCollection("", list)
	require.NoError(t, err)
	return m
}

// verdicts lists the outcomes of an environment that are not NotMade or Holds.
func verdicts(x *policy.Explanation, i int) []string {
	var out []string
	for _, o := range x.Environments[i].Explanation.Outcomes {
		if o.Verdict == verifier.Fails || o.Verdict == verifier.Warns {
			out = append(out, string(o.Check))
		}
	}
	return out
}

func TestExplain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p, err := parse(l.dir(t), good(), options())
	require.NoError(t, err)
	ctx := context.Background()
	b, m := l.attest(t)
	x, err := p.Explain(ctx, m, b)
	require.NoError(t, err)
	require.NoError(t, x.Err)
	require.True(t, x.Bound)
	require.Empty(t, verdicts(x, 0))

	_, replayed := l.attest(t)
	x, err = p.Explain(ctx, replayed, b)
	require.NoError(t, err)
	require.ErrorIs(t, x.Err, attestation.ErrRejected)
	require.Equal(t, []string{"binder"}, verdicts(x, 0))

	x, err = p.Explain(ctx, replayed, attestation.Binding{})
	require.NoError(t, err)
	require.NoError(t, x.Err)
	require.False(t, x.Bound)

	_, lie := l.attest(t, simulated.OldFirmware, simulated.DebugOn)
	x, err = p.Explain(ctx, lie, attestation.Binding{})
	require.NoError(t, err)
	require.ErrorIs(t, x.Err, attestation.ErrRejected)
	require.Contains(t, verdicts(x, 0), "debug")
	require.Contains(t, verdicts(x, 0), "software version")

	x, err = p.Explain(ctx, collection(t, map[string]*cmw.Message{"first": m, "second": replayed}), b)
	require.NoError(t, err)
	require.ErrorIs(t, x.Err, verifier.ErrComposite)

	bad, err := cmw.NewRecord(simulated.MediaType, []byte("x"), cmw.Evidence)
	require.NoError(t, err)
	x, err = p.Explain(ctx, bad, b)
	require.NoError(t, err)
	require.ErrorIs(t, x.Err, attestation.ErrMalformed)
	require.Nil(t, x.Environments[0].Explanation)

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = p.Explain(canceled, m, b)
	require.ErrorIs(t, err, context.Canceled)
}

func TestExplainComposite(t *testing.T) {
	t.Parallel()
	l, other := newLab(t), newLab(t)
	require.NoError(t, validate(t, compileSchema(t), composite(other)))
	p, err := parse(l.dir(t), composite(other), options())
	require.NoError(t, err)
	require.True(t, p.Composite())
	require.Equal(t, "second", p.Environments()[1].Name)
	require.True(t, p.Environments()[1].MayBeAbsent)
	ctx := context.Background()
	b, m := l.attest(t)
	_, foreign := other.attest(t)
	for _, c := range []struct {
		name   string
		m      *cmw.Message
		b      attestation.Binding
		target error // nil: acceptable
	}{
		{"one leaf", collection(t, map[string]*cmw.Message{"first": m}), b, nil},
		{"no collection", m, b, verifier.ErrNotCollection},
		{"missing", collection(t, map[string]*cmw.Message{"second": foreign}), attestation.Binding{}, verifier.ErrLeafMissing},
		{"unknown", collection(t, map[string]*cmw.Message{"first": m, "third": foreign}), attestation.Binding{}, verifier.ErrLeafUnknown},
		{"another vendor", collection(t, map[string]*cmw.Message{"first": m, "second": m}), attestation.Binding{}, &verifier.CheckError{Check: verifier.CheckChain}},
		{"of another connection", collection(t, map[string]*cmw.Message{"first": m, "second": foreign}), b, &verifier.CheckError{Check: verifier.CheckBinder}},
		{"one device twice", collection(t, map[string]*cmw.Message{"first": m, "second": foreign}), attestation.Binding{}, verifier.ErrLeafDoubled},
	} {
		x, err := p.Explain(ctx, c.m, c.b)
		require.NoError(t, err, c.name)
		if c.target == nil {
			require.NoError(t, x.Err, c.name)
			continue
		}
		require.ErrorIs(t, x.Err, c.target, c.name)
	}
	_, err = p.Appraise(ctx, b, collection(t, map[string]*cmw.Message{"first": m}))
	require.NoError(t, err)
}

// Every field of a composite that contradicts itself.
func TestCompositeRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	for old, c := range map[string][2]string{
		"      label: second\n":                            {"      label: first\n", "policy.yaml:14:14: composite.environments[1].label: another environment has it; give each its own label"},
		"      label: first\n":                             {"      label: first\n      may_be_absent: true\n", "policy.yaml:7:22: composite.environments[0].may_be_absent: every environment may be absent; remove it from one that is always needed"},
		"      may_be_absent: true\n":                      {"      accept_warning: true\n", "policy.yaml:15:23: composite.environments[1].accept_warning: every environment of a composite device must be affirming; remove it"},
		"      any_instance: true\n":                       {"      any_instance: true\n      labl: x\n", "policy.yaml:19:7: composite.environments[1].labl: there is no such field; did you mean label?"},
		"    - platform: simulated\n      label: second\n": {"    - platform: simulated\n", "policy.yaml:13:7: composite.environments[1].label: it is missing; write 1 to 64 letters, digits and . _ + / -"},
	} {
		text := composite(l)
		require.Contains(t, text, old)
		_, err := parse(dir, strings.Replace(text, old, c[0], 1), options())
		require.Equal(t, []string{c[1]}, errorLines(dir, err))
	}
}
