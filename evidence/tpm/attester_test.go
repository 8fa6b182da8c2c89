package tpm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// C-4, C-5, D-1, D-2, D-5: a key born in the TPM is attested, with the binder in
// both statements.
func TestAttest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ak, key Algorithm }{
		{ECDSAP256, ECDSAP256}, {ECDSAP256, ECDSAP384}, {RSA2048, RSA2048},
	} {
		ca := newAuthority(t)
		d := newDevice(t, ca, c.ak, c.key)
		b, value := d.attest(t)
		claims, err := extract(ca, value)
		require.NoError(t, err)
		require.NoError(t, claims.Bound(b))
		require.Equal(t, evidence.KeyBornInside, claims.Key)
		require.Equal(t, testInstance, claims.Instance)
		require.Len(t, claims.Measurements, len(testPCRs.PCRs))
	}
}
