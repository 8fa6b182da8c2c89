package corim

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Limits on x5chain, checked before a certificate is parsed.
const (
	maxChain       = 6
	maxCertificate = 16 << 10 // bytes
)

// verifyChain checks the certificates of x5chain (RFC 9360, Section 2), which may
// stand in either header: the roots vouch for them. It returns the signer's, and
// when the first of the chain ends.
func verifyChain(h *header, unprotected map[any]cbor.RawMessage, roots *x509.CertPool, now time.Time) (*x509.Certificate, time.Time, error) {
	raw, outside := h.X5Chain, unprotected[uint64(cose.HeaderLabelX5Chain)]
	if len(raw) > 0 && len(outside) > 0 {
		return nil, time.Time{}, fail(ErrFormat, "x5chain", "it stands in both headers")
	}
	if len(raw) == 0 {
		raw = outside
	}
	if len(raw) == 0 {
		return nil, time.Time{}, fail(ErrSigner, "x5chain", "the CoRIM has no certificate; set Keys instead of Roots")
	}
	chain, err := parseChain(raw)
	if err != nil {
		return nil, time.Time{}, err
	}
	leaf := chain[0]
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, time.Time{}, failed(chainReason(err, now), "x5chain", err)
	}
	if leaf.IsCA || (leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0) {
		return nil, time.Time{}, fail(ErrSigner, "x5chain", "the first certificate is not one for signatures")
	}
	return leaf, pathsEnd(paths), nil
}

func chainReason(err error, now time.Time) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return ErrSigner
	}
	if now.Before(invalid.Cert.NotBefore) {
		return ErrNotYetValid
	}
	return ErrExpired
}

func parseChain(raw cbor.RawMessage) ([]*x509.Certificate, error) {
	list := [][]byte{nil}
	var into any = &list[0]
	if majorType(raw) == majorArray {
		into = &list
	}
	if err := decode("x5chain", raw, into); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxChain {
		return nil, fail(ErrFormat, "x5chain", fmt.Sprintf("it has %d certificates, 1 to %d are accepted", len(list), maxChain))
	}
	var chain []*x509.Certificate
	for _, der := range list {
		if len(der) > maxCertificate {
			return nil, fail(ErrFormat, "x5chain", fmt.Sprintf("a certificate has more than %d bytes", maxCertificate))
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, failed(ErrFormat, "x5chain", err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// pathsEnd is when the path that holds longest ends.
func pathsEnd(paths [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, path := range paths {
		var end time.Time
		for _, cert := range path {
			end = earlier(end, cert.NotAfter)
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}
