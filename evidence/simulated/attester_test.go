package simulated

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
)

func TestAttest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		b, m, err := evidencetest.Attest(context.Background(), h, f.id, NewAttester(f.device))
		require.NoError(t, err)
		leaves := m.Leaves()
		require.Len(t, leaves, 1)
		require.Equal(t, MediaType, leaves[0].MediaType)
		require.Equal(t, cmw.Evidence, leaves[0].Indicator)
		c, err := f.extract(leaves[0].Value)
		require.NoError(t, err)
		require.NoError(t, c.Bound(b), "C-4, D-1")
		require.Len(t, c.Binder, h.Size())
		require.Less(t, len(leaves[0].Value), 2048)
	}
}

// D-5: a device attests only keys that were born in it, on any curve.
func TestOnlyKeysBornInside(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := NewAttester(f.device)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := f.device.GenerateKey(curve)
		require.NoError(t, err)
		_, _, err = attest(identity(t, key), a)
		require.NoError(t, err)
	}
	for _, curve := range []elliptic.Curve{nil, elliptic.P224()} {
		_, err := f.device.GenerateKey(curve)
		require.EqualError(t, err, "simulated: generate key: curve is not P-256, P-384 or P-521")
	}

	_, _, err := attest(identity(t, outsideKey(t)), a)
	require.ErrorIs(t, err, ErrKeyNotBorn)
	require.ErrorIs(t, err, attestation.ErrAttester)

	sibling, err := f.vendor.NewDevice(testOptions())
	require.NoError(t, err)
	_, _, err = attest(f.id, NewAttester(sibling))
	require.ErrorIs(t, err, ErrKeyNotBorn)
}

// A key that is held elsewhere is named, and said to be no more than that (D-5).
func TestKeysHeldElsewhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	strict := NewAttester(f.device)
	for name, c := range map[string]struct {
		attester *Attester
		inside   bool
		want     evidence.KeyProvenance
	}{
		"born inside":                     {strict.AcceptKeysHeldElsewhere(), true, evidence.KeyBornInside},
		"held elsewhere":                  {strict.AcceptKeysHeldElsewhere(), false, evidence.KeyNamedBySoftware},
		"held elsewhere, and not its own": {NewAttester(f.device, ForeignKey).AcceptKeysHeldElsewhere(), false, evidence.KeyExternal},
	} {
		id := f.id
		if !c.inside {
			id = identity(t, outsideKey(t))
		}
		b, token, err := attest(id, c.attester)
		require.NoError(t, err, name)
		got, err := f.extract(token)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got.Key, name)
		require.NoError(t, got.Bound(b), name)
	}
	_, _, err := attest(identity(t, outsideKey(t)), strict)
	require.ErrorIs(t, err, ErrKeyNotBorn, "the Attester that was given is as it was")
}

func TestAttestCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := NewAttester(f.device)
	_, err := a.Attest(context.Background(), f.binding, []string{"application/eat+cwt"})
	require.ErrorIs(t, err, attestation.ErrMediaType)
	_, err = a.Attest(context.Background(), attestation.Binding{}, a.MediaTypes())
	require.ErrorIs(t, err, ErrKeyNotBorn)
	_, err = NewAttester(f.device, ForeignKey).Attest(context.Background(), attestation.Binding{}, a.MediaTypes())
	require.EqualError(t, err, "simulated: eat_nonce: a nonce must be between 8 and 64 bytes long; found 0")
	cancelled, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("asked to stop"))
	_, err = a.Attest(cancelled, f.binding, a.MediaTypes())
	require.EqualError(t, err, "asked to stop")
}

// TestLies: each lie changes what it says and nothing else.
func TestLies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	truth, err := f.extract(f.token)
	require.NoError(t, err)
	digest := append([]byte{testDigest[0] ^ 1}, testDigest[1:]...)
	for lie, change := range map[Lie]func(*evidence.Claims){
		WrongNonce:  func(c *evidence.Claims) { c.Binder[0] ^= 1 },
		WrongKey:    func(c *evidence.Claims) { c.KeyHash[0] ^= 1 },
		DebugOn:     func(c *evidence.Claims) { c.Debug = evidence.DebugEnabled },
		OldFirmware: func(c *evidence.Claims) { c.Software[0].Version, c.Measurements[0].Digest = "0.0.1", digest },
		ModifiedSoftware: func(c *evidence.Claims) {
			c.Measurements[0].Digest = digest
		},
		ForeignKey: func(*evidence.Claims) {},
	} {
		binding, token, err := attest(f.id, NewAttester(f.device, lie))
		require.NoError(t, err)
		got, err := f.extract(token)
		require.NoError(t, err, lie)
		want, err := f.extract(f.token)
		require.NoError(t, err)
		want.Binder, want.KeyHash = append([]byte(nil), binding.Binder()...), append([]byte(nil), binding.KeyHash()...)
		change(want)
		require.Equal(t, want, got, lie)
	}
	require.Equal(t, evidence.KeyBornInside, truth.Key)

	_, token, err := attest(identity(t, outsideKey(t)), NewAttester(f.device, ForeignKey))
	require.NoError(t, err)
	got, err := f.extract(token)
	require.NoError(t, err)
	require.Equal(t, evidence.KeyExternal, got.Key)

	_, token, err = attest(f.id, NewAttester(f.device, TamperedClaims))
	require.NoError(t, err)
	_, err = f.extract(token)
	step(t, err, evidence.ErrSignature, "COSE_Sign1")
}

// TestLieAboutNothing: what a device does not report cannot be falsified.
func TestLieAboutNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	bare, err := f.vendor.NewDevice(DeviceOptions{})
	require.NoError(t, err)
	key, err := bare.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	_, token, err := attest(identity(t, key), NewAttester(bare, OldFirmware, ModifiedSoftware))
	require.NoError(t, err)
	c, err := f.extract(token)
	require.NoError(t, err)
	require.Nil(t, c.Software)
	require.Nil(t, c.Measurements)
	require.Nil(t, c.HardwareModel)
	require.Equal(t, evidence.DebugNotStated, c.Debug)
}

func TestLieNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for l := WrongNonce; l <= TamperedClaims; l++ {
		require.Contains(t, lies, l)
		require.False(t, seen[l.String()])
		seen[l.String()] = true
	}
	require.Len(t, lies, len(seen))
	require.Equal(t, "wrong-nonce", WrongNonce.String())
	require.Equal(t, "lie 0", Lie(0).String())
}
