package simulated

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/evidence"
)

func TestExtract(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got, err := f.extract(f.token)
	require.NoError(t, err)

	tok, err := parse(f.token)
	require.NoError(t, err)
	keyID := sha256.Sum256(tok.chain[0].RawSubjectPublicKeyInfo)
	require.Equal(t, &evidence.Claims{
		Platform:      "simulated",
		Form:          evidence.BinderAndKeyHash,
		Binder:        f.binding.Binder(),
		KeyHash:       f.binding.KeyHash(),
		Instance:      f.device.Instance(),
		Vendor:        f.vendor.OEMID(),
		HardwareModel: []byte("model"),
		Debug:         evidence.DebugDisabled,
		Software:      []evidence.Software{{Name: "firmware", Version: "2.1"}},
		Measurements:  testOptions().Measurements,
		Key:           evidence.KeyBornInside,
		Signer: evidence.Signer{
			Serial: tok.chain[0].SerialNumber.Bytes(), KeyID: keyID[:], NotAfter: f.vendor.root.NotAfter,
		},
	}, got)
	require.NoError(t, got.Bound(f.binding))
}

// C-7: every byte of a token is under the signature, and no prefix is a token.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range f.token {
		changed := bytes.Clone(f.token)
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			changed[i] = f.token[i] ^ mask
			_, err := f.extract(changed)
			require.Error(t, err, "byte %d, mask %#x", i, mask)
			var e *evidence.Error
			require.ErrorAs(t, err, &e, "byte %d", i)
		}
		_, err := f.extract(f.token[:i])
		require.ErrorIs(t, err, evidence.ErrFormat, "length %d", i)
	}
	_, err := f.extract(append(bytes.Clone(f.token), 0))
	require.ErrorIs(t, err, evidence.ErrFormat)
}

func TestExtractCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	cancelled, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("asked to stop"))
	now := time.Now()
	var x Extractor

	require.Equal(t, []string{MediaType}, x.MediaTypes())
	_, err := x.Extract(cancelled, MediaType, f.token, f.vendor.Roots(), now)
	require.EqualError(t, err, "asked to stop")
	_, err = x.Extract(ctx, MediaType, f.token, nil, now)
	require.ErrorIs(t, err, evidence.ErrRoots)
	_, err = x.Extract(ctx, MediaType, f.token, x509.NewCertPool(), now)
	require.ErrorIs(t, err, evidence.ErrRoots)
	_, err = x.Extract(ctx, "application/eat+cwt", f.token, f.vendor.Roots(), now)
	step(t, err, evidence.ErrFormat, "media type")
	_, err = x.Extract(ctx, `Application/EAT+CWT;eat_profile="`+profile+`"`, f.token, f.vendor.Roots(), now)
	require.NoError(t, err)
	_, err = x.Extract(ctx, MediaType, nil, f.vendor.Roots(), now)
	step(t, err, evidence.ErrFormat, "size")
	_, err = x.Extract(ctx, MediaType, make([]byte, maxToken+1), f.vendor.Roots(), now)
	step(t, err, evidence.ErrFormat, "size")
	_, err = x.Extract(ctx, MediaType, make([]byte, maxToken), f.vendor.Roots(), now)
	step(t, err, evidence.ErrFormat, "COSE_Sign1")
}

// B-14 (1), B-19: the chain leads to a root that was named, at the time given.
func TestChain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stranger, err := NewVendor("test", time.Now())
	require.NoError(t, err)
	for name, c := range map[string]struct {
		roots *x509.CertPool
		now   time.Time
	}{
		"other vendor with the same name": {stranger.Roots(), time.Now()},
		"expired":                         {f.vendor.Roots(), time.Now().Add(validity + time.Minute)},
		"not yet valid":                   {f.vendor.Roots(), time.Now().Add(-2 * time.Hour)},
		"no time":                         {f.vendor.Roots(), time.Time{}},
	} {
		_, err := Extractor{}.Extract(context.Background(), MediaType, f.token, c.roots, c.now)
		require.ErrorIs(t, err, evidence.ErrChain, name)
		step(t, err, evidence.ErrChain, "certificate chain")
	}
	_, err = Extractor{}.Extract(context.Background(), MediaType, f.token, f.vendor.Roots(), time.Now().Add(validity-time.Minute))
	require.NoError(t, err)
}

