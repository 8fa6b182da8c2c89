package tdx

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestReal: recorded quotes of real platforms lead to Intel's root offline, and say
// what they say.
func TestReal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw                                 []byte
		now                                 time.Time
		model, instance, mrtd, rtmr, module string
	}{
		"version 4": {
			testdata.RawQuote, realTime4, "50806f000000", "089ddfdb9c0359c82a3bc7719239574e",
			"6363b8043668a3ad953278e10389574d326c6749fb78aa810ecd9336923db86f22fc00b8dcd404bc10d5e119d7215cbb",
			"8652f0caaba7e215ea442dc36a4499d8fec3362f3a0b2ca151cbe4b3e6466fe59c7368b3c2287fc7c3bf5c924eb4424e", "0.3",
		},
		"version 5": {
			testdata.RawQuoteV5, realTime5, "90c06f000000", "2734b654f553596897eaadfb5667a954",
			"7348651a34b2d2d3462822e3a750ec6110125f36757c78480bbfc69cc0d21fb001a1ced3ee19747dda8f750c3bc8f876",
			"6369b9c9a3b791ebcbdc5a0bb9536cfb57f50df2b393b33c8b29616d3568baa61f4b59dc6092e31ea8764bcbdfc69f20", "1.11",
		},
	} {
		claims, err := extractor(t, lenient).Extract(context.Background(), MediaType, encoded(t, TrimQuote(c.raw), nil), IntelRoots(), c.now)
		require.NoError(t, err, name)
		require.Equal(t, Platform, claims.Platform)
		require.Equal(t, evidence.ReportData, claims.Form)
		require.Equal(t, c.model, hex.EncodeToString(claims.HardwareModel))
		require.Equal(t, c.instance, hex.EncodeToString(claims.Instance))
		require.Equal(t, c.mrtd, hex.EncodeToString(claims.Measurements[0].Digest))
		require.Equal(t, "rtmr2", claims.Measurements[3].Name)
		require.Equal(t, c.rtmr, hex.EncodeToString(claims.Measurements[3].Digest))
		require.Equal(t, []evidence.Software{{Name: SoftwareModule, Version: c.module}}, claims.Software)
		require.Equal(t, evidence.DebugDisabledSinceBoot, claims.Debug)
		require.Equal(t, evidence.KeyNamedBySoftware, claims.Key)
		require.Empty(t, claims.Findings)
		_, err = extractor(t, Options{}).Extract(context.Background(), MediaType, encoded(t, TrimQuote(c.raw), nil), IntelRoots(), c.now)
		step(t, err, evidence.ErrChain, "collateral", ErrNoCollateral)
	}
}

// TestAttest: a quote with its collateral proves the connection it was made for.
func TestAttest(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	for _, c := range []*Collateral{nil, f.collateral(t)} {
		a, err := NewAttester(AttesterOptions{Client: f.client(t), Collateral: c})
		require.NoError(t, err)
		b, value, err := attest(t, a)
		require.NoError(t, err)
		claims, err := f.extract(t, extractor(t, Options{AcceptUnknownTCB: c == nil}), value)
		require.NoError(t, err)
		require.NoError(t, claims.Bound(b))
		require.Empty(t, claims.Findings)
		require.Equal(t, []byte{3}, claims.Signer.Serial)
		require.Equal(t, f.pck.NotAfter, claims.Signer.NotAfter)
	}
}
