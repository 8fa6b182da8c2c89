package tpm

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// signTimeout bounds Sign, which has no context, with the time it waits for its turn.
const signTimeout = 30 * time.Second

// Sign signs a digest in the TPM: ECDSA with the hash of the key, ASN.1 encoded, or
// RSA-PSS with a salt as long as the hash. Other schemes are [ErrOptions]. The
// randomness is the TPM's. Sign waits 30 seconds at most.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), signTimeout)
	defer cancel()
	return k.SignContext(ctx, digest, opts)
}

// SignContext is Sign with a context.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	scheme, err := k.signScheme(digest, opts)
	if err != nil {
		return nil, fmt.Errorf("tpm: sign: %w", err)
	}
	sig, err := run(ctx, k.tpm, func(s *session) (*tpm2.TPMTSignature, error) {
		h, err := s.load(&k.key)
		if err != nil {
			return nil, err
		}
		r, err := tpm2.Sign{
			KeyHandle:  h,
			Digest:     tpm2.TPM2BDigest{Buffer: digest},
			InScheme:   scheme,
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		return &r.Signature, nil
	})
	if err != nil {
		return nil, fmt.Errorf("tpm: sign: %w", err)
	}
	return encodeSignature(sig)
}

// signScheme is the scheme that TPM2_Sign is to use; TPM_ALG_NULL means the key's.
func (k *Key) signScheme(digest []byte, opts crypto.SignerOpts) (tpm2.TPMTSigScheme, error) {
	own := tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}
	hash := opts.HashFunc()
	id, ok := hashID(hash)
	if !ok || len(digest) != hash.Size() {
		return own, fmt.Errorf("%w: the digest is not one of SHA-256, SHA-384 or SHA-512", ErrOptions)
	}
	if k.area.scheme != tpm2.TPMAlgNull {
		if k.area.scheme != tpm2.TPMAlgECDSA || hash != k.area.schemeHash {
			return own, fmt.Errorf("%w: this key signs with ECDSA and %v", ErrOptions, k.area.schemeHash)
		}
		return own, nil
	}
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok || (pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != hash.Size()) {
		return own, fmt.Errorf("%w: this key signs with RSA-PSS, with a salt as long as the hash", ErrOptions)
	}
	return tpm2.TPMTSigScheme{
		Scheme:  tpm2.TPMAlgRSAPSS,
		Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgRSAPSS, &tpm2.TPMSSchemeHash{HashAlg: id}),
	}, nil
}

// encodeSignature turns a signature of the TPM into the form of crypto.Signer.
func encodeSignature(sig *tpm2.TPMTSignature) ([]byte, error) {
	if sig.SigAlg == tpm2.TPMAlgECDSA {
		e, err := sig.Signature.ECDSA()
		if err != nil {
			return nil, fmt.Errorf("tpm: sign: %w", err)
		}
		return asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(e.SignatureR.Buffer), new(big.Int).SetBytes(e.SignatureS.Buffer),
		})
	}
	p, err := sig.Signature.RSAPSS()
	if err != nil {
		return nil, fmt.Errorf("tpm: sign: %w", err)
	}
	return p.Sig.Buffer, nil
}
