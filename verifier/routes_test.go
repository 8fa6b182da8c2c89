package verifier_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
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

const fakeType = "application/vnd.example.report"

// fake is an Attester and an Extractor of a platform made up by a test.
type fake struct {
	types   []string
	binding attestation.Binding
	claims  func(attestation.Binding) (*evidence.Claims, error)
	message func() (*cmw.Message, error)
}

func newFake(claims func(attestation.Binding) (*evidence.Claims, error)) *fake {
	return &fake{types: []string{fakeType}, claims: claims, message: func() (*cmw.Message, error) {
		return cmw.NewRecord(fakeType, []byte("report"), cmw.Evidence)
	}}
}

func (f *fake) MediaTypes() []string { return f.types }

func (f *fake) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	f.binding = b
	return f.message()
}

func (f *fake) Extract(context.Context, string, []byte, *x509.CertPool, time.Time) (*evidence.Claims, error) {
	return f.claims(f.binding)
}

// judged runs the fake by a policy.
func (f *fake) judged(t *testing.T, l *lab, p verifier.Policy) (*attestation.Result, error) {
	t.Helper()
	v, err := verifier.New(p, simulated.Extractor{}, f)
	require.NoError(t, err)
	return exchange(t, crypto.SHA384, l.id, f, v)
}

// report is what a platform with a 64-byte report field says.
func report(b attestation.Binding) *evidence.Claims {
	data := b.ReportData()
	return &evidence.Claims{
		Platform: "fake", Form: evidence.ReportData, ReportData: data[:],
		Debug: evidence.DebugDisabled, Key: evidence.KeyNamedBySoftware,
		Measurements: []evidence.Measurement{{Name: "launch", Algorithm: "sha-384", Digest: app}},
	}
}

func fakePolicy(l *lab) verifier.Policy {
	return verifier.Policy{
		Name: "fake", Roots: l.vendor.Roots(), AnyInstance: true, AllowKeyNamedBySoftware: true,
		Measurements: map[string][][]byte{"launch": {app}},
	}
}

func TestReportData(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	for name, c := range map[string]struct {
		claims func(*evidence.Claims)
		policy func(*verifier.Policy)
		want   []string
	}{
		"good":           {func(*evidence.Claims) {}, func(*verifier.Policy) {}, nil},
		"other data":     {func(c *evidence.Claims) { c.ReportData[63] ^= 1 }, func(*verifier.Policy) {}, []string{"report data"}},
		"unknown form":   {func(c *evidence.Claims) { c.Form = 0 }, func(*verifier.Policy) {}, []string{"binder"}},
		"key named":      {func(*evidence.Claims) {}, func(p *verifier.Policy) { p.AllowKeyNamedBySoftware = false }, []string{"key provenance"}},
		"key not stated": {func(c *evidence.Claims) { c.Key = 0 }, func(*verifier.Policy) {}, []string{"key provenance"}},
		"no instance":    {func(*evidence.Claims) {}, func(p *verifier.Policy) { p.RevokedInstances = [][]byte{instance} }, []string{"revocation"}},
		"measured twice": {func(c *evidence.Claims) {
			c.Measurements = append(c.Measurements, evidence.Measurement{Name: "launch", Digest: kernel})
		}, func(*verifier.Policy) {}, []string{"measurement launch"}},
		"short digest":   {func(c *evidence.Claims) { c.Measurements[0].Digest = app[:32] }, func(*verifier.Policy) {}, []string{"measurement launch"}},
		"many instances": {func(*evidence.Claims) {}, func(p *verifier.Policy) { p.AnyInstance, p.Instances = false, [][]byte{{1}, {2}, {3}, {4}} }, []string{"instance"}},
		"debug left to software": {func(c *evidence.Claims) { c.Debug = evidence.DebugLeftToSoftware },
			func(p *verifier.Policy) { p.AllowDebugLeftToSoftware = true }, nil},
		"debug left, not allowed": {func(c *evidence.Claims) { c.Debug = evidence.DebugLeftToSoftware },
			func(*verifier.Policy) {}, []string{"debug"}},
		"debug on, left allowed": {func(c *evidence.Claims) { c.Debug = evidence.DebugEnabled },
			func(p *verifier.Policy) { p.AllowDebugLeftToSoftware = true }, []string{"debug"}},
		"certified key": {func(c *evidence.Claims) { c.Form, c.SPKI = evidence.CertifiedKey, []byte{1} },
			func(*verifier.Policy) {}, []string{"binder", "certified key"}},
		"debug unreadable": {func(c *evidence.Claims) { c.Debug = 99 }, func(*verifier.Policy) {}, []string{"debug"}},
	} {
		p := fakePolicy(l)
		c.policy(&p)
		r, err := newFake(func(b attestation.Binding) (*evidence.Claims, error) {
			out := report(b)
			c.claims(out)
			return out, nil
		}).judged(t, l, p)
		if c.want == nil {
			require.NoError(t, err, name)
			require.Equal(t, "fake", r.Appraisals()[0].Environment)
			require.Equal(t, verifier.DefaultLifetime, r.Lifetime())
			continue
		}
		require.ErrorIs(t, err, attestation.ErrRejected, name)
		require.Equal(t, c.want, names(err), name)
	}
}

