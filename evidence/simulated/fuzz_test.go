package simulated

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// FuzzExtract: whatever arrives, nothing but the token itself is accepted, and
// every refusal says its reason.
func FuzzExtract(f *testing.F) {
	x := newFixture(f)
	f.Add(x.token)
	for _, i := range []int{0, 1, 10, len(x.token) / 2, len(x.token) - 1} {
		f.Add(x.token[:i])
		changed := bytes.Clone(x.token)
		changed[i] ^= 0x20
		f.Add(changed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, err := x.extract(b)
		if err == nil {
			require.Equal(t, x.token, b, "another token is accepted")
			return
		}
		require.Nil(t, claims)
		var e *evidence.Error
		require.ErrorAs(t, err, &e)
		require.True(t, errors.Is(err, evidence.ErrFormat) || errors.Is(err, evidence.ErrChain) || errors.Is(err, evidence.ErrSignature))
	})
}

// FuzzClaims: a claims set that is accepted is one that we would write.
func FuzzClaims(f *testing.F) {
	x := newFixture(f)
	c := x.claims(f)
	f.Add(marshal(f, c))
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
