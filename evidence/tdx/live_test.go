package tdx

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/internal/tsm"
	"github.com/expat-go/expat/verifier"
)

// common pins what the real quote measures.
func (f *intel) common(t testing.TB) verifier.Policy {
	t.Helper()
	p, err := parse(TrimQuote(testdata.RawQuote))
	require.NoError(t, err)
	reference := map[string][][]byte{}
	for _, m := range p.claims().Measurements {
		reference[m.Name] = [][]byte{m.Digest}
	}
	return verifier.Policy{
		Name: "tdx", Roots: f.roots(), Instances: [][]byte{p.ppid}, HardwareModels: [][]byte{p.fmspc},
		Measurements: reference, AllowKeyNamedBySoftware: true,
		MinVersions: map[string]string{SoftwareModule: "0.3"}, Now: func() time.Time { return f.now },
	}
}

// TestLive: a server proves over TLS that it is a trust domain on a platform that
// the client trusts; whatever is wrong with it is refused by name.
func TestLive(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	check := func(c verifier.Check, subject string) error { return &verifier.CheckError{Check: c, Subject: subject} }
	other := bytes.Repeat([]byte{9}, 48)
	for name, c := range map[string]struct {
		change func(*pb.QuoteV4)
		common func(*verifier.Policy)
		policy Policy
		want   error
	}{
		"good":           {},
		"debug":          {change: func(q *pb.QuoteV4) { q.TdQuoteBody.TdAttributes[0] = 1 }, want: check(verifier.CheckDebug, "")},
		"profiling":      {change: func(q *pb.QuoteV4) { q.TdQuoteBody.TdAttributes[0] = 0x10 }, want: check(verifier.CheckDebug, "")},
		"tcb":            {policy: Policy{MinTCB: [16]byte{255}}, want: check(verifier.CheckPlatform, string(CheckTCB))},
		"measurement":    {change: func(q *pb.QuoteV4) { q.TdQuoteBody.MrTd = other }, want: check(verifier.CheckMeasurement, MeasurementTD)},
		"rtmr":           {change: func(q *pb.QuoteV4) { q.TdQuoteBody.Rtmrs[3] = other }, want: check(verifier.CheckMeasurement, "rtmr3")},
		"instance":       {common: func(p *verifier.Policy) { p.Instances = [][]byte{other} }, want: check(verifier.CheckInstance, "")},
		"module":         {common: func(p *verifier.Policy) { p.MinVersions = map[string]string{SoftwareModule: "0.4"} }, want: check(verifier.CheckSoftware, SoftwareModule)},
		"key provenance": {common: func(p *verifier.Policy) { p.AllowKeyNamedBySoftware = false }, want: check(verifier.CheckKeyProvenance, "")},
		"foreign root":   {common: func(p *verifier.Policy) { p.Roots = IntelRoots() }, want: check(verifier.CheckChain, "")},
		"expired":        {common: func(p *verifier.Policy) { p.Now = func() time.Time { return f.pck.NotAfter.Add(1) } }, want: ErrExpired},
	} {
		platform, common := *f, f.common(t)
		platform.change = c.change
		if c.common != nil {
			c.common(&common)
		}
		v, err := verifier.New(common, extractor(t, Options{Policy: c.policy}))
		require.NoError(t, err, name)
		a, err := NewAttester(AttesterOptions{Client: platform.client(t), Collateral: f.collateral(t)})
		require.NoError(t, err)
		r, err := evidencetest.Dial(context.Background(), a, v)
		if c.want == nil {
			require.NoError(t, err, name)
			require.Equal(t, attestation.TierAffirming, r.Tier())
			require.Equal(t, Platform, r.Appraisals()[0].Environment)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
		require.ErrorIs(t, err, attestation.ErrRejected, name)
		require.Len(t, verifier.FailedChecks(err), 1, "%s: %v", name, err)
	}
}

// TestReportData: report data that are zero, cut short, or of another connection
// are those of nobody (C-5, C-7).
func TestReportData(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	a, err := NewAttester(AttesterOptions{Client: f.client(t)})
	require.NoError(t, err)
	b, _, err := attest(t, a)
	require.NoError(t, err)
	other, _, err := attest(t, a)
	require.NoError(t, err)
	want, elsewhere := b.ReportData(), other.ReportData()
	for name, data := range map[string][]byte{
		"zero": make([]byte, 64), "the binder alone": append(b.Binder(), make([]byte, 32)...),
		"cut short": append(want[:32:32], make([]byte, 32)...), "of another connection": elsewhere[:],
	} {
		c, err := f.extract(t, extractor(t, Options{}), encoded(t, f.quote(t, data), f.collateral(t)))
		require.NoError(t, err, name)
		require.ErrorIs(t, c.Bound(b), evidence.ErrReportData, name)
	}
}

// TestFindings: each check of the policy has a name, and all that fail are listed.
func TestFindings(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	other := bytes.Repeat([]byte{9}, 48)
	attributes := func(text string) func(*pb.QuoteV4) {
		return func(q *pb.QuoteV4) { q.TdQuoteBody.TdAttributes, _ = hex.DecodeString(text) }
	}
	configured := func(q *pb.QuoteV4) {
		q.TdQuoteBody.MrConfigId, q.TdQuoteBody.MrOwner, q.TdQuoteBody.MrOwnerConfig = other, other, other
	}
	zeros := make([]byte, 48)
	for name, c := range map[string]struct {
		policy Policy
		change func(*pb.QuoteV4)
		want   []Check
	}{
		"all good":           {},
		"harmless":           {Policy{}, attributes("000000d800000000"), nil},
		"sept ve":            {Policy{}, attributes("0000000000000000"), []Check{CheckSEPTVE}},
		"sept ve allowed":    {Policy{AllowSEPTVE: true}, attributes("0000000000000000"), nil},
		"migration":          {Policy{}, attributes("0000003000000000"), []Check{CheckMigration}},
		"migration allowed":  {Policy{AllowMigration: true}, attributes("0000003000000000"), nil},
		"perfmon":            {Policy{}, attributes("0000001000000080"), []Check{CheckPerfmon}},
		"perfmon allowed":    {Policy{AllowPerfmon: true}, attributes("0000001000000080"), nil},
		"unknown attribute":  {Policy{}, attributes("0001001000000000"), []Check{CheckAttributes}},
		"module of somebody": {Policy{}, func(q *pb.QuoteV4) { q.TdQuoteBody.MrSignerSeam = other }, []Check{CheckModule}},
		"module attributes":  {Policy{}, func(q *pb.QuoteV4) { q.TdQuoteBody.SeamAttributes = other[:8] }, []Check{CheckModule}},
		"module not listed":  {Policy{MRSEAM: [][]byte{other}}, nil, []Check{CheckModule}},
		"module listed":      {Policy{MRSEAM: [][]byte{zeros, other}}, func(q *pb.QuoteV4) { q.TdQuoteBody.MrSeam = other }, nil},
		"not judged":         {Policy{}, configured, nil},
		"listed":             {Policy{MRConfigIDs: [][]byte{other}, MROwners: [][]byte{other}, MROwnerConfigs: [][]byte{other}}, configured, nil},
		"not listed":         {Policy{MRConfigIDs: [][]byte{zeros}, MROwners: [][]byte{zeros}, MROwnerConfigs: [][]byte{zeros}}, configured, []Check{CheckConfigID, CheckOwner, CheckOwnerConfig}},
		"no service domains": {Policy{ServiceTDs: [][]byte{other}}, nil, []Check{CheckServiceTD}},
		"several":            {Policy{MinTCB: [16]byte{15: 1}}, attributes("0000002000000000"), []Check{CheckTCB, CheckSEPTVE, CheckMigration}},
	} {
		f.change = func(q *pb.QuoteV4) {
			if c.change != nil {
				c.change(q)
			}
		}
		o := Options{AcceptUnknownTCB: true, Policy: c.policy}
		claims, err := f.extract(t, extractor(t, o), encoded(t, f.quote(t, make([]byte, 64)), nil))
		require.NoError(t, err, name)
		var got []Check
		for _, finding := range claims.Findings {
			got = append(got, Check(finding.Check))
			require.NotEmpty(t, finding.Want)
			require.NotEmpty(t, finding.Got)
		}
		require.Equal(t, c.want, got, name)
	}
}

// TestServiceDomains: a service domain that is bound to a domain is part of it.
func TestServiceDomains(t *testing.T) {
	t.Parallel()
	p, err := parse(TrimQuote(testdata.RawQuoteV5))
	require.NoError(t, err)
	bound := *p.quote
	bound.body = bytes.Clone(bound.body)
	bound.body[600] = 1
	none, listed := Policy{}, Policy{ServiceTDs: [][]byte{bound.mrServiceTD()}}
	require.Empty(t, none.judge(p.quote))
	require.Equal(t, string(CheckServiceTD), none.judge(&bound)[0].Check)
	require.Empty(t, listed.judge(&bound))
	require.Equal(t, string(CheckServiceTD), listed.judge(p.quote)[0].Check)
}

// TestPolicy: values that the library would take for "any" are refused, and the
// policy is copied.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]Policy{
		`"tdx module" is empty`:                {MRSEAM: [][]byte{}},
		`"mrowner" has a value of 0 bytes`:     {MROwners: [][]byte{nil}},
		`"mrconfigid" has a value of 47 bytes`: {MRConfigIDs: [][]byte{make([]byte, 47)}},
	} {
		_, err := New(Options{Policy: p})
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, want)
	}
	f := newIntel(t)
	p := Policy{MROwners: [][]byte{make([]byte, 48)}}
	x := extractor(t, Options{Policy: p, AcceptUnknownTCB: true})
	p.MROwners[0][0] = 1
	c, err := f.extract(t, x, encoded(t, f.quote(t, make([]byte, 64)), nil))
	require.NoError(t, err)
	require.Empty(t, c.Findings)
	require.NoError(t, evidence.CheckRoots(IntelRoots()), "the certificate is there")
}

