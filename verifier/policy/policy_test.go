package policy_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/policy"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	p, err := parse(dir, good(), options())
	require.NoError(t, err)
	require.NoError(t, validate(t, compileSchema(t), good()))
	require.Equal(t, "test", p.Name())
	require.False(t, p.Composite())
	require.Equal(t, []string{simulated.MediaType}, p.MediaTypes())
	require.Len(t, p.Environments(), 1)
	require.Equal(t, "simulated", p.Environments()[0].Platform)
	require.Equal(t, 2, p.Environments()[0].ReferenceValues)

	b, m := l.attest(t)
	r, err := p.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, attestation.TierAffirming, r.Tier())
	require.Equal(t, verifier.DefaultLifetime, r.Lifetime())
	require.Equal(t, p.ID(), r.Appraisals()[0].Policy)

	b, m = l.attest(t, simulated.OldFirmware)
	_, err = p.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckSoftware})
}

// The digest covers the policy and what it names, so that the ID in a result tells
// which of both it was.
func TestDigest(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	p, err := parse(dir, good(), options())
	require.NoError(t, err)
	file, root := sha256.Sum256([]byte(good())), sha256.Sum256([]byte(l.pem()))
	require.Equal(t, sha256.Sum256(append(file[:], root[:]...)), p.Digest())
	require.Equal(t, fmt.Sprintf("test@sha256:%x", p.Digest()), p.ID())
	write(t, filepath.Join(dir, "root.pem"), l.pem()+"\n")
	other, err := parse(dir, good(), options())
	require.NoError(t, err)
	require.NotEqual(t, p.Digest(), other.Digest())
}

// JSON is the subset of YAML that it is, and a file that is called so must be it.
func TestJSON(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	text := fmt.Sprintf(`{"version": 1, "name": "test", "environments": [{"platform": "simulated",
	"roots": [{"file": "root.pem"}], "measurements": {"kernel": [%q]}, "any_instance": true,
	"lifetime": "90s", "accept_warning": false}]}`, digest)
	write(t, filepath.Join(dir, "p.json"), text)
	p, err := policy.Load(context.Background(), filepath.Join(dir, "p.json"), options())
	require.NoError(t, err)
	b, m := l.attest(t)
	r, err := p.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, 90*time.Second, r.Lifetime())

	write(t, filepath.Join(dir, "p.json"), strings.Replace(text, "\n\t\"roots\"", "\n\troots", 1))
	_, err = policy.Load(context.Background(), filepath.Join(dir, "p.json"), options())
	require.ErrorIs(t, err, policy.ErrFile)
	require.Equal(t, `p.json:2:2: it is not JSON: invalid character 'r' looking for beginning of object key string; correct it, or name the file .yaml`,
		errorLines(dir, err)[0])
}

