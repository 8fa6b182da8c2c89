package platform

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
)

// binding is one for a new key.
func binding(t *testing.T) attestation.Binding {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	b, err := attestation.AssertedBinding(bytes.Repeat([]byte{1}, 32), spki)
	require.NoError(t, err)
	return b
}

// A key that is renewed has a passport of its own, and the one before keeps its for
// connections that are open. What is older is let go of.
func TestPassportByKey(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	k := &byKey{source: passport.SourceFunc(func(_ context.Context, b attestation.Binding) ([]byte, time.Time, error) {
		asked.Add(1)
		return append([]byte("for "), b.KeyHash()...), time.Now().Add(time.Hour), nil
	})}
	require.Equal(t, []string{ear.MediaType}, k.MediaTypes())
	shown := func(b attestation.Binding, times int64) {
		t.Helper()
		m, err := k.Attest(t.Context(), b, k.MediaTypes())
		require.NoError(t, err)
		require.Equal(t, append([]byte("for "), b.KeyHash()...), m.Value())
		require.Equal(t, times, asked.Load())
	}
	first, second, third := binding(t), binding(t), binding(t)
	shown(first, 1)
	shown(first, 1)
	shown(second, 2)
	shown(first, 2)
	shown(third, 3)
	shown(second, 3)
	require.Len(t, k.kept, keptKeys)
	require.NoError(t, k.Close())
	_, err := k.Attest(t.Context(), third, nil)
	require.ErrorIs(t, err, passport.ErrClosed)
	_, err = k.Attest(t.Context(), first, nil)
	require.ErrorIs(t, err, passport.ErrClosed)
	require.ErrorIs(t, err, attestation.ErrAttester)
	require.EqualValues(t, 3, asked.Load())
}