// TestExtractorErrors: what an Extractor answers decides how the appraisal ends.
func TestExtractorErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	broken := errors.New("broken")
	typed := func(reason error) error { return &evidence.Error{Reason: reason, Step: "step", Err: broken} }
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"format":    {typed(evidence.ErrFormat), attestation.ErrMalformed},
		"signature": {typed(evidence.ErrSignature), attestation.ErrRejected},
		"chain":     {typed(evidence.ErrChain), attestation.ErrRejected},
		"other":     {broken, attestation.ErrUnavailable},
	} {
		_, err := newFake(func(attestation.Binding) (*evidence.Claims, error) { return nil, c.err }).judged(t, l, fakePolicy(l))
		require.ErrorIs(t, err, c.want, name)
		require.ErrorIs(t, err, broken, name)
	}
	_, err := newFake(func(attestation.Binding) (*evidence.Claims, error) { return nil, nil }).judged(t, l, fakePolicy(l))
	require.ErrorIs(t, err, attestation.ErrUnavailable)
}

// TestContextEnds: no verdict is given after the end of ctx.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	v := appraiser(t, l.policy)
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(late)
	_, err = v.Appraise(ctx, b, m)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, late)

	ctx, cancel = context.WithCancelCause(context.Background())
	l.policy.Revoked = func(context.Context, *evidence.Claims) (bool, error) { cancel(late); return false, nil }
	_, err = appraiser(t, l.policy).Appraise(ctx, b, m)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, late)
}

// TestMessages: an Appraiser takes one leaf of Evidence (G-11).
func TestMessages(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	v := appraiser(t, l.policy)
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	token := m.Leaves()[0].Value
	record := func(mediaType string, ind cmw.Indicator) *cmw.Message {
		r, err := cmw.NewRecord(mediaType, token, ind)
		require.NoError(t, err)
		return r
	}
	collection := func(items ...cmw.Item) *cmw.Message {
		c, err := cmw.NewCollection("", items)
		require.NoError(t, err)
		return c
	}
	one := cmw.Item{Label: cmw.TextLabel("a"), Message: m}
	two := cmw.Item{Label: cmw.TextLabel("b"), Message: m}
	for name, c := range map[string]struct {
		message *cmw.Message
		want    error
	}{
		"record":                     {m, nil},
		"without indicator":          {record(simulated.MediaType, 0), nil},
		"collection of one":          {collection(one), nil},
		"collection of two":          {collection(one, two), verifier.ErrComposite},
		"said to be a result":        {record(simulated.MediaType, cmw.AttestationResults), attestation.ErrMalformed},
		"said to be both":            {record(simulated.MediaType, cmw.Evidence|cmw.AttestationResults), attestation.ErrMalformed},
		"media type nobody reads":    {record(fakeType, cmw.Evidence), attestation.ErrMalformed},
		"media type without profile": {record("application/eat+cwt", cmw.Evidence), attestation.ErrMalformed},
	} {
		_, err := v.Appraise(context.Background(), b, c.message)
		require.ErrorIs(t, err, c.want, name)
	}
	_, err = v.Appraise(context.Background(), b, collection(one, two))
	require.ErrorIs(t, err, attestation.ErrRejected)
	_, err = v.Appraise(context.Background(), attestation.Binding{}, m)
	require.Equal(t, []string{"binder", "key hash"}, names(err))
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	f := newFake(func(b attestation.Binding) (*evidence.Claims, error) { return report(b), nil })
	fakes, err := verifier.New(fakePolicy(l), f)
	require.NoError(t, err)
	d, err := verifier.NewDispatch(appraiser(t, l.policy), fakes)
	require.NoError(t, err)
	require.Equal(t, []string{simulated.MediaType, fakeType}, d.MediaTypes())

	r, err := exchange(t, crypto.SHA256, l.id, simulated.NewAttester(l.device), d)
	require.NoError(t, err)
	require.Equal(t, "test policy", r.Verifier())
	r, err = exchange(t, crypto.SHA256, l.id, f, d)
	require.NoError(t, err)
	require.Equal(t, "fake", r.Verifier())
	_, err = exchange(t, crypto.SHA256, l.id, simulated.NewAttester(l.device, simulated.DebugOn), d)
	require.Equal(t, []string{"debug"}, names(err))

	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	pair, err := cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel("a"), Message: m}, {Label: cmw.TextLabel("b"), Message: m}})
	require.NoError(t, err)
	_, err = d.Appraise(context.Background(), b, pair)
	require.ErrorIs(t, err, verifier.ErrComposite)
	require.ErrorIs(t, err, attestation.ErrRejected)
	text, err := cmw.NewRecord("text/plain", []byte("hi"), 0)
	require.NoError(t, err)
	_, err = d.Appraise(context.Background(), b, text)
	require.ErrorIs(t, err, attestation.ErrMalformed)
}

