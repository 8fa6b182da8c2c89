package tpm

import (
	"bytes"
	"context"
	"crypto"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/expat-go/expat/evidence"
)

// Certification is the statement of an attestation key that a TLS key was born in
// its TPM and cannot leave it, outside any connection: a CA wants it beside a
// certificate signing request.
type Certification struct {
	Key       []byte // TPMT_PUBLIC of the certified key
	Parent    []byte // Name of the primary above the attestation key
	Statement []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE
}

// maxExtraData is what fits a TPM2B_DATA of every TPM, in bytes.
const maxExtraData = 64

// Certify has ak certify k, with extraData of at most 64 bytes in the statement.
func (t *TPM) Certify(ctx context.Context, ak *AK, k *Key, extraData []byte) (*Certification, error) {
	if ak.tpm != t || k.tpm != t {
		return nil, fmt.Errorf("%w: a key is in another TPM", ErrOptions)
	}
	if len(extraData) > maxExtraData {
		return nil, fmt.Errorf("%w: extraData is longer than %d bytes", ErrOptions, maxExtraData)
	}
	return run(ctx, t, func(s *session) (*Certification, error) {
		r, err := s.certify(&k.key, &ak.key, extraData)
		if err != nil {
			return nil, fmt.Errorf("tpm: certify: %w", err)
		}
		return &Certification{
			Key: k.public, Parent: ak.parentName,
			Statement: r.CertifyInfo.Bytes(), Signature: tpm2.Marshal(r.Signature),
		}, nil
	})
}

// Verify checks a certification by the attestation key with the given public area,
// which the caller trusts, and returns the certified key. An error is an
// [*evidence.Error].
func (c *Certification) Verify(akPublicArea, extraData []byte) (crypto.PublicKey, error) {
	ak, err := parsePublic(akPublicArea)
	if err != nil {
		return nil, format("attestation key", err)
	}
	key, err := parsePublic(c.Key)
	if err != nil {
		return nil, format("certified key", err)
	}
	s, err := parseStatement(c.Statement)
	if err != nil {
		return nil, format("certification", err)
	}
	sig, err := parseSignature(c.Signature)
	if err != nil {
		return nil, format("signature of the certification", err)
	}
	if !ak.restricted() {
		return nil, untrusted("attestation key", ErrNotRestricted)
	}
	if err := sig.verify(ak, c.Statement); err != nil {
		return nil, unsigned("certification", err)
	}
	switch {
	case s.typ != tpm2.TPMSTAttestCertify:
		return nil, unsigned("certification", ErrType)
	case !bytes.Equal(s.signer, signerName(c.Parent, ak.name)):
		return nil, unsigned("certification", ErrSigner)
	case !bytes.Equal(s.extraData, extraData):
		return nil, unsigned("certification", evidence.ErrBinder)
	case !bytes.Equal(s.name, key.name):
		return nil, unsigned("certified key", ErrName)
	case !key.bornInside():
		return nil, untrusted("certified key", ErrKeyMovable)
	}
	return key.key, nil
}

// AKInfo is what a CA needs to know of an attestation key.
type AKInfo struct {
	Name   []byte // its Name, which becomes the subject key identifier
	Public crypto.PublicKey
}

// CheckAK reads the public area of a key that is to be certified as an attestation
// key. An error is an [*evidence.Error].
func CheckAK(publicArea []byte) (*AKInfo, error) {
	p, err := parsePublic(publicArea)
	switch {
	case err != nil:
		return nil, format("attestation key", err)
	case !p.restricted():
		return nil, untrusted("attestation key", ErrNotRestricted)
	case !p.bornInside():
		return nil, untrusted("attestation key", ErrAKMovable)
	}
	return &AKInfo{Name: p.name, Public: p.key}, nil
}
