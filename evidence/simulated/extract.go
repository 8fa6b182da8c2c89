package simulated

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// Platform is the platform in the [evidence.Claims] of a simulated device.
const Platform = "simulated"

// Limits on x5chain, checked before a certificate is parsed. A chain has the
// device and at least one CA below the root.
const (
	minChain       = 2
	maxChain       = 4
	maxCertificate = 4 << 10 // bytes
)

// signatureSize is r and s of ECDSA on P-256, 32 bytes each.
const signatureSize = 64

// algES256 is the one algorithm of the profile (RFC 9053, Section 2.1).
const algES256 = int64(cose.AlgorithmES256)

// Extractor reads Evidence of simulated devices. The zero Extractor is ready for
// use.
type Extractor struct {
	// Chains remembers the certificate chains of devices. Nil: each is verified
	// anew.
	Chains *evidence.Chains
}

var _ evidence.Extractor = Extractor{}

// MediaTypes holds [MediaType].
func (Extractor) MediaTypes() []string { return []string{MediaType} }

// Extract checks a token as [evidence.Extractor] says.
func (e Extractor) Extract(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := evidence.CheckRoots(roots); err != nil {
		return nil, err
	}
	if mediaType != MediaType && !cmw.SameMediaType(mediaType, MediaType) {
		return nil, format("media type", errors.New("it is another"))
	}
	t, err := parse(value)
	if err != nil {
		return nil, err
	}
	root, notAfter, err := t.verifyChain(e.Chains, roots, now)
	if err != nil {
		return nil, err
	}
	if err := t.verifySignature(); err != nil {
		return nil, err
	}
	if !bytes.Equal(t.claims.OEMID, oemid(root)) {
		return nil, untrusted("oemid", errors.New("it is not that of the root"))
	}
	return t.result(notAfter), nil
}

func format(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrFormat, Step: step, Err: err}
}

func untrusted(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrChain, Step: step, Err: err}
}

// envelope is COSE_Sign1 (RFC 9052, Section 4.2). It is read here and not by
// go-cose, which takes every header and spelling: go-cose then builds the
// Sig_structure from the bytes as received and verifies it.
type envelope struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected struct{}
	Payload     []byte
	Signature   []byte
}

// header is the protected header. The unprotected one is empty.
type header struct {
	Algorithm int64    `cbor:"1,keyasint"`
	X5Chain   [][]byte `cbor:"33,keyasint"` // RFC 9360
}

// tagSign1 is the head of CBOR tag 18.
const tagSign1 = 0xd2

// token is a parsed token. Nothing in it is verified.
type token struct {
	envelope envelope
	chain    []*x509.Certificate // device first
	claims   *claims
	measured []evidence.Measurement
}

// parse reads a token. All errors wrap ErrFormat.
func parse(value []byte) (*token, error) {
	if len(value) == 0 || len(value) > maxToken {
		return nil, format("size", fmt.Errorf("it is not 1 to %d bytes", maxToken))
	}
	if value[0] != tagSign1 {
		return nil, format("COSE_Sign1", errors.New("tag 18 is missing"))
	}
	t := new(token)
	var h header
	err := guard("COSE_Sign1", func() error { return decode(value[1:], &t.envelope) })
	if err == nil {
		err = guard("protected header", func() error { return decode(t.envelope.Protected, &h) })
	}
	if err == nil {
		err = h.check()
	}
	if err == nil && len(t.envelope.Signature) != signatureSize {
		err = format("signature", fmt.Errorf("it is not %d bytes", signatureSize))
	}
	if err == nil {
		err = guard("claims", func() (err error) {
			t.claims, t.measured, err = decodeClaims(t.envelope.Payload)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	for _, der := range h.X5Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, format("x5chain", errors.New("a certificate cannot be parsed"))
		}
		t.chain = append(t.chain, c)
	}
	return t, nil
}

func (h *header) check() error {
	switch {
	case h.Algorithm != algES256:
		return format("protected header", errors.New("algorithm is not ES256"))
	case len(h.X5Chain) < minChain || len(h.X5Chain) > maxChain:
		return format("x5chain", fmt.Errorf("it has %d certificates, want %d to %d", len(h.X5Chain), minChain, maxChain))
	}
	for _, der := range h.X5Chain {
		if len(der) > maxCertificate {
			return format("x5chain", fmt.Errorf("a certificate is larger than %d bytes", maxCertificate))
		}
	}
	return nil
}

// guard is the one place where libraries other than Go's read remote bytes. It
// turns an error, and a panic, into ErrFormat.
func guard(step string, read func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = format(step, errors.New("the decoder failed"))
		}
	}()
	if err := read(); err != nil {
		return format(step, err)
	}
	return nil
}

