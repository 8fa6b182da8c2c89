package sevsnp

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/verifier"
)

func (a *amd) common() verifier.Policy {
	return verifier.Policy{
		Name: "snp", Roots: a.roots(), Instances: [][]byte{fakeChip}, HardwareModels: [][]byte{[]byte("Milan")},
		Measurements: map[string][][]byte{MeasurementLaunch: {fakeLaunch}}, AllowKeyNamedBySoftware: true,
		MinVersions: map[string]string{SoftwareFirmware: "1.55"}, Now: func() time.Time { return a.now },
	}
}

// TestLive: a server proves over TLS that it is a guest of a chip that the client
// trusts; whatever is wrong with it is refused by name.
func TestLive(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	check := func(c verifier.Check, subject string) error { return &verifier.CheckError{Check: c, Subject: subject} }
	other := make([]byte, 48)
	other[0] = 9
	for name, c := range map[string]struct {
		chip   func(*amd)
		common func(*verifier.Policy)
		policy func(*Policy)
		want   error
	}{
		"good":  {},
		"debug": {chip: func(a *amd) { a.debug = true }, want: check(verifier.CheckDebug, "")},
		"tcb": {chip: func(a *amd) { a.change = put(0x1f0, bytes.Repeat([]byte{0xff}, 8)...) },
			policy: func(p *Policy) { p.MinTCB = map[string]TCB{"Milan": ^TCB(0)} }, want: check(verifier.CheckPlatform, string(CheckTCB))},
		"tcb of the launch": {chip: func(a *amd) { a.change = put(0x1f0, 2) }, want: check(verifier.CheckPlatform, string(CheckLaunchTCB))},
		"measurement":       {chip: func(a *amd) { a.change = put(0x90, 1) }, want: check(verifier.CheckMeasurement, MeasurementLaunch)},
		"id key":            {policy: func(p *Policy) { p.IDKeyDigests = [][]byte{other} }, want: check(verifier.CheckPlatform, string(CheckIDKey))},
		"host data":         {policy: func(p *Policy) { p.HostData = [][]byte{other[:32]} }, want: check(verifier.CheckPlatform, string(CheckHostData))},
		"instance":          {common: func(p *verifier.Policy) { p.Instances = [][]byte{other} }, want: check(verifier.CheckInstance, "")},
		"firmware":          {common: func(p *verifier.Policy) { p.MinVersions = map[string]string{SoftwareFirmware: "1.56"} }, want: check(verifier.CheckSoftware, SoftwareFirmware)},
		"key provenance":    {common: func(p *verifier.Policy) { p.AllowKeyNamedBySoftware = false }, want: check(verifier.CheckKeyProvenance, "")},
		"foreign root":      {common: func(p *verifier.Policy) { p.Roots = AMDRoots() }, want: check(verifier.CheckChain, "")},
		"expired":           {common: func(p *verifier.Policy) { p.Now = func() time.Time { return a.signer.Vcek.NotAfter.Add(1) } }, want: ErrExpired},
		"expires at once":   {common: func(p *verifier.Policy) { p.Now = func() time.Time { return a.signer.Vcek.NotAfter } }, want: check(verifier.CheckExpiry, "")},
		"other report data": {chip: func(a *amd) { a.change = put(0x50, 1, 2, 3) }, want: ErrCollect},
	} {
		chip, common, policy := *a, a.common(), a.policy()
		if c.chip != nil {
			c.chip(&chip)
		}
		if c.common != nil {
			c.common(&common)
		}
		if c.policy != nil {
			c.policy(&policy)
		}
		v, err := verifier.New(common, extractor(t, policy))
		require.NoError(t, err, name)
		if errors.Is(c.want, ErrCollect) { // the server sees that itself
			_, _, err := attest(t, chip.attester(t))
			require.ErrorIs(t, err, ErrCollect)
			continue
		}
		r, err := evidencetest.Dial(context.Background(), chip.attester(t), v)
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
	a := newAMD(t)
	b, _, err := attest(t, a.attester(t))
	require.NoError(t, err)
	other, _, err := attest(t, a.attester(t))
	require.NoError(t, err)
	want, elsewhere := b.ReportData(), other.ReportData()
	for name, data := range map[string][]byte{
		"zero": make([]byte, 64), "cut to the binder": append(b.Binder(), make([]byte, 32)...),
		"cut short": append(want[:32:32], make([]byte, 32)...), "of another connection": elsewhere[:],
	} {
		c, err := a.extract(t, encoded(t, a.report(t, data), a.chain()...))
		require.NoError(t, err, name)
		require.ErrorIs(t, c.Bound(b), evidence.ErrReportData, name)
	}
	c, err := a.extract(t, encoded(t, a.report(t, want[:]), a.chain()...))
	require.NoError(t, err)
	require.NoError(t, c.Bound(b))
	require.Error(t, c.Bound(other))
	c.ReportData = c.ReportData[:63]
	require.ErrorIs(t, c.Bound(b), evidence.ErrReportData)
}
