package attestation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmw"
)

// C-5: a remote Verifier is handed the expected binder, and compares the same
// values as one beside the connection.
func TestAssertedBinding(t *testing.T) {
	t.Parallel()
	for suite, hash := range map[uint16]crypto.Hash{0: crypto.SHA256, tls.TLS_AES_256_GCM_SHA384: crypto.SHA384} {
		live := liveBinding(t, suite)
		b, err := AssertedBinding(live.Binder(), live.SPKI())
		require.NoError(t, err)
		require.Equal(t, hash, b.Hash())
		require.Empty(t, b.Context())
		require.True(t, b.Valid())
		require.True(t, b.MatchBinder(live.Binder()))
		require.True(t, b.MatchKeyHash(live.KeyHash()))
		require.True(t, b.MatchKey(live.SPKI()))
		require.Equal(t, live.ReportData(), b.ReportData())
		require.False(t, b.MatchBinder(live.KeyHash()))
	}
}

// liveBinding is the Binding of a connection.
func liveBinding(t *testing.T, suite uint16) (b Binding) {
	t.Helper()
	if suite == 0 {
		suite = tls.TLS_AES_128_GCM_SHA256
	}
	c := connect(t, suite)
	peer := attested(t, c.client, c.server, Expat04(), honest(t))
	_, err := Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(_ context.Context, given Binding, _ *cmw.Message) (*Result, error) {
		b = given
		return NewResult(given, affirming())
	}})
	require.NoError(t, err)
	return b
}

func TestAssertedBindingRefuses(t *testing.T) {
	t.Parallel()
	live := liveBinding(t, 0)
	binder, spki := bytes.Clone(live.Binder()), bytes.Clone(live.SPKI())
	for name, c := range map[string]struct{ binder, spki []byte }{
		"no binder":       {nil, spki},
		"31 bytes":        {binder[:31], spki},
		"report data":     {make([]byte, 64), spki},
		"no key":          {binder, nil},
		"bytes after key": {binder, append(bytes.Clone(spki), 0)},
		"key too large":   {binder, make([]byte, maxSPKI+1)},
	} {
		b, err := AssertedBinding(c.binder, c.spki)
		require.ErrorIs(t, err, ErrMalformed, name)
		require.False(t, b.Valid(), name)
	}
	b, err := AssertedBinding(binder, spki)
	require.NoError(t, err)
	spki[0], binder[0] = spki[0]^1, binder[0]^1 // it is a copy
	require.False(t, b.MatchBinder(binder))
	require.False(t, b.MatchKey(spki))
}

// A Result that answers an asserted binding opens no connection, even if every
// value is that of the connection.
func TestAssertedBindingOpensNothing(t *testing.T) {
	t.Parallel()
	c := connect(t, 0)
	peer := attested(t, c.client, c.server, Expat04(), honest(t))
	r, err := Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(_ context.Context, live Binding, _ *cmw.Message) (*Result, error) {
		b, err := AssertedBinding(live.Binder(), live.SPKI())
		require.NoError(t, err)
		return NewResult(b, affirming())
	}})
	require.Nil(t, r)
	require.ErrorIs(t, err, ErrWrongResult)
}
