package tdx

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"
)

func TestReal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw []byte
		now time.Time
	}{"version 4": {testdata.RawQuote, realTime4}, "version 5": {testdata.RawQuoteV5, realTime5}} {
		raw := trimQuote(c.raw)
		t.Log(name, len(c.raw), len(raw))
		claims, err := extractor(t, lenient).Extract(context.Background(), MediaType, encoded(t, raw, nil), IntelRoots(), c.now)
		require.NoError(t, err, name)
		t.Logf("%v %v", claims.Map(), claims.Findings)
	}
}

func TestFake(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	a, err := NewAttester(AttesterOptions{Client: f.client(t), Collateral: f.collateral(t)})
	require.NoError(t, err)
	b, value, err := attest(t, a)
	require.NoError(t, err)
	c, err := f.extract(t, extractor(t, Options{}), value)
	require.NoError(t, err)
	require.NoError(t, c.Bound(b))
	require.Empty(t, c.Findings)
	t.Logf("%d bytes %v", len(value), c.Map())
}