// verifyChain leads the device's certificate to a root and returns that, with the
// time at which the first certificate on the way ends.
func (t *token) verifyChain(known *evidence.Chains, roots *x509.CertPool, now time.Time) (root *x509.Certificate, notAfter time.Time, err error) {
	const step = "certificate chain"
	device := t.chain[0]
	key, ok := device.PublicKey.(*ecdsa.PublicKey)
	switch {
	case now.IsZero(): // crypto/x509 would take the time of day
		return nil, notAfter, untrusted(step, errors.New("the time is not known"))
	case !ok || key.Curve != elliptic.P256():
		return nil, notAfter, untrusted(step, errors.New("the device key is not on P-256"))
	case device.IsCA || device.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return nil, notAfter, untrusted(step, errors.New("the device certificate is not for signing"))
	case device.Subject.SerialNumber != hex.EncodeToString(t.claims.UEID):
		return nil, notAfter, untrusted(step, errors.New("the certificate is that of another device"))
	}
	chain, notAfter, err := known.Verify(t.chain, roots, now)
	if err != nil {
		return nil, notAfter, untrusted(step, err)
	}
	return chain[len(chain)-1], notAfter, nil
}

// verifySignature verifies ES256 over the bytes as received.
func (t *token) verifySignature() error {
	const step = "COSE_Sign1"
	fail := func(err error) error { return &evidence.Error{Reason: evidence.ErrSignature, Step: step, Err: err} }
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, t.chain[0].PublicKey)
	if err != nil {
		return fail(err)
	}
	protected, err := detcbor.Encode(t.envelope.Protected)
	if err != nil {
		return fail(err)
	}
	m := cose.Sign1Message{
		Headers: cose.Headers{
			RawProtected: cbor.RawMessage(protected),
			Protected:    cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES256},
		},
		Payload:   t.envelope.Payload,
		Signature: t.envelope.Signature,
	}
	if err := m.Verify(nil, verifier); err != nil {
		return fail(err)
	}
	return nil
}

// result states what the token says in the common vocabulary.
func (t *token) result(notAfter time.Time) *evidence.Claims {
	c := t.claims
	keyID := sha256.Sum256(t.chain[0].RawSubjectPublicKeyInfo)
	out := &evidence.Claims{
		Platform:      Platform,
		Form:          evidence.BinderAndKeyHash,
		Binder:        c.Nonce.GetI(0),
		KeyHash:       c.KeyHash,
		Instance:      c.UEID,
		Vendor:        c.OEMID,
		HardwareModel: c.HardwareModel,
		Measurements:  t.measured,
		Key:           provenances[c.Provenance],
		Signer:        evidence.Signer{Serial: t.chain[0].SerialNumber.Bytes(), KeyID: keyID[:], NotAfter: notAfter},
	}
	if c.Debug != nil {
		out.Debug = evidence.DebugEnabled + evidence.DebugState(*c.Debug)
	}
	if c.SoftwareName != "" {
		s := evidence.Software{Name: c.SoftwareName}
		if c.Version != nil {
			s.Version = c.Version.Version
		}
		out.Software = []evidence.Software{s}
	}
	return out
}
