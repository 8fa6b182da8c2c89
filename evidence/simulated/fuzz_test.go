package simulated

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/testdata/vectors"
)

// FuzzExtract: whatever arrives, no token but the golden one is accepted, and
// every refusal says its reason. ECDSA has two signatures for one message (s and
// n - s), so that those bytes are left out.
func FuzzExtract(f *testing.F) {
	signed := goldenToken[:len(goldenToken)-signatureSize]
	if len(goldenToken) == 0 {
		f.Fatal("no seeds")
	}
	f.Add(goldenToken)
	for _, i := range []int{0, 1, 10, len(signed) / 2, len(signed) - 1} {
		f.Add(goldenToken[:i])
		changed := bytes.Clone(goldenToken)
		changed[i] ^= 0x20
		f.Add(changed)
	}
	published, err := vectors.Seeds("simulated_evidence", "evidence")
	require.NoError(f, err)
	for _, token := range published {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, err := extractGolden(t, b)
		u, parsed := ParseUnverified(b)
		require.Equal(t, parsed == nil, u != nil)
		require.True(t, err != nil || parsed == nil, "what Extract takes can be read")
		require.True(t, parsed == nil || errors.Is(parsed, evidence.ErrFormat), "%v", parsed)
		if err == nil {
			require.Len(t, b, len(goldenToken))
			require.Equal(t, signed, b[:len(signed)], "another token is accepted")
			return
		}
		require.Nil(t, claims)
		var e *evidence.Error
		require.ErrorAs(t, err, &e)
		require.True(t, errors.Is(err, evidence.ErrFormat) || errors.Is(err, evidence.ErrChain) || errors.Is(err, evidence.ErrSignature))
		require.NotContains(t, err.Error(), "the decoder failed", "a decoder panics")
	})
}

// FuzzClaims: a claims set that is accepted is one that we would write.
func FuzzClaims(f *testing.F) {
	golden, err := parse(goldenToken)
	if err != nil {
		f.Fatal("no seeds:", err)
	}
	c := golden.claims
	f.Add(golden.envelope.Payload)
	c.HardwareModel, c.Debug, c.Version, c.SoftwareName, c.Measurements = nil, nil, nil, "", nil
	f.Add(marshal(f, c))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := guard("claims", func() error {
			c, measured, err := decodeClaims(b)
			if err != nil {
				return err
			}
			again, err := encodeMeasurements(measured)
			require.NoError(t, err)
			c.Measurements = again
			require.Equal(t, b, marshal(t, c))
			return nil
		})
		if err != nil {
			require.ErrorIs(t, err, evidence.ErrFormat)
			require.NotContains(t, err.Error(), "the decoder failed", "a decoder panics")
		}
	})
}
