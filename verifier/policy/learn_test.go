package policy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/policy/platforms"
)

func (l *lab) learnOptions() policy.LearnOptions {
	return policy.LearnOptions{Name: "learned", Platforms: platforms.All(), Roots: []byte("a comment\n" + l.pem())}
}

// What is learned is refused until a person confirms it, and accepts then what it was
// learned of, and nothing else.
func TestLearn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b, m := l.attest(t)
	d, err := policy.Learn(context.Background(), []policy.LearnInput{{Source: "a.cmw", Message: m}}, l.learnOptions())
	require.NoError(t, err)
	text, err := d.Marshal()
	require.NoError(t, err)
	_, err = policy.Parse(context.Background(), text, options())
	require.ErrorIs(t, err, policy.ErrDraft)
	require.Len(t, policy.Errors(err), 1)

	confirmed := confirm(t, string(text))
	require.NoError(t, validate(t, compileSchema(t), confirmed))
	p, err := policy.Parse(context.Background(), []byte(confirmed), options())
	require.NoError(t, err, confirmed)
	r, err := p.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, attestation.TierAffirming, r.Tier())
	require.Contains(t, confirmed, `- "`+digest+`"  # a.cmw, sha-256`)
	require.Contains(t, confirmed, `- "text:model-1"  # a.cmw`)
	require.Contains(t, confirmed, `firmware: "1.10.2"  # a.cmw`)
	for _, lie := range []simulated.Lie{simulated.OldFirmware, simulated.DebugOn} {
		b, m := l.attest(t, lie)
		_, err = p.Appraise(context.Background(), b, m)
		require.ErrorIs(t, err, attestation.ErrRejected, lie)
	}
}

// confirm removes the line that a person removes.
func confirm(t *testing.T, draft string) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(draft) {
		if !strings.HasPrefix(line, "draft: true") {
			out = append(out, line)
		}
	}
	require.Less(t, len(out), strings.Count(draft, "\n"))
	return strings.Join(out, "")
}

// What only bad Evidence needs stays a comment.
func TestLearnOfBadEvidence(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, plain := l.attest(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	outside := *l
	outside.id, err = evidencetest.Identity(key)
	require.NoError(t, err)
	b, bad := outside.attest(t, simulated.DebugOn, simulated.ForeignKey, simulated.OldFirmware)
	d, err := policy.Learn(context.Background(), []policy.LearnInput{{"a", plain}, {"b", bad}}, l.learnOptions())
	require.NoError(t, err)
	text, err := d.Marshal()
	require.NoError(t, err)
	require.Contains(t, string(text), "    # allow_debug_exposing_memory: true")
	require.Contains(t, string(text), "    # allow_external_key: true")
	require.Contains(t, string(text), `"  # b, sha-256`)
	p, err := policy.Parse(context.Background(), []byte(confirm(t, string(text))), options())
	require.NoError(t, err)
	_, err = p.Appraise(context.Background(), b, bad)
	require.ErrorIs(t, err, attestation.ErrRejected)
}

func TestLearnComposite(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b, m := l.attest(t)
	both, err := cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel("first"), Message: m}})
	require.NoError(t, err)
	d, err := policy.Learn(context.Background(), []policy.LearnInput{{"a", both}}, l.learnOptions())
	require.NoError(t, err)
	text, err := d.Marshal()
	require.NoError(t, err)
	p, err := policy.Parse(context.Background(), []byte(confirm(t, string(text))), options())
	require.NoError(t, err)
	require.True(t, p.Composite())
	_, err = p.Appraise(context.Background(), b, both)
	require.NoError(t, err)
	_, err = policy.Learn(context.Background(), []policy.LearnInput{{"a", both}, {"b", m}}, l.learnOptions())
	require.ErrorIs(t, err, policy.ErrMixed)
}

