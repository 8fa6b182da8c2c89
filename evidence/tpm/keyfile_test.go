package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/pem"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
)

// TestKeyFiles: a key is used again in its TPM, also after a restart, and nowhere
// else.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	file, err := d.key.MarshalPEM()
	require.NoError(t, err)
	akFile, err := d.ak.MarshalPEM()
	require.NoError(t, err)
	d.emulator.stop()
	d.emulator.start(t)
	key, err := d.tpm.LoadKey(ctx, file, nil)
	require.NoError(t, err)
	require.Equal(t, d.key.PublicArea(), key.PublicArea())
	digest := make([]byte, 32)
	sig, err := key.Sign(nil, digest, crypto.SHA256)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(d.key.Public().(*ecdsa.PublicKey), digest, sig))
	ak, err := d.tpm.LoadAK(ctx, akFile, nil)
	require.NoError(t, err)
	require.Equal(t, d.ak.Name(), ak.Name())
	require.NotEmpty(t, ak.parentName)
	again, err := d.tpm.LoadAK(ctx, akFile, nil)
	require.NoError(t, err)
	require.Equal(t, ak.parentName, again.parentName, "of a key that is loaded already")

	other := newEmulator(t).open(t)
	_, err = other.LoadKey(ctx, file, nil)
	require.ErrorIs(t, err, ErrKeyFile, "of another TPM")
	_, err = d.tpm.LoadAK(ctx, file, nil)
	require.ErrorIs(t, err, ErrKeyFile, "a TLS key")
	_, err = d.tpm.LoadKey(ctx, akFile, nil)
	require.ErrorIs(t, err, ErrKeyFile, "an attestation key")
	_, err = d.tpm.LoadKey(ctx, file, []byte("auth"))
	require.ErrorIs(t, err, ErrKeyFile, "it has no authorization value")

	loose := d.weakKey(t, true, func(a *tpm2.TPMAObject) { a.Restricted = false })
	looseFile, err := loose.MarshalPEM()
	require.NoError(t, err)
	_, err = d.tpm.LoadAK(ctx, looseFile, nil)
	require.ErrorIs(t, err, ErrNotRestricted)
	_, err = other.Certify(ctx, ak, key, digest)
	require.ErrorIs(t, err, ErrOptions)
	_, err = d.tpm.CreateAK(ctx, KeyOptions{Algorithm: ECDSAP384})
	require.ErrorIs(t, err, ErrOptions)
	_, err = d.tpm.CreateKey(ctx, KeyOptions{Algorithm: 9})
	require.EqualError(t, err, "tpm: create TLS key: tpm: options are not usable: no such key with algorithm 9")
}

func TestKeyFileFormat(t *testing.T) {
	t.Parallel()
	p, err := parse(goldenEvidence)
	require.NoError(t, err)
	good := keyFile{Type: oidLoadable, EmptyAuth: true, Parent: 0x40000001, Public: sized(p.Key), Private: sized([]byte("private"))}
	encode := func(f keyFile) []byte {
		der, err := asn1.Marshal(f)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
	}
	_, err = parseKeyFile(nil, encode(good), nil)
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"empty":      nil,
		"large":      bytes.Repeat([]byte("x"), maxKeyFile+1),
		"other type": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}),
		"more":       append(encode(good), encode(good)...),
		"not DER":    pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: []byte{1}}),
		"importable": encode(keyFile{Type: asn1.ObjectIdentifier{2, 23, 133, 10, 1, 4}, EmptyAuth: true, Public: good.Public, Private: good.Private}),
		"with auth":  encode(keyFile{Type: oidLoadable, Public: good.Public, Private: good.Private}),
		"size":       encode(keyFile{Type: oidLoadable, EmptyAuth: true, Public: good.Public[1:], Private: good.Private}),
		"private":    encode(keyFile{Type: oidLoadable, EmptyAuth: true, Public: good.Public, Private: []byte{0}}),
		"no key":     encode(keyFile{Type: oidLoadable, EmptyAuth: true, Public: sized([]byte{1}), Private: good.Private}),
	} {
		_, err := parseKeyFile(nil, b, nil)
		require.ErrorIs(t, err, ErrKeyFile, name)
	}
	for a, want := range map[Algorithm]string{ECDSAP256: "ECDSA P-256", ECDSAP384: "ECDSA P-384", RSA2048: "RSA 2048", 0: "algorithm 0"} {
		require.Equal(t, want, a.String())
	}
}
