package sevsnp

import (
	"bytes"
	"crypto/x509"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
)

// This file is the one door through which remote bytes reach go-sev-guest, after
// their sizes were checked. Nothing of the library's error texts leaves it: they
// quote the report.

// guard calls f and turns a panic into ErrLibrary.
func guard(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = ErrLibrary
		}
	}()
	return f()
}

// parsed is a report that keeps every rule of the ABI. Nothing in it is verified.
type parsed struct {
	raw    []byte
	report *spb.Report
	signer abi.SignerInfo
	policy abi.SnpPolicy
	info   uint64 // PLATFORM_INFO
}

// parseReport reads a report of reportSize bytes. The library verifies the
// signature over an encoding of what it read; a report that this encoding does
// not give back byte by byte is refused.
func parseReport(raw []byte) (*parsed, error) {
	p := &parsed{raw: raw}
	err := guard(func() error {
		if err := abi.ValidateReportFormat(raw); err != nil {
			return ErrReport
		}
		var err error
		if p.report, err = abi.ReportToProto(raw); err != nil {
			return ErrReport
		}
		again, err := abi.ReportToAbiBytes(p.report)
		if err != nil || !bytes.Equal(again, raw) || len(p.report.ReportData) != reportDataSize {
			return ErrReport
		}
		if p.signer, err = abi.ParseSignerInfo(p.report.SignerInfo); err != nil {
			return ErrReport
		}
		if p.policy, err = abi.ParseSnpPolicy(p.report.Policy); err != nil {
			return ErrReport
		}
		p.info = p.report.PlatformInfo
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.signer.SigningKey != abi.VcekReportSigner && p.signer.SigningKey != abi.VlekReportSigner {
		return nil, ErrNotSigned
	}
	return p, nil
}

// endorsement is what AMD certified of the signing key.
type endorsement struct {
	line string // product line, such as "Milan"
	hwid []byte // chip, nil with a VLEK
	tcb  TCB
}

// readEndorsement reads AMD's extensions of a VCEK or VLEK certificate.
func readEndorsement(leaf *x509.Certificate, signer abi.ReportSigner) (e endorsement, err error) {
	err = guard(func() error {
		exts, err := kds.CertificateExtensions(leaf, signer)
		if err != nil {
			return errChain
		}
		product, err := kds.ParseProductName(exts.ProductName, signer)
		if err != nil {
			return errChain
		}
		e = endorsement{line: kds.ProductLine(product), hwid: exts.HWID, tcb: TCB(exts.TCBVersion)}
		return nil
	})
	return e, err
}

// lineOf is the product line that the report itself states since version 3, and
// "" before.
func (p *parsed) lineOf() (line string, err error) {
	if p.report.Cpuid1EaxFms == 0 {
		return "", nil
	}
	err = guard(func() error { line = kds.ProductLineFromFms(p.report.Cpuid1EaxFms); return nil })
	return line, err
}

// chain is one way from the signing key to a trusted root.
type chain struct {
	line           string
	leaf, ask, ark *x509.Certificate
}

// verify checks the chain by AMD's profile and the report's signature at the time
// now, which is not zero. The roots of the call are those of c and no others.
func (p *parsed) verify(c *chain, now time.Time) (reason error) {
	root := trust.AMDRootCertsProduct(c.line)
	root.ProductCerts = &trust.ProductCerts{Ark: c.ark, Ask: c.ask, Asvk: c.ask}
	certs := &spb.CertificateChain{}
	if p.signer.SigningKey == abi.VcekReportSigner {
		certs.VcekCert = c.leaf.Raw
	} else {
		certs.VlekCert = c.leaf.Raw
	}
	err := guard(func() error {
		return verify.SnpAttestation(&spb.Attestation{Report: p.report, CertificateChain: certs}, &verify.Options{
			DisableCertFetching: true,
			Getter:              noNetwork{},
			Now:                 now,
			TrustedRoots:        map[string][]*trust.AMDRootCerts{c.line: {root}},
		})
	})
	switch {
	case err == nil:
		return nil
	case err == ErrLibrary:
		return format("report", err)
	}
	// The library does not say which of the two it was.
	if guard(func() error { return verify.SnpReportSignature(p.raw, c.leaf) }) != nil {
		return signatureError()
	}
	return untrusted("certificate chain", errChain)
}

// noNetwork makes sure that a call meant to be offline is.
type noNetwork struct{}

func (noNetwork) Get(string) ([]byte, error) { return nil, ErrNoCertificate }
