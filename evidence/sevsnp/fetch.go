package sevsnp

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
)

// fetchLeaf asks AMD for the certificate of the chip that signed the report. That
// of a VLEK only the cloud provider has. An error that is no evidence.Error means
// that no verdict is reached.
func (x *Extractor) fetchLeaf(ctx context.Context, p *parsed) (*x509.Certificate, error) {
	line, err := p.lineOf()
	if err != nil || (line != "Milan" && line != "Genoa") || p.signer.SigningKey != abi.VcekReportSigner || !p.chipShown() {
		return nil, untrusted("certificate chain", ErrNoCertificate)
	}
	a, err := x.fetch.Get(ctx, kds.VCEKCertURL(line, p.report.ChipId, kds.TCBVersion(p.report.ReportedTcb)))
	if err != nil {
		return nil, fmt.Errorf("sevsnp: VCEK certificate: %w", err)
	}
	certs, err := parseCertificates([][]byte{a.Body})
	if err != nil {
		return nil, fmt.Errorf("sevsnp: VCEK certificate: %w", err)
	}
	return certs[0], nil
}

// fetchRevocations asks AMD for the list of a product line's ARK.
func (x *Extractor) fetchRevocations(ctx context.Context, line string) (*revocations, error) {
	a, err := x.fetch.Get(ctx, kds.CrlLinkByRole(line, "ARK"))
	if err != nil {
		return nil, fmt.Errorf("sevsnp: revocation list: %w", err)
	}
	l, err := x509.ParseRevocationList(a.Body)
	if err != nil {
		return nil, fmt.Errorf("sevsnp: revocation list: %w", ErrCertificates)
	}
	r, err := newRevocations([]*x509.RevocationList{l})
	if err != nil {
		return nil, fmt.Errorf("sevsnp: revocation list: %w", err)
	}
	return r, nil
}
