package tpm

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/expat-go/expat/evidence"
)

// Object identifiers of the TCG and of X.509.
var (
	// OIDAKCertificate is the extended key usage of a certificate for an
	// attestation key (tcg-kp-AIKCertificate).
	OIDAKCertificate = asn1.ObjectIdentifier{2, 23, 133, 8, 3}
	// OIDEKCertificate is that for an endorsement key (tcg-kp-EKCertificate).
	OIDEKCertificate = asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	// OIDSubjectAltName is the extension that names a TPM's maker and model.
	OIDSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

	oidManufacturer = asn1.ObjectIdentifier{2, 23, 133, 2, 1}
	oidModel        = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
)

// signer is what the certificates say about the attestation key and its TPM.
type signer struct {
	instance, manufacturer, model []byte
	notAfter                      time.Time // first end of a certificate of the chain
}

// checkSigner leads the attestation key to one of the roots. That the key is
// restricted is known because the CA certified its Name, which covers attributes.
func (p *parsedReport) checkSigner(known *evidence.Chains, roots *x509.CertPool, now time.Time) (*signer, error) {
	const step = "attestation key"
	switch {
	case !p.ak.restricted():
		return nil, untrusted(step, ErrNotRestricted)
	case !p.ak.bornInside():
		return nil, untrusted(step, ErrAKMovable)
	}
	s, err := p.checkCertificate()
	if err != nil {
		return nil, untrusted("certificate of the attestation key", err)
	}
	if s.notAfter, err = p.checkChain(known, roots, now); err != nil {
		return nil, untrusted("certificate chain", err)
	}
	return s, nil
}

// checkCertificate compares the first certificate with the attestation key.
func (p *parsedReport) checkCertificate() (*signer, error) {
	c := p.chain[0]
	switch {
	case !bytes.Equal(c.RawSubjectPublicKeyInfo, p.ak.spki):
		return nil, fmt.Errorf("%w: it is for another key", ErrAKCertificate)
	case !bytes.Equal(c.SubjectKeyId, p.ak.name):
		return nil, fmt.Errorf("%w: its subject key identifier is not the key's Name", ErrAKCertificate)
	case !slices.ContainsFunc(c.UnknownExtKeyUsage, OIDAKCertificate.Equal):
		return nil, fmt.Errorf("%w: its extended key usage is not tcg-kp-AIKCertificate", ErrAKCertificate)
	case c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature:
		return nil, fmt.Errorf("%w: it is not for signing alone", ErrAKCertificate)
	}
	s := new(signer)
	var err error
	if s.instance, err = instanceOf(c); err != nil {
		return nil, err
	}
	s.manufacturer, s.model, err = deviceNames(c)
	return s, err
}

// checkChain returns when the first certificate on the way to the root ends. The
// extended key usage of the first was checked.
func (p *parsedReport) checkChain(known *evidence.Chains, roots *x509.CertPool, now time.Time) (time.Time, error) {
	if now.IsZero() { // crypto/x509 would take the time of day
		return time.Time{}, errors.New("the time is not known")
	}
	_, notAfter, err := known.Verify(p.chain, roots, now)
	return notAfter, err
}

// deviceNames reads manufacturer and model of the TPM out of the subject
// alternative name (TCG EK Credential Profile). A certificate without
// one states neither.
func deviceNames(c *x509.Certificate) (manufacturer, model []byte, err error) {
	malformed := fmt.Errorf("%w: its subject alternative name is malformed", ErrAKCertificate)
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(OIDSubjectAltName) {
			continue
		}
		der := cryptobyte.String(ext.Value)
		var names cryptobyte.String
		if !der.ReadASN1(&names, cbasn1.SEQUENCE) || !der.Empty() {
			return nil, nil, malformed
		}
		for !names.Empty() {
			var name cryptobyte.String
			var tag cbasn1.Tag
			if !names.ReadAnyASN1(&name, &tag) {
				return nil, nil, malformed
			}
			if tag != cbasn1.Tag(4).Constructed().ContextSpecific() {
				continue
			}
			var rdn pkix.RDNSequence
			if rest, err := asn1.Unmarshal(name, &rdn); err != nil || len(rest) != 0 {
				return nil, nil, malformed
			}
			for _, a := range slices.Concat(rdn...) {
				text, _ := a.Value.(string)
				switch {
				case a.Type.Equal(oidManufacturer):
					manufacturer = []byte(text)
				case a.Type.Equal(oidModel):
					model = []byte(text)
				}
			}
		}
	}
	return manufacturer, model, nil
}