func TestLearnRefuses(t *testing.T) {
	t.Parallel()
	l, other := newLab(t), newLab(t)
	_, m := l.attest(t)
	unknown, err := cmw.NewRecord("a/b", []byte("x"), cmw.Evidence)
	require.NoError(t, err)
	result, err := cmw.NewRecord(simulated.MediaType, []byte("x"), cmw.AttestationResults)
	require.NoError(t, err)
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		inputs []policy.LearnInput
		change func(*policy.LearnOptions)
		want   string
	}{
		{"nothing", nil, nil, "there is nothing"},
		{"another vendor", []policy.LearnInput{{"a", m}}, func(o *policy.LearnOptions) { o.Roots = []byte(other.pem()) }, "a: nothing is learned of Evidence that is not verified"},
		{"no roots", []policy.LearnInput{{"a", m}}, func(o *policy.LearnOptions) { o.Roots = nil }, "no roots of simulated come with the program"},
		{"bad roots", []policy.LearnInput{{"a", m}}, func(o *policy.LearnOptions) { o.Roots = []byte("x") }, "the roots are not usable"},
		{"unknown type", []policy.LearnInput{{"a", unknown}}, nil, `no platform that is known here makes Evidence of "a/b"`},
		{"a result", []policy.LearnInput{{"a", result}}, nil, "not Evidence"},
		{"too early", []policy.LearnInput{{"a", m}}, func(o *policy.LearnOptions) { o.Now = func() time.Time { return time.Unix(1, 0) } }, "not verified"},
	} {
		o := l.learnOptions()
		if c.change != nil {
			c.change(&o)
		}
		_, err := policy.Learn(ctx, c.inputs, o)
		require.ErrorContains(t, err, c.want, c.name)
	}
	_, err = (&policy.Draft{Name: "x"}).Marshal()
	require.ErrorIs(t, err, policy.ErrNothingLearned)
	_, err = (&policy.Draft{Name: "x", Environments: []policy.DraftEnvironment{{Platform: "tpm"}}}).Marshal()
	require.ErrorIs(t, err, policy.ErrNothingLearned)
}

// Names and sources come from Evidence and file names: none may become YAML.
func TestDraftQuotes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	names := []string{"yes", "a: b", "x\ny: 1", "\"", `\`, "#", "- a", "é\u0085\u2028", "pcr:sha256:0", "\x01", "\u007f", "\ufeff"}
	c := &evidence.Claims{Key: evidence.KeyNamedBySoftware, Debug: evidence.DebugLeftToSoftware, Vendor: []byte{1}, HardwareModel: []byte("x y")}
	for _, n := range names {
		c.Measurements = append(c.Measurements, evidence.Measurement{Name: n, Algorithm: "sha-256", Digest: unhex(digest)})
		c.Software = append(c.Software, evidence.Software{Name: n, Version: "1.0"})
	}
	c.Findings = []evidence.Finding{{Check: "x", Want: "a\nb: 1", Got: "c"}}
	older := *c
	older.Software = []evidence.Software{{Name: "yes", Version: "0.9"}, {Name: "é", Version: "2"}}
	older.Measurements = older.Measurements[:1]
	d := policy.Draft{Name: "quoted", Confirmed: true, Environments: []policy.DraftEnvironment{{
		Platform: "tpm", Root: policy.DraftRoot{PEM: []byte(l.pem())},
		Observed: []policy.Observation{{"a\ninstances: [x]", c}, {"b", &older}},
	}}}
	text, err := d.Marshal()
	require.NoError(t, err)
	p, err := policy.Parse(context.Background(), text, options())
	var bad []string
	for _, e := range policy.Errors(err) {
		bad = append(bad, e.Error())
	}
	require.NoError(t, errors.Join(err), strings.Join(bad, "\n"))
	require.Equal(t, len(names)+len(names)+1, p.Environments()[0].ReferenceValues)
	require.Contains(t, string(text), `  # only in 1 of 2 pieces of Evidence`)
	require.Contains(t, string(text), `yes": "0.9"  # b`)
	require.Contains(t, string(text), "any_instance: true")
	older.Software = []evidence.Software{{Name: "odd", Version: "x"}}
	text, err = d.Marshal()
	require.NoError(t, err)
	require.Contains(t, string(text), "# min_versions is left out: the version of odd is not numbers")
}
