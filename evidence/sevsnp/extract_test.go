package sevsnp

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestReal: a recorded report of a real chip leads to AMD's root offline, and says
// what it says.
func TestReal(t *testing.T) {
	t.Parallel()
	x := extractor(t, realPolicy())
	c, err := x.Extract(context.Background(), MediaType, realEvidence(t), AMDRoots(), realTime)
	require.NoError(t, err)
	require.Equal(t, Platform, c.Platform)
	require.Equal(t, testdata.AttestationBytes[0x50:0x90], c.ReportData)
	require.Equal(t, testdata.AttestationBytes[0x90:0xc0], c.Measurements[0].Digest)
	require.Equal(t, []byte("Milan"), c.HardwareModel)
	require.Equal(t, evidence.KeyNamedBySoftware, c.Key)
	t.Logf("%v", c.Map())
	t.Logf("%v", c.Findings)
}

// TestRealChanged: no byte of the signed part can be changed.
func TestRealChanged(t *testing.T) {
	t.Parallel()
	x := extractor(t, realPolicy())
	for i := range 0x2a0 {
		report := bytes.Clone(testdata.AttestationBytes[:reportSize])
		report[i] ^= 0x10
		_, err := x.Extract(context.Background(), MediaType, encoded(t, report, testdata.VcekBytes), AMDRoots(), realTime)
		require.Error(t, err, i)
	}
}

func TestFake(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	b, value, err := attest(t, a.attester(t))
	require.NoError(t, err)
	c, err := a.extract(t, value)
	require.NoError(t, err)
	require.NoError(t, c.Bound(b))
	require.Empty(t, c.Findings)
	t.Logf("%v", c.Map())
}
