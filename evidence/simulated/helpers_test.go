package simulated

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/internal/detcbor"
)

var testDigest = bytes.Repeat([]byte{0x5a}, 32)

func testOptions() DeviceOptions {
	return DeviceOptions{
		HardwareModel:   []byte("model"),
		SoftwareName:    "firmware",
		SoftwareVersion: "2.1",
		Debug:           evidence.DebugDisabled,
		Measurements: []evidence.Measurement{
			{Name: "kernel", Version: "6.1", Algorithm: "sha-256", Digest: testDigest},
			{Name: "app", Algorithm: "sha3-512", Digest: bytes.Repeat([]byte{1}, 64)},
		},
	}
}

// fixture is a device with an attested key, and one token of it.
type fixture struct {
	vendor  *Vendor
	device  *Device
	id      *authenticator.Identity
	binding attestation.Binding
	token   []byte
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := new(fixture)
	var err error
	f.vendor, err = NewVendor("test", time.Now())
	require.NoError(t, err)
	f.device, err = f.vendor.NewDevice(testOptions())
	require.NoError(t, err)
	key, err := f.device.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	f.id = identity(t, key)
	f.binding, f.token, err = attest(f.id, NewAttester(f.device))
	require.NoError(t, err)
	return f
}

func identity(t testing.TB, key crypto.Signer) *authenticator.Identity {
	t.Helper()
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	return id
}

func outsideKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func attest(id *authenticator.Identity, a attestation.Attester) (attestation.Binding, []byte, error) {
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, id, a)
	if err != nil {
		return b, nil, err
	}
	return b, m.Leaves()[0].Value, nil
}

func (f *fixture) extract(token []byte) (*evidence.Claims, error) {
	return Extractor{}.Extract(context.Background(), MediaType, token, f.vendor.Roots(), time.Now())
}

// claims of the fixture's token, to be changed and signed again.
func (f *fixture) claims(t testing.TB) *claims {
	t.Helper()
	tok, err := parse(f.token)
	require.NoError(t, err)
	return tok.claims
}

// signed makes a token of any content, signed by the device.
func (f *fixture) signed(t testing.TB, protected, unprotected, payload []byte) []byte {
	t.Helper()
	structure, err := detcbor.Encode([]any{"Signature1", protected, []byte{}, payload})
	require.NoError(t, err)
	signature, err := f.device.signer.Sign(rand.Reader, structure)
	require.NoError(t, err)
	return envelopeOf(t, protected, unprotected, payload, signature)
}

// envelopeOf encodes a COSE_Sign1; unprotected is CBOR.
func envelopeOf(t testing.TB, protected, unprotected, payload, signature []byte) []byte {
	t.Helper()
	out := []byte{tagSign1, 0x84}
	for i, part := range [][]byte{protected, nil, payload, signature} {
		if i == 1 {
			out = append(out, unprotected...)
			continue
		}
		b, err := detcbor.Encode(part)
		require.NoError(t, err)
		out = append(out, b...)
	}
	return out
}

// emptyMap is the unprotected header of every good token.
var emptyMap = []byte{0xa0}

// header is the content of the device's protected header.
func (f *fixture) header(t testing.TB) []byte {
	t.Helper()
	var b []byte
	require.NoError(t, decoder.Decode(f.device.protected, &b))
	return b
}

// resigned makes a token of other claims.
func (f *fixture) resigned(t testing.TB, payload []byte) []byte {
	t.Helper()
	return f.signed(t, f.header(t), emptyMap, payload)
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := detcbor.Encode(v)
	require.NoError(t, err)
	return b
}

// step requires an evidence.Error of that reason and step.
func step(t testing.TB, err error, reason error, step string) {
	t.Helper()
	var e *evidence.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, reason)
	require.Equal(t, step, e.Step, err)
}