func TestNotRead(t *testing.T) {
	t.Parallel()
	dir := newLab(t).dir(t)
	ctx := context.Background()
	_, err := policy.Load(ctx, filepath.Join(dir, "none.yaml"), options())
	require.ErrorIs(t, err, policy.ErrFile)
	require.ErrorContains(t, err, "none.yaml: the file cannot be read")
	_, err = policy.Load(ctx, dir, options())
	require.ErrorContains(t, err, "is no regular file")
	_, err = policy.Parse(ctx, []byte(good()), policy.Options{})
	require.ErrorIs(t, err, verifier.ErrPolicy)

	fits := good() + "#" + strings.Repeat("x", policy.MaxSize-len(good())-1)
	_, err = parse(dir, fits, options())
	require.NoError(t, err)
	_, err = parse(dir, fits+"x", options())
	require.ErrorContains(t, err, "it has more than 1048576 bytes")
	write(t, filepath.Join(dir, "large.yaml"), fits+"x")
	_, err = policy.Load(ctx, filepath.Join(dir, "large.yaml"), options())
	require.ErrorContains(t, err, "has more than 1048576 bytes")
	for name, want := range map[string]string{".": "is no regular file", "empty.pem": "the file is empty", "large.yaml": "has more than"} {
		write(t, filepath.Join(dir, "empty.pem"), "")
		_, err = parse(dir, strings.Replace(good(), "root.pem", name, 1), options())
		require.ErrorContains(t, err, want)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = policy.Parse(canceled, []byte(strings.Replace(good(), "root.pem", filepath.Join(dir, "root.pem"), 1)), options())
	require.ErrorIs(t, err, context.Canceled)
}

func TestDraft(t *testing.T) {
	t.Parallel()
	_, err := parse(newLab(t).dir(t), strings.Replace(good(), "name: test", "name: test\ndraft: true", 1), options())
	require.ErrorIs(t, err, policy.ErrDraft)
}

// The number of errors is bounded, and says so.
func TestManyErrors(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 150 {
		fmt.Fprintf(&b, "field%d: 1\n", i)
	}
	_, err := parse(newLab(t).dir(t), good()+b.String(), options())
	all := policy.Errors(err)
	require.Len(t, all, 101)
	require.Equal(t, "50 more errors are not shown", all[100].Problem)
	require.ErrorIs(t, err, policy.ErrTooMany)
	require.Empty(t, policy.Errors(errors.New("another")))
}

// Every field that gives something up reaches the policy.
func TestWeak(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	text := strings.Replace(good(), "    hardware_models", `    allow_debug_exposing_memory: true
    allow_external_key: true
    allow_unlisted_measurements: true
    accept_warning: true
    vendors: ["`+fmt.Sprintf("%x", l.vendor.OEMID())+`"]
    revoked_instances: ["ff"]
    media_types: ['application/eat+cwt; eat_profile="https://github.com/expat-go/expat/profiles/simulated"']
    hardware_models`, 1)
	require.NoError(t, validate(t, compileSchema(t), text))
	p, err := parse(l.dir(t), text, options())
	require.NoError(t, err)
	b, m := l.attest(t, simulated.DebugOn)
	r, err := p.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, attestation.TierWarning, r.Tier())
}

func TestPlugged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	fails := errors.New("no such claim")
	broken := errors.New("syntax")
	o := options()
	o.Rules = func(name, expr string) (verifier.Rule, error) {
		if expr == "bad" {
			return verifier.Rule{}, broken
		}
		return verifier.Rule{Name: name, Check: func(context.Context, *evidence.Claims) error {
			if expr == "false" {
				return fails
			}
			return nil
		}}, nil
	}
	o.Revoked = func(context.Context, *evidence.Claims) (bool, error) { return false, nil }
	with := func(rule string) string {
		return good() + "    rules: [{name: first, cel: \"true\"}, {name: second, cel: \"" + rule + "\"}]\n"
	}
	b, m := l.attest(t)
	p, err := parse(dir, with("true"), o)
	require.NoError(t, err)
	require.Equal(t, 2, p.Environments()[0].Rules)
	_, err = p.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	p, err = parse(dir, with("false"), o)
	require.NoError(t, err)
	_, err = p.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckRule, Subject: "second"})
	_, err = parse(dir, with("bad"), o)
	require.ErrorIs(t, err, broken)
	require.Equal(t, []string{`policy.yaml:11:61: environments[0].rules[1].cel: syntax; correct the expression`}, errorLines(dir, err))
}

