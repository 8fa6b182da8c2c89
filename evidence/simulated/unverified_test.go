package simulated

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestParseUnverified: a token says what it says, whoever signed it.
func TestParseUnverified(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c, err := f.extract(f.token)
	require.NoError(t, err)
	forged := bytes.Clone(f.token)
	forged[len(forged)-1] ^= 1
	_, err = f.extract(forged)
	require.ErrorIs(t, err, evidence.ErrSignature)
	u, err := ParseUnverified(forged)
	require.NoError(t, err)
	require.Len(t, u.Certificates, 2)
	require.Equal(t, &Unverified{
		Algorithm: "ES256", Certificates: u.Certificates, Signature: forged[len(forged)-signatureSize:],
		Nonce: c.Binder, UEID: c.Instance, OEMID: c.Vendor, HardwareModel: c.HardwareModel, Debug: c.Debug, Profile: profile,
		SoftwareName: c.Software[0].Name, SoftwareVersion: c.Software[0].Version, Measurements: c.Measurements,
		KeyHash: c.KeyHash, Provenance: evidence.KeyBornInside,
	}, u)
	_, err = ParseUnverified(f.token[1:])
	step(t, err, evidence.ErrFormat, "COSE_Sign1")
}