// TestX5Chain changes the chain and signs the token again with the device's key.
func TestX5Chain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stranger, err := NewVendor("other", time.Now())
	require.NoError(t, err)
	tok, err := parse(f.token)
	require.NoError(t, err)
	device, ca := tok.chain[0].Raw, tok.chain[1].Raw
	for name, c := range map[string]struct {
		chain  [][]byte
		reason error
		step   string
	}{
		"none":                   {nil, evidence.ErrFormat, "x5chain"},
		"intermediate missing":   {[][]byte{device}, evidence.ErrFormat, "x5chain"},
		"five":                   {[][]byte{device, ca, ca, ca, ca}, evidence.ErrFormat, "x5chain"},
		"certificate too large":  {[][]byte{device, make([]byte, maxCertificate+1)}, evidence.ErrFormat, "x5chain"},
		"not a certificate":      {[][]byte{device, make([]byte, maxCertificate)}, evidence.ErrFormat, "x5chain"},
		"bytes after":            {[][]byte{device, append(bytes.Clone(ca), 0)}, evidence.ErrFormat, "x5chain"},
		"null":                   {[][]byte{device, nil}, evidence.ErrFormat, "x5chain"},
		"device twice":           {[][]byte{device, device}, evidence.ErrChain, "certificate chain"},
		"other intermediate":     {[][]byte{device, stranger.intermediate.Raw}, evidence.ErrChain, "certificate chain"},
		"CA first":               {[][]byte{ca, device}, evidence.ErrChain, "certificate chain"},
		"root too":               {[][]byte{device, ca, f.vendor.root.Raw}, nil, ""},
		"no more than good ones": {[][]byte{device, ca}, nil, ""},
	} {
		protected := marshal(t, header{Algorithm: algES256, X5Chain: c.chain})
		_, err := f.extract(f.signed(t, protected, emptyMap, tok.envelope.Payload))
		if c.reason == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, c.reason, name)
		step(t, err, c.reason, c.step)
	}
}

// TestDeviceCertificate issues certificates by the vendor that are not a device's.
func TestDeviceCertificate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ueid := hex.EncodeToString(f.device.Instance())
	good := func() *x509.Certificate {
		return &x509.Certificate{
			Subject:  pkix.Name{SerialNumber: ueid},
			NotAfter: f.vendor.root.NotAfter, NotBefore: f.vendor.root.NotBefore,
			KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		}
	}
	for name, c := range map[string]struct {
		curve  elliptic.Curve
		change func(*x509.Certificate)
		want   error
	}{
		"good":           {elliptic.P256(), func(*x509.Certificate) {}, evidence.ErrSignature}, // other key
		"P-384":          {elliptic.P384(), func(*x509.Certificate) {}, evidence.ErrChain},
		"CA":             {elliptic.P256(), func(c *x509.Certificate) { c.IsCA = true }, evidence.ErrChain},
		"key usage":      {elliptic.P256(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, evidence.ErrChain},
		"other instance": {elliptic.P256(), func(c *x509.Certificate) { c.Subject.SerialNumber = "01" }, evidence.ErrChain},
		"ended":          {elliptic.P256(), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, evidence.ErrChain},
	} {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		require.NoError(t, err)
		template := good()
		c.change(template)
		cert, err := issue(template, f.vendor.intermediate, &key.PublicKey, f.vendor.key)
		require.NoError(t, err)
		protected := marshal(t, header{algES256, [][]byte{cert.Raw, f.vendor.intermediate.Raw}})
		_, err = f.extract(f.signed(t, protected, emptyMap, marshal(t, f.claims(t))))
		require.ErrorIs(t, err, c.want, name)
	}
}

// TestEarliestEnd: a device certificate that outlives its CA ends with it.
func TestEarliestEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := outsideKey(t)
	cert, err := issue(&x509.Certificate{
		Subject:  pkix.Name{SerialNumber: hex.EncodeToString(f.device.Instance())},
		NotAfter: f.vendor.root.NotAfter.Add(time.Hour), NotBefore: f.vendor.root.NotBefore,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}, f.vendor.intermediate, &key.PublicKey, f.vendor.key)
	require.NoError(t, err)
	f.device.signer, err = cose.NewSigner(cose.AlgorithmES256, key)
	require.NoError(t, err)
	protected := marshal(t, header{algES256, [][]byte{cert.Raw, f.vendor.intermediate.Raw}})
	c, err := f.extract(f.signed(t, protected, emptyMap, marshal(t, f.claims(t))))
	require.NoError(t, err)
	require.Equal(t, f.vendor.intermediate.NotAfter, c.Signer.NotAfter)
}

// I-11: a device of one trusted vendor cannot pass for one of another.
func TestOtherVendorsOEMID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.claims(t)
	c.OEMID = make([]byte, oemidLen)
	_, err := f.extract(f.resigned(t, marshal(t, c)))
	step(t, err, evidence.ErrChain, "oemid")
}