func TestReferences(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	write(t, filepath.Join(dir, "values"), "values")
	var found policy.References
	var failure error
	o := options()
	o.References = map[string]func(policy.ReferenceInput) (policy.References, error){
		"list": func(in policy.ReferenceInput) (policy.References, error) {
			require.Equal(t, policy.ReferenceInput{Content: []byte("values"), Keys: [][]byte{[]byte("values")}, Profile: "p"}, in)
			return found, failure
		},
	}
	const entry = "    reference_values: [{format: list, file: values, keys: [values], profile: p}]\n"
	bare := strings.Replace(good(), "    measurements:\n      kernel: ["+digest+"]\n    min_versions: {firmware: \"1.9\"}\n", entry, 1)
	require.NoError(t, validate(t, compileSchema(t), bare))
	for _, c := range []struct {
		text  string
		found policy.References
		err   error
		want  string // part of the error
		count int
	}{
		{text: bare, found: policy.References{Measurements: map[string][][]byte{"kernel": {unhex(digest)}}}, count: 1},
		{text: bare, found: policy.References{MinVersions: map[string]string{"firmware": "1.9"}}, count: 1},
		{text: good() + entry, found: policy.References{Measurements: map[string][][]byte{"kernel": {unhex(digest)}}, MinVersions: map[string]string{"firmware": "1.9"}}, count: 2},
		{text: good() + entry, found: policy.References{Measurements: map[string][][]byte{"kernel": {unhex(digest2)}}}, want: `contradicts other reference values of the measurement "kernel"`},
		{text: good() + entry, found: policy.References{Measurements: map[string][][]byte{"kernel": {unhex(digest), unhex(digest2)}}}, want: `contradicts other reference values`},
		{text: good() + entry, found: policy.References{MinVersions: map[string]string{"firmware": "1.10"}}, want: `contradicts the other lowest version of "firmware"`},
		{text: bare, want: "it holds no reference values"},
		{text: bare, err: errors.New("not signed"), want: "not signed"},
		{text: strings.Replace(bare, "format: list", "format: corim", 1), want: "write one of list"},
		{text: bare, found: policy.References{Measurements: map[string][][]byte{"kernel": {{1}}}}, want: "under 32 bytes"},
	} {
		found, failure = c.found, c.err
		p, err := parse(dir, c.text, o)
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			require.Len(t, policy.Errors(err), 1)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.count, p.Environments()[0].ReferenceValues)
	}
}

// Rules of reference values hold beside those of the file.
func TestReferenceRules(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir(t)
	write(t, filepath.Join(dir, "values"), "values")
	no := errors.New("no")
	rule := func(name string, err error) verifier.Rule {
		return verifier.Rule{Name: name, Check: func(context.Context, *evidence.Claims) error { return err }}
	}
	var found []verifier.Rule
	o := options()
	o.Rules = func(name, _ string) (verifier.Rule, error) { return rule(name, nil), nil }
	o.References = map[string]func(policy.ReferenceInput) (policy.References, error){
		"list": func(policy.ReferenceInput) (policy.References, error) {
			return policy.References{MinVersions: map[string]string{"firmware": "1.9"}, Rules: found}, nil
		},
	}
	text := good() + "    reference_values: [{format: list, file: values}]\n    rules: [{name: file, cel: \"true\"}]\n"
	b, m := l.attest(t)
	for name, c := range map[string]struct {
		rules []verifier.Rule
		want  error
	}{
		"holds":   {[]verifier.Rule{rule("one", nil), rule("two", nil)}, nil},
		"refuses": {[]verifier.Rule{rule("one", nil), rule("two", no)}, &verifier.CheckError{Check: verifier.CheckRule, Subject: "two"}},
	} {
		found = c.rules
		p, err := parse(dir, text, o)
		require.NoError(t, err, name)
		require.Equal(t, 3, p.Environments()[0].Rules, name)
		_, err = p.Appraise(context.Background(), b, m)
		require.ErrorIs(t, err, c.want, name)
	}
	found = []verifier.Rule{rule("file", nil)}
	_, err := parse(dir, text, o)
	require.ErrorIs(t, err, verifier.ErrPolicy, "two rules of one name")
}

// Alternatives are chosen by media type.
func TestAlternatives(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	text := good() + fmt.Sprintf(`  - platform: tpm
    name: box
    roots: [{pem: %q}]
    measurements: {"pcr:sha256:0": [%s]}
    allow_debug_left_to_software: true
    any_instance: true
`, l.pem(), digest)
	require.NoError(t, validate(t, compileSchema(t), text))
	p, err := parse(l.dir(t), text, options())
	require.NoError(t, err)
	require.Len(t, p.MediaTypes(), 2)
	b, m := l.attest(t)
	r, err := p.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Contains(t, r.Appraisals()[0].Policy, "test/simulated@sha256:")
	x, err := p.Explain(context.Background(), m, b)
	require.NoError(t, err)
	require.NoError(t, x.Err)
	other, err := cmw.NewRecord("application/octet-stream", []byte("x"), cmw.Evidence)
	require.NoError(t, err)
	x, err = p.Explain(context.Background(), other, b)
	require.NoError(t, err)
	require.EqualError(t, x.Err, `no environment of the policy takes Evidence of "application/octet-stream"`)
}
