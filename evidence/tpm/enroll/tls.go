package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/expat-go/expat/evidence/tpm"
)

// KeyRequest asks for a TLS certificate for a key in a TPM.
type KeyRequest struct {
	CSR           []byte             `json:"csr"` // PKCS #10 in DER, signed by the key
	AK            []byte             `json:"ak"`  // TPMT_PUBLIC of the attestation key
	AKCertificate []byte             `json:"ak_certificate"`
	Certification *tpm.Certification `json:"certification"` // extraData is the SHA-256 of CSR
}

// maxCSR is the largest signing request taken, in bytes.
const maxCSR = 8 << 10

// NewKeyRequest makes a signing request with the TLS key, and has the attestation
// key certify that the TLS key is in its TPM.
func NewKeyRequest(ctx context.Context, t *tpm.TPM, ak *tpm.AK, akCertificate *x509.Certificate, key *tpm.Key) (*KeyRequest, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		SignatureAlgorithm: signatureAlgorithm(key),
	}, key)
	if err != nil {
		return nil, fmt.Errorf("enroll: signing request: %w", err)
	}
	digest := sha256.Sum256(csr)
	certification, err := t.Certify(ctx, ak, key, digest[:])
	if err != nil {
		return nil, err
	}
	return &KeyRequest{CSR: csr, AK: ak.PublicArea(), AKCertificate: akCertificate.Raw, Certification: certification}, nil
}

// signatureAlgorithm is RSA-PSS for RSA keys, which sign nothing else; zero lets
// crypto/x509 choose for ECDSA.
func signatureAlgorithm(key crypto.Signer) x509.SignatureAlgorithm {
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		return x509.SHA256WithRSAPSS
	}
	return x509.UnknownSignatureAlgorithm
}

// IssueTLS certifies the TLS key of a request for server and client authentication
// under the given names, which may be IP addresses: what names a device may have is
// for the caller to know, and those in the request are ignored. tls signs, and is
// another authority than the one for attestation keys. The error wraps [ErrTLSKey]
// or [ErrRequest].
func (c *CA) IssueTLS(tls *Authority, r *KeyRequest, lifetime time.Duration, names ...string) ([]*x509.Certificate, error) {
	if len(names) == 0 || lifetime <= 0 {
		return nil, errors.New("enroll: a TLS certificate needs a name and a lifetime")
	}
	now := c.options.Now()
	csr, err := c.checkKeyRequest(r, now)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, err := tls.issue(template, csr.PublicKey)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{cert, tls.Certificate}, nil
}

// checkKeyRequest proves that the key of a signing request lives beside an
// attestation key that this CA has certified.
func (c *CA) checkKeyRequest(r *KeyRequest, now time.Time) (*x509.CertificateRequest, error) {
	if r == nil || r.Certification == nil || len(r.CSR) > maxCSR || len(r.AKCertificate) > maxCertificate {
		return nil, fmt.Errorf("%w: a part is missing or too large", ErrRequest)
	}
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	ak, err := tpm.CheckAK(r.AK)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLSKey, err)
	}
	cert, err := x509.ParseCertificate(r.AKCertificate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if !slices.ContainsFunc(cert.UnknownExtKeyUsage, tpm.OIDAKCertificate.Equal) || !bytes.Equal(cert.SubjectKeyId, ak.Name) || cert.CheckSignatureFrom(c.options.Authority.Certificate) != nil ||
		now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, fmt.Errorf("%w: the attestation key has no certificate of this CA", ErrTLSKey)
	}
	digest := sha256.Sum256(r.CSR)
	key, err := r.Certification.Verify(r.AK, digest[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLSKey, err)
	}
	if same, ok := key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(csr.PublicKey) {
		return nil, fmt.Errorf("%w: the certified key is not that of the signing request", ErrTLSKey)
	}
	return csr, nil
}
