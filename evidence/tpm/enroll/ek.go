package enroll

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expat-go/expat/evidence/tpm"
)

// maxCertificate is the largest certificate taken, in bytes.
const maxCertificate = 4 << 10

// verifyEK leads an endorsement key's certificate to a manufacturer's root.
func (c *CA) verifyEK(der []byte, now time.Time) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrEKCertificate, maxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEKCertificate, err)
	}
	switch {
	case cert.IsCA:
		err = errors.New("it is a CA's")
	case !slices.ContainsFunc(cert.UnknownExtKeyUsage, tpm.OIDEKCertificate.Equal):
		err = errors.New("its extended key usage is not tcg-kp-EKCertificate")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEKCertificate, err)
	}
	// The subject alternative name holds only a directory name, and is critical
	// where the subject is empty; crypto/x509 leaves it to us. It identifies the
	// model of the TPM and has no bearing on trust.
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, tpm.OIDSubjectAltName.Equal)
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: c.options.EKRoots, Intermediates: c.options.EKIntermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // ours was checked above
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEKCertificate, err)
	}
	return cert, nil
}