// TestRoutes: a media type leads to one reader or the set-up fails.
func TestRoutes(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	typed := func(types ...string) evidence.Extractor { return &fake{types: types} }
	for want, extractors := range map[string][]evidence.Extractor{
		"nothing reads any: give at least one": nil,
		"number 1 is nil":                      {simulated.Extractor{}, nil},
		"number 0 reads none":                  {typed()},
		`"a/b" is read twice`:                  {typed("a/b", "a/b")},
		`"A/B; x=1" is read twice`:             {typed("a/b;x=1"), typed("A/B; x=1")},
		`"eat" is not a media type`:            {typed("eat")},
	} {
		_, err := verifier.New(l.policy, extractors...)
		require.ErrorIs(t, err, verifier.ErrRoute, want)
		require.EqualError(t, err, "verifier: media types are not unambiguous: "+want)
	}
	_, err := verifier.New(l.policy, typed("a/b"), typed("a/b;x=1"))
	require.NoError(t, err)
	_, err = verifier.NewDispatch()
	require.ErrorIs(t, err, verifier.ErrRoute)
	a := appraiser(t, l.policy)
	_, err = verifier.NewDispatch(a, a)
	require.ErrorIs(t, err, verifier.ErrRoute)
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1", "1", 0}, {"1.2", "1.2.0", 0}, {"1.02", "1.2", 0}, {"1.10", "1.9", 1}, {"1.9", "1.10", -1},
		{"2", "1.99.99", 1}, {"0", "0.0.1", -1}, {"1.2.3.4.5.6.7.8", "1.2.3.4.5.6.7.9", -1}, {"999999999", "999999998", 1},
	} {
		got, err := verifier.CompareVersions(c.a, c.b)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s %s", c.a, c.b)
	}
	for _, bad := range []string{"", ".", "1.", ".1", "1..2", "v1", "1.2-rc1", "-1", "+1", " 1", "1 ", "1.2.3.4.5.6.7.8.9", "1000000000", "0x1", "1_0", "１"} {
		_, err := verifier.CompareVersions(bad, "1")
		require.Error(t, err, bad)
		_, err = verifier.CompareVersions("1", bad)
		require.Error(t, err, bad)
	}
}

func TestCheckError(t *testing.T) {
	t.Parallel()
	reason := errors.New("reason")
	e := &verifier.CheckError{Check: verifier.CheckMeasurement, Subject: "a\n", Want: "b", Got: "c", Err: reason}
	err := attestation.Reject(e, &verifier.CheckError{Check: verifier.CheckChain, Err: reason})
	require.EqualError(t, err, `attestation rejected: measurement "a\n": want b, got c; certificate chain: reason`)
	require.ErrorIs(t, err, reason)
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckMeasurement})
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckMeasurement, Subject: "a\n"})
	require.NotErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckMeasurement, Subject: "b"})
	require.NotErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckDebug})
	require.Len(t, verifier.FailedChecks(err), 2)
	require.Same(t, e, verifier.FailedChecks(err)[0])
	require.Len(t, verifier.FailedChecks(fmt.Errorf("attest: %w", err)), 2)
	require.Empty(t, verifier.FailedChecks(reason))
	require.Empty(t, verifier.FailedChecks(nil))
}

// TestManyAlternatives: an error stays short.
func TestManyAlternatives(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Instances = nil
	for i := range 5 {
		l.policy.Instances = append(l.policy.Instances, bytes.Repeat([]byte{byte(i)}, 2))
	}
	_, err := l.run(t)
	require.ErrorContains(t, err, "instance: want 0000 or 0101 or 0202 or 2 more, got 01111111")
}
