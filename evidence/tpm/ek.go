package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrNoEK: the TPM has no endorsement key with a certificate of a known template.
var ErrNoEK = errors.New("tpm: no certificate for an endorsement key of template L-1 (RSA 2048), L-2 (ECC P-256) or H-3 (ECC P-384)")

// EK is the endorsement key, which tells one TPM from all others. It decrypts, and
// never signs.
type EK struct {
	// Certificate is the manufacturer's, in DER.
	Certificate []byte
	place       ekPlace
	name        []byte
}

// ekPlace is where a TPM has an endorsement key (TCG EK Credential
// Profile).
type ekPlace struct {
	index    tpm2.TPMHandle // NV index of the certificate
	handle   tpm2.TPMHandle // of the key, where it is persistent
	template *tpm2.TPMTPublic
}

// ekPlaces are tried in this order.
var ekPlaces = []ekPlace{
	{0x01c00002, 0x81010001, &tpm2.RSAEKTemplate},
	{0x01c0000a, 0x81010002, &tpm2.ECCEKTemplate},
	{0x01c00016, 0x81010016, &p384EKTemplate},
}

// EndorsementKey finds the endorsement key and its certificate in the TPM. The
// error wraps [ErrNoEK] if there is none.
func (t *TPM) EndorsementKey(ctx context.Context) (*EK, error) {
	ek, err := run(ctx, t, func(s *session) (*EK, error) {
		for _, place := range ekPlaces {
			cert, err := s.readCertificate(place.index)
			if err != nil {
				return nil, err
			}
			if cert != nil {
				return s.endorsementKey(place, cert)
			}
		}
		return nil, ErrNoEK
	})
	if err != nil {
		return nil, fmt.Errorf("tpm: endorsement key: %w", err)
	}
	return ek, nil
}

// endorsementKey checks that the certificate is that of the key in its place.
func (s *session) endorsementKey(place ekPlace, cert []byte) (*EK, error) {
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("%w: its certificate cannot be parsed", ErrNoEK)
	}
	area, err := EKPublicArea(c.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoEK, err)
	}
	name, err := tpm2.ObjectName(area)
	if err != nil {
		return nil, err
	}
	ek := &EK{Certificate: cert, place: place, name: name.Buffer}
	_, flush, err := s.loadEK(ek)
	if err != nil {
		return nil, err
	}
	flush()
	return ek, nil
}

// EKPublicArea is the public area of an endorsement key of the standard templates,
// made of its public key alone.
func EKPublicArea(pub crypto.PublicKey) (*tpm2.TPMTPublic, error) {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() == 2048 && key.E == defaultExponent {
			area := tpm2.RSAEKTemplate
			area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()})
			return &area, nil
		}
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err == nil && key.Curve == elliptic.P256() {
			area := tpm2.ECCEKTemplate
			area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
			})
			return &area, nil
		}
		if err == nil && key.Curve == elliptic.P384() {
			area := p384EKTemplate
			area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: point[1:49]}, Y: tpm2.TPM2BECCParameter{Buffer: point[49:]},
			})
			return &area, nil
		}
	}
	return nil, errors.New("the key is neither RSA 2048 nor on P-256 or P-384")
}

// loadEK finds the key where it is persistent, or makes it anew from the TPM's seed.
func (s *session) loadEK(ek *EK) (tpm2.TPMHandle, func(), error) {
	r, err := tpm2.ReadPublic{ObjectHandle: ek.place.handle}.Execute(s)
	if err == nil && bytes.Equal(r.Name.Buffer, ek.name) {
		return ek.place.handle, func() {}, nil
	}
	p, err := roomFor(s, func() (*tpm2.CreatePrimaryResponse, error) {
		return tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(s.t.options.EndorsementAuth)},
			InPublic:      tpm2.New2B(*ek.place.template),
		}.Execute(s)
	})
	if err != nil {
		return 0, nil, err
	}
	s.t.ours[string(p.Name.Buffer)] = true
	flush := func() { s.flush(p.ObjectHandle) }
	if !bytes.Equal(p.Name.Buffer, ek.name) {
		flush()
		return 0, nil, fmt.Errorf("%w: the certificate is for another key", ErrNoEK)
	}
	return p.ObjectHandle, flush, nil
}