// TestCollect: a quote that is not about the request goes nowhere.
func TestCollect(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	kernel := func(provider string, out func(*faketsm.ReportEntry) ([]byte, error)) configfsi.Client {
		sub := faketsm.ReportV7(0)
		sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
			switch attr {
			case "provider":
				return []byte(provider), nil
			case "outblob":
				return out(e)
			}
			return nil, os.ErrNotExist
		}
		return &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": sub}}
	}
	text := func(b []byte) func(*faketsm.ReportEntry) ([]byte, error) {
		return func(*faketsm.ReportEntry) ([]byte, error) { return b, nil }
	}
	q := f.quote(t, make([]byte, 64))
	lies := bytes.Clone(q)
	lies[atSigned+3] = 0xff
	for name, c := range map[string]struct {
		client configfsi.Client
		want   error
	}{
		"good":         {f.client(t), nil},
		"another":      {kernel("sev_guest\n", text(q)), tsm.ErrProvider},
		"broken":       {kernel("tdx_guest\n", func(*faketsm.ReportEntry) ([]byte, error) { return nil, errors.New("EIO") }), tsm.ErrCollect},
		"other data":   {kernel("tdx_guest\n", text(q)), ErrCollect},
		"short":        {kernel("tdx_guest\n", text(q[:20])), ErrCollect},
		"cut":          {kernel("tdx_guest\n", text(q[:atSigned+2])), ErrCollect},
		"lying length": {kernel("tdx_guest\n", text(lies)), ErrCollect},
	} {
		a, err := NewAttester(AttesterOptions{Client: c.client})
		require.NoError(t, err)
		_, _, err = attest(t, a)
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
	}
	a, err := NewAttester(AttesterOptions{Client: f.client(t)})
	require.NoError(t, err)
	_, err = a.Attest(context.Background(), attestation.Binding{}, []string{"text/plain"})
	require.ErrorIs(t, err, attestation.ErrMediaType)
	_, err = a.Attest(context.Background(), attestation.Binding{}, a.MediaTypes())
	require.ErrorIs(t, err, attestation.ErrMisuse)
	if _, err := os.Stat("/sys/kernel/config/tsm/report"); err != nil {
		_, err = NewAttester(AttesterOptions{})
		require.ErrorIs(t, err, tsm.ErrUnavailable)
	}
}