// TestHeaders has everything right but the COSE headers.
func TestHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	payload := marshal(t, f.claims(t))
	tok, err := parse(f.token)
	require.NoError(t, err)
	chain := [][]byte{tok.chain[0].Raw, tok.chain[1].Raw}
	with := func(m map[any]any) []byte { return marshal(t, m) }
	for name, c := range map[string]struct {
		protected, unprotected []byte
		step                   string
	}{
		"algorithm missing":              {with(map[any]any{33: chain}), emptyMap, "protected header"},
		"algorithm none":                 {with(map[any]any{1: nil, 33: chain}), emptyMap, "protected header"},
		"algorithm 0":                    {with(map[any]any{1: 0, 33: chain}), emptyMap, "protected header"},
		"ES384":                          {with(map[any]any{1: -35, 33: chain}), emptyMap, "protected header"},
		"algorithm as text":              {with(map[any]any{1: "ES256", 33: chain}), emptyMap, "protected header"},
		"algorithm only unprotected":     {with(map[any]any{33: chain}), with(map[any]any{1: -7}), "COSE_Sign1"},
		"algorithm unprotected too":      {f.header(t), with(map[any]any{1: -7}), "COSE_Sign1"},
		"I-14 binder in the unprotected": {f.header(t), with(map[any]any{10: f.binding.Binder()}), "COSE_Sign1"},
		"chain unprotected":              {with(map[any]any{1: -7}), with(map[any]any{33: chain}), "COSE_Sign1"},
		"critical header":                {with(map[any]any{1: -7, 2: []int{1}, 33: chain}), emptyMap, "protected header"},
		"text header":                    {with(map[any]any{1: -7, 33: chain, "a": 1}), emptyMap, "protected header"},
		"no header":                      {nil, emptyMap, "protected header"},
		"header is an array":             {marshal(t, []any{1, -7}), emptyMap, "protected header"},
		"one certificate as bstr":        {with(map[any]any{1: -7, 33: chain[0]}), emptyMap, "protected header"},
		"algorithm twice":                {append([]byte{0xa3, 1, 0x26, 1, 0x26}, f.header(t)[3:]...), emptyMap, "protected header"},
		"long integer":                   {append([]byte{0xa2, 1, 0x38, 6}, f.header(t)[3:]...), emptyMap, "protected header"},
		"unprotected is no map":          {f.header(t), []byte{0x80}, "COSE_Sign1"},
	} {
		_, err := f.extract(f.signed(t, c.protected, c.unprotected, payload))
		require.ErrorIs(t, err, evidence.ErrFormat, name)
		step(t, err, evidence.ErrFormat, c.step)
	}
	_, err = f.extract(f.signed(t, f.header(t), emptyMap, payload))
	require.NoError(t, err)
}

// TestEnvelope has a good signature in an envelope that is not the profile's.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	body := f.token[1:]
	cwt := append([]byte{0xd8, 61}, f.token...)
	tok, err := parse(f.token)
	require.NoError(t, err)
	e := tok.envelope
	for name, b := range map[string][]byte{
		"tag 18 missing":    body,
		"CWT tag around it": cwt,
		"other tag":         append([]byte{0xd1}, body...),
		"tag in long form":  append([]byte{0xd8, 18}, body...),
		"tag twice":         append([]byte{0xd2}, f.token...),
		"five elements":     append([]byte{0xd2, 0x85}, append(bytes.Clone(body[1:]), 0xf6)...),
		"indefinite array":  append([]byte{0xd2, 0x9f}, append(bytes.Clone(body[1:]), 0xff)...),
		"signature null":    envelopeOf(t, e.Protected, emptyMap, e.Payload, nil),
		"signature short":   envelopeOf(t, e.Protected, emptyMap, e.Payload, e.Signature[1:]),
		"signature long":    envelopeOf(t, e.Protected, emptyMap, e.Payload, append(bytes.Clone(e.Signature), 0)),
		"payload null":      envelopeOf(t, e.Protected, emptyMap, nil, e.Signature),
		"payload empty":     envelopeOf(t, e.Protected, emptyMap, []byte{}, e.Signature),
	} {
		_, err := f.extract(b)
		require.ErrorIs(t, err, evidence.ErrFormat, name)
	}
	zero := envelopeOf(t, e.Protected, emptyMap, e.Payload, make([]byte, signatureSize))
	_, err = f.extract(zero)
	step(t, err, evidence.ErrSignature, "COSE_Sign1")
}

// TestGuard shows that a panic of a decoder is an error.
func TestGuard(t *testing.T) {
	t.Parallel()
	err := guard("claims", func() error { panic("decoder bug: " + string([]byte{1})) })
	step(t, err, evidence.ErrFormat, "claims")
	require.EqualError(t, err, "malformed Evidence: claims: the decoder failed")
	require.NoError(t, guard("claims", func() error { return nil }))
}
