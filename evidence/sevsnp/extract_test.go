package sevsnp

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestReal: a recorded report of a real chip leads to AMD's root offline, and says
// what it says.
func TestReal(t *testing.T) {
	t.Parallel()
	c, err := extractor(t, realPolicy()).Extract(context.Background(), MediaType, realEvidence(t), AMDRoots(), realTime)
	require.NoError(t, err)
	require.Equal(t, Platform, c.Platform)
	require.Equal(t, evidence.ReportData, c.Form)
	require.Equal(t, testdata.AttestationBytes[0x50:0x90], c.ReportData)
	require.Equal(t, "3ac3fe21e13fb0990eb28a802e3fb6a29483a6b0753590c951bdd3b8e53786184ca39e359669a2b76a1936776b564ea464cdce40c05f63c9b610c5068b006b5d", hex.EncodeToString(c.Instance))
	require.Equal(t, []evidence.Measurement{{Name: MeasurementLaunch, Algorithm: "sha-384", Digest: testdata.AttestationBytes[0x90:0xc0]}}, c.Measurements)
	require.Equal(t, []evidence.Software{{Name: SoftwareFirmware, Version: "1.49.3"}}, c.Software)
	require.Equal(t, []byte("Milan"), c.HardwareModel)
	require.Equal(t, evidence.DebugEnabled, c.Debug)
	require.Equal(t, evidence.KeyNamedBySoftware, c.Key)
	require.Equal(t, time.Date(2029, 9, 24, 0, 55, 28, 0, time.UTC), c.Signer.NotAfter)
	require.Empty(t, c.Findings)
}

// TestRealChanged: no byte of the signed part can be changed, nor one of the
// signature.
func TestRealChanged(t *testing.T) {
	t.Parallel()
	x := extractor(t, realPolicy())
	for i := range 0x2a0 + 144 {
		report := bytes.Clone(testdata.AttestationBytes[:reportSize])
		report[i] ^= 0x10
		_, err := x.Extract(context.Background(), MediaType, encoded(t, report, testdata.VcekBytes), AMDRoots(), realTime)
		require.Error(t, err, i)
	}
}

// TestAttest: a report with the host's certificates proves the connection it was
// made for.
func TestAttest(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	b, value, err := attest(t, a.attester(t))
	require.NoError(t, err)
	c, err := a.extract(t, value)
	require.NoError(t, err)
	require.NoError(t, c.Bound(b))
	require.Empty(t, c.Findings)
	require.Equal(t, fakeChip, c.Instance)
	require.Equal(t, a.signer.Vcek.NotAfter, c.Signer.NotAfter)
}
