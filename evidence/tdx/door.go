package tdx

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"time"

	"github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	"github.com/google/go-tdx-guest/verify"

	"github.com/expat-go/expat/evidence"
)

// This file is the one door through which remote bytes reach go-tdx-guest, after
// their sizes were checked. Nothing of the library's error texts leaves it: they
// quote the Evidence.

// guard calls f and turns a panic into ErrLibrary.
func guard(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = ErrLibrary
		}
	}()
	return f()
}

// parsed is a quote in the library's form, with what its PCK certificate says.
type parsed struct {
	*quote
	proto    any
	chain    *verify.PCKCertificateChain
	platform *pcs.PckExtensions
	fmspc    []byte // model of the platform, 6 bytes
	ppid     []byte // the platform, 16 bytes
}

// parse reads a quote. The library verifies signatures over an encoding of what
// it read; a quote that this encoding does not give back byte by byte is refused.
func parse(raw []byte) (*parsed, error) {
	q, err := parseQuote(raw)
	if err != nil {
		return nil, err
	}
	p := &parsed{quote: q}
	err = guard(func() error {
		var err error
		if p.proto, err = abi.QuoteToProto(raw); err != nil {
			return ErrQuote
		}
		again, err := abi.QuoteToAbiBytes(p.proto)
		if err != nil || !bytes.Equal(again, raw) {
			return ErrQuote
		}
		if p.chain, err = verify.ExtractChainFromQuote(p.proto); err != nil {
			return ErrQuote
		}
		if p.platform, err = pcs.PckCertificateExtensions(p.chain.PCKCertificate); err != nil {
			return ErrQuote
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var errs [2]error
	p.fmspc, errs[0] = hex.DecodeString(p.platform.FMSPC)
	p.ppid, errs[1] = hex.DecodeString(p.platform.PPID)
	if errs[0] != nil || errs[1] != nil || len(p.fmspc) == 0 || len(p.ppid) == 0 {
		return nil, ErrQuote
	}
	return p, nil
}

// certificates of the quote, the platform's first.
func (p *parsed) certificates() []*x509.Certificate {
	return []*x509.Certificate{p.chain.PCKCertificate, p.chain.IntermediateCertificate, p.chain.RootCertificate}
}

// verify checks the chain to roots, the signatures, and the collateral unless it
// is nil, at the time now, which is not zero.
func (p *parsed) verify(c *collateral, roots *x509.CertPool, now time.Time) error {
	err := p.call(c, roots, now)
	if err == nil {
		return nil
	}
	if err == ErrLibrary {
		return format("quote", err)
	}
	// The library does not say what failed. It verifies the chain first.
	if c != nil && p.call(nil, roots, now) == nil {
		return untrusted("collateral", errCollateral)
	}
	leaf := p.chain.PCKCertificate
	intermediates := x509.NewCertPool()
	intermediates.AddCert(p.chain.IntermediateCertificate)
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return untrusted("certificate chain", ErrForeignRoot)
	}
	if p.profile() {
		return &evidence.Error{Reason: evidence.ErrSignature, Step: "quote", Err: errSignature}
	}
	return untrusted("certificate chain", errChain)
}

// profile tells whether the certificates have the names that the library wants.
func (p *parsed) profile() bool {
	names := []string{"Intel SGX PCK Certificate", "Intel SGX PCK Platform CA", "Intel SGX Root CA"}
	for i, c := range p.certificates() {
		if c.Subject.CommonName != names[i] || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			return false
		}
	}
	return p.chain.RootCertificate.CheckSignatureFrom(p.chain.RootCertificate) == nil &&
		p.chain.IntermediateCertificate.CheckSignatureFrom(p.chain.RootCertificate) == nil
}

func (p *parsed) call(c *collateral, roots *x509.CertPool, now time.Time) error {
	o := &verify.Options{
		TrustedRoots: roots,
		Getter:       noNetwork{},
		Now:          &verify.TimeSet{PckCertChain: now, TcbInfo: now, QeIdentity: now, PckCrl: now, RootCaCrl: now},
	}
	if c != nil {
		o.GetCollateral, o.CheckRevocations = true, true
		o.Getter = &shelf{c, p}
	}
	return guard(func() error { return verify.TdxQuote(p.proto, o) })
}

// noNetwork makes sure that a call meant to be offline is.
type noNetwork struct{}

func (noNetwork) Get(string) (map[string][]string, []byte, error) { return nil, nil, ErrNoCollateral }
