package corim

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Algorithms that are accepted, and the curves of their keys.
const (
	algES256 = int64(cose.AlgorithmES256)
	algES384 = int64(cose.AlgorithmES384)
	algES512 = int64(cose.AlgorithmES512)
	algEdDSA = int64(cose.AlgorithmEdDSA)
)

var curves = map[string]int64{"P-256": algES256, "P-384": algES384, "P-521": algES512}

const (
	contentType = "application/rim+cbor"
	tagSign1    = 18
)

// header is the protected header of a signed CoRIM (Section 4.2.1 of the draft). Any
// other parameter is refused: it could limit what the signer meant.
type header struct {
	Algorithm   cbor.RawMessage `cbor:"1,keyasint,omitempty"`
	ContentType string          `cbor:"3,keyasint"`
	KeyID       []byte          `cbor:"4,keyasint,omitempty"` // a hint; the keys are the caller's
	Meta        []byte          `cbor:"8,keyasint"`
	X5Chain     cbor.RawMessage `cbor:"33,keyasint,omitempty"`
}

// sign1 is COSE_Sign1 (RFC 9052, Section 4.2).
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]cbor.RawMessage
	Payload     []byte
	Signature   []byte
}

// meta is the corim-meta-map (Section 4.2.2 of the draft).
type meta struct {
	Signer struct {
		Name string          `cbor:"0,keyasint"`
		URI  cbor.RawMessage `cbor:"1,keyasint,omitempty"`
	} `cbor:"0,keyasint"`
	Validity *validity `cbor:"1,keyasint,omitempty"`
}

// signer is who signed, once that is verified. The zero signer is nobody.
type signer struct {
	name     string
	keyID    []byte    // SHA-256 of the SubjectPublicKeyInfo
	notAfter time.Time // zero: no end
}

// open returns the corim-map, with its tag if it has one, and who signed it.
func open(b []byte, o *Options, now time.Time) ([]byte, signer, error) {
	if len(b) > MaxSize {
		return nil, signer{}, fail(ErrFormat, "size", fmt.Sprintf("it has %d bytes, %d are accepted", len(b), MaxSize))
	}
	b = trimWrapper(b)
	isSigned := len(b) > 0 && b[0] == 0xc0|tagSign1
	switch {
	case !isSigned && !o.AcceptUnsignedFromAnyone:
		return nil, signer{}, fail(ErrUnsigned, "envelope", "want COSE_Sign1; AcceptUnsignedFromAnyone takes it as it is")
	case !isSigned:
		return b, signer{}, nil
	case o.AcceptUnsignedFromAnyone:
		return nil, signer{}, fail(ErrSigner, "envelope", "it is signed: set Keys or Roots instead of AcceptUnsignedFromAnyone")
	}
	return openSigned(b, o, now)
}

// trimWrapper removes the tags 500 and 502 that earlier drafts put around a CoRIM
// and around COSE_Sign1.
func trimWrapper(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte{0xd9, 0x01, 0xf4})
	return bytes.TrimPrefix(b, []byte{0xd9, 0x01, 0xf6})
}

func openSigned(b []byte, o *Options, now time.Time) ([]byte, signer, error) {
	var tag cbor.RawTag
	if err := decode("envelope", b, &tag); err != nil {
		return nil, signer{}, err
	}
	var raw sign1
	if err := decode("envelope", tag.Content, &raw); err != nil {
		return nil, signer{}, err
	}
	var h header
	if err := decode("protected header", raw.Protected, &h); err != nil {
		return nil, signer{}, err
	}
	alg, err := h.check()
	if err != nil {
		return nil, signer{}, err
	}
	key, notAfter, err := findKey(b, alg, &h, raw.Unprotected, o, now)
	if err != nil {
		return nil, signer{}, err
	}
	// Only now are the bytes the signer's.
	var m meta
	if err := decode("corim-meta", h.Meta, &m); err != nil {
		return nil, signer{}, err
	}
	if m.Signer.Name == "" {
		return nil, signer{}, fail(ErrFormat, "corim-meta", "the signer has no name")
	}
	if err := m.Validity.check("corim-meta", now); err != nil {
		return nil, signer{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, signer{}, failed(ErrSigner, "key", err)
	}
	id := sha256.Sum256(spki)
	return raw.Payload, signer{m.Signer.Name, id[:], earlier(notAfter, m.Validity.end())}, nil
}

func (h *header) check() (alg int64, err error) {
	if len(h.Algorithm) == 0 || strict.Unmarshal(h.Algorithm, &alg) != nil {
		return 0, fail(ErrAlgorithm, "protected header", "alg is not a number")
	}
	switch alg {
	case algES256, algES384, algES512, algEdDSA:
	default:
		return 0, fail(ErrAlgorithm, "protected header", fmt.Sprintf("alg is %d", alg))
	}
	if h.ContentType != contentType {
		return 0, fail(ErrFormat, "protected header", fmt.Sprintf("content type is %q, want %q", h.ContentType, contentType))
	}
	if len(h.Meta) == 0 {
		return 0, fail(ErrFormat, "protected header", "corim-meta (8) is missing")
	}
	return alg, nil
}

// findKey finds the trusted key that made the signature, and when the trust in it
// ends.
func findKey(b []byte, alg int64, h *header, unprotected map[any]cbor.RawMessage, o *Options, now time.Time) (crypto.PublicKey, time.Time, error) {
	keys, notAfter := o.Keys, time.Time{}
	if o.Roots != nil {
		leaf, end, err := verifyChain(h, unprotected, o.Roots, now)
		if err != nil {
			return nil, time.Time{}, err
		}
		keys, notAfter = []crypto.PublicKey{leaf.PublicKey}, end
	}
	var msg cose.Sign1Message
	if err := guard(func() error { return msg.UnmarshalCBOR(b) }); err != nil {
		return nil, time.Time{}, failed(ErrFormat, "envelope", err)
	}
	tried := 0
	for _, key := range keys {
		if own, ok := algorithmOf(key); !ok || own != alg {
			continue
		}
		tried++
		v, err := cose.NewVerifier(cose.Algorithm(alg), key)
		if err == nil && guard(func() error { return msg.Verify(nil, v) }) == nil {
			return key, notAfter, nil
		}
	}
	if tried == 0 {
		return nil, time.Time{}, fail(ErrSigner, "signature", fmt.Sprintf("no trusted key is one for %v", cose.Algorithm(alg)))
	}
	return nil, time.Time{}, fail(ErrSignature, "signature", "it is of another key, or the CoRIM was changed")
}

// validity is the validity-map (Section 7.3 of the draft). A nil one has no limits.
type validity struct {
	NotBefore *time.Time `cbor:"0,keyasint,omitempty"`
	NotAfter  *time.Time `cbor:"1,keyasint"`
}

// check includes both ends.
func (v *validity) check(step string, now time.Time) error {
	switch {
	case v == nil:
		return nil
	case v.NotAfter == nil:
		return fail(ErrFormat, step, "validity has no not-after")
	case v.NotBefore != nil && v.NotBefore.After(*v.NotAfter):
		return fail(ErrFormat, step, "validity ends before it begins")
	case v.NotBefore != nil && now.Before(*v.NotBefore):
		return fail(ErrNotYetValid, step, "it begins at "+v.NotBefore.UTC().Format(time.RFC3339))
	case now.After(*v.NotAfter):
		return fail(ErrExpired, step, "it ended at "+v.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// end is when a validity that was checked ends; zero: never.
func (v *validity) end() time.Time {
	if v == nil {
		return time.Time{}
	}
	return *v.NotAfter
}

// earlier compares two ends, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