// ActivateCredential opens what a CA has encrypted for the endorsement key and for
// an attestation key beside it: the TPM does so only if both are its own.
// credential is the contents of a TPM2B_ID_OBJECT, secret of a
// TPM2B_ENCRYPTED_SECRET.
func (t *TPM) ActivateCredential(ctx context.Context, ek *EK, ak *AK, credential, secret []byte) ([]byte, error) {
	opened, err := run(ctx, t, func(s *session) ([]byte, error) {
		activate, err := s.load(&ak.key)
		if err != nil {
			return nil, err
		}
		handle, flush, err := s.loadEK(ek)
		if err != nil {
			return nil, err
		}
		defer flush()
		auth, end, err := s.endorsementAuth(ek)
		if err != nil {
			return nil, err
		}
		defer end()
		r, err := tpm2.ActivateCredential{
			ActivateHandle: activate,
			KeyHandle:      tpm2.AuthHandle{Handle: handle, Name: tpm2.TPM2BName{Buffer: ek.name}, Auth: auth},
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: credential},
			Secret:         tpm2.TPM2BEncryptedSecret{Buffer: secret},
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		return r.CertInfo.Buffer, nil
	})
	if err != nil {
		return nil, fmt.Errorf("tpm: activate credential: %w", err)
	}
	return opened, nil
}

// endorsementAuth is what the key's template demands for its use: a policy, or, as
// all high-range templates, the key's authorization value, which is empty.
func (s *session) endorsementAuth(ek *EK) (tpm2.Session, func(), error) {
	if ek.place.template.ObjectAttributes.UserWithAuth {
		return tpm2.PasswordAuth(nil), func() {}, nil
	}
	return s.endorsementPolicy()
}

// endorsementPolicy starts the session that the templates demand: PolicySecret with
// the authorization of the endorsement hierarchy. It is started by hand, because
// go-tpm leaves a session of its own behind where the policy fails.
func (s *session) endorsementPolicy() (tpm2.Session, func(), error) {
	policy, end, err := tpm2.PolicySession(s.cleanup(), tpm2.TPMAlgSHA256, 16)
	if err != nil {
		return nil, nil, err
	}
	flush := func() {
		if end() != nil {
			s.t.orphans = append(s.t.orphans, policy.Handle())
		}
	}
	_, err = tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(s.t.options.EndorsementAuth)},
		PolicySession: policy.Handle(),
		NonceTPM:      policy.NonceTPM(),
	}.Execute(s)
	if err != nil {
		flush()
		return nil, nil, err
	}
	return policy, flush, nil
}

// nvBlock is how many bytes of an NV index are read at a time.
const nvBlock = 512

// readCertificate reads the certificate in an NV index, nil if there is no index.
func (s *session) readCertificate(index tpm2.TPMHandle) ([]byte, error) {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(s)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	area, err := public.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	if area.DataSize > maxCertificate {
		return nil, fmt.Errorf("%w: its certificate is larger than %d bytes", ErrNoEK, maxCertificate)
	}
	var der []byte
	for len(der) < int(area.DataSize) {
		r, err := tpm2.NVRead{
			AuthHandle: authorized(index, public.NVName, nil),
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       min(nvBlock, area.DataSize-uint16(len(der))),
			Offset:     uint16(len(der)),
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		if len(r.Data.Buffer) == 0 {
			break
		}
		der = append(der, r.Data.Buffer...)
	}
	return firstElement(der)
}

// firstElement cuts off the padding that some manufacturers leave after the
// certificate.
func firstElement(b []byte) ([]byte, error) {
	s := cryptobyte.String(b)
	var der cryptobyte.String
	if !s.ReadASN1Element(&der, cbasn1.SEQUENCE) {
		return nil, fmt.Errorf("%w: its certificate is not DER", ErrNoEK)
	}
	return der, nil
}
