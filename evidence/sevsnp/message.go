package sevsnp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// MediaType is the type of the Evidence: a report with the certificates of the
// key that signed it.
const MediaType = "application/vnd.expat-go.sev-snp+cbor"

// Sizes of the Evidence in bytes, checked before anything is decoded.
const (
	reportSize      = 0x4a0 // ATTESTATION_REPORT, SEV-SNP Firmware ABI, Table "ATTESTATION_REPORT Structure"
	reportDataSize  = 64
	maxCertificates = 4
	maxCertificate  = 4 << 10
	maxMessage      = reportSize + maxCertificates*maxCertificate + 64
)

// message is the Evidence on the wire.
type message struct {
	Report       []byte   `cbor:"1,keyasint"`
	Certificates [][]byte `cbor:"2,keyasint,omitempty"` // DER, that of the signing key first
}

// decoder reads messages, which have no list of more than a few elements.
var decoder = detcbor.NewDecoder(detcbor.MinElements)

func format(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrFormat, Step: step, Err: err}
}

func untrusted(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrChain, Step: step, Err: err}
}

// parseMessage reads the Evidence and its certificates. It must be the
// deterministic encoding of what was read, which refuses null, arrays of numbers
// and every other second spelling.
func parseMessage(value []byte) (*message, []*x509.Certificate, error) {
	if len(value) == 0 || len(value) > maxMessage {
		return nil, nil, format("size", fmt.Errorf("%w: it is not 1 to %d bytes", ErrSize, maxMessage))
	}
	m := new(message)
	if err := decoder.Decode(value, m); err != nil {
		return nil, nil, format("message", err)
	}
	switch {
	case len(m.Report) != reportSize:
		return nil, nil, format("report", fmt.Errorf("%w: it is not %d bytes", ErrSize, reportSize))
	case len(m.Certificates) > maxCertificates:
		return nil, nil, format("certificates", fmt.Errorf("%w: there are more than %d", ErrSize, maxCertificates))
	}
	certs, err := parseCertificates(m.Certificates)
	if err != nil {
		return nil, nil, format("certificates", err)
	}
	return m, certs, nil
}

// parseCertificates reads certificates in DER. go-sev-guest looks for PEM in what
// it is given before it takes it for DER: a certificate with PEM inside would be
// one certificate here and another one there.
func parseCertificates(list [][]byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, der := range list {
		if len(der) == 0 || len(der) > maxCertificate {
			return nil, fmt.Errorf("%w: one is not 1 to %d bytes", ErrSize, maxCertificate)
		}
		if bytes.Contains(der, []byte("-----BEGIN")) {
			return nil, errors.New("one has PEM inside")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("one cannot be parsed")
		}
		out = append(out, c)
	}
	return out, nil
}
