package sevsnp

import (
	"bytes"
	"crypto/x509"
	"time"

	"github.com/google/go-sev-guest/abi"

	"github.com/expat-go/expat/evidence"
)

func signatureError() error {
	return &evidence.Error{Reason: evidence.ErrSignature, Step: "report", Err: errSignature}
}

// store is what the relying party knows before any Evidence arrives. A
// certificate in it is not trusted for that: roots are.
type store struct {
	endorsements map[endorsementKey]*x509.Certificate
	authorities  []*x509.Certificate
}

// endorsementKey finds the certificate of the key that signed a report.
type endorsementKey struct {
	signer abi.ReportSigner
	chip   string
	tcb    TCB
}

func (s *store) add(c *x509.Certificate) error {
	signer, ok := signers[c.Subject.CommonName]
	if !ok {
		s.authorities = append(s.authorities, c)
		return nil
	}
	e, err := readEndorsement(c, signer)
	if err != nil {
		return err
	}
	s.endorsements[endorsementKey{signer, string(e.hwid), e.tcb}] = c
	return nil
}

// signers are the names of the signing keys' certificates (AMD 57230, VCEK
// Certificate and KDS Interface Specification).
var signers = map[string]abi.ReportSigner{"SEV-VCEK": abi.VcekReportSigner, "SEV-VLEK": abi.VlekReportSigner}

// find returns the certificate of the key that signed the report.
func (s *store) find(p *parsed) (*x509.Certificate, bool) {
	key := endorsementKey{p.signer.SigningKey, "", TCB(p.report.ReportedTcb)}
	if key.signer == abi.VcekReportSigner {
		key.chip = string(p.report.ChipId)
	}
	c, ok := s.endorsements[key]
	return c, ok
}

// build leads the signing key's certificate to a root. Certificates of the
// Evidence, and those of the store, only complete the way: it ends at an ARK that
// is itself in roots, and the library then verifies every step.
func (s *store) build(leaf *x509.Certificate, sent []*x509.Certificate, roots *x509.CertPool, now time.Time) (*chain, error) {
	const step = "certificate chain"
	for _, ask := range issuers(leaf, sent, s.authorities) {
		for _, ark := range issuers(ask, sent, s.authorities) {
			line, named := arkLine(ark)
			if !named || !contains(roots, ark, now) {
				continue
			}
			c := &chain{line: line, leaf: leaf, ask: ask, ark: ark}
			if !c.valid(now) {
				return nil, untrusted(step, ErrExpired)
			}
			return c, nil
		}
	}
	return nil, untrusted(step, ErrForeignRoot)
}

// issuers lists the certificates that may have issued c, those sent first.
func issuers(c *x509.Certificate, lists ...[]*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, list := range lists {
		for _, a := range list {
			if bytes.Equal(a.RawSubject, c.RawIssuer) {
				out = append(out, a)
			}
		}
	}
	return out
}

// arkLine is the product line in the name of an AMD root key.
func arkLine(c *x509.Certificate) (string, bool) {
	const prefix = "ARK-"
	name := c.Subject.CommonName
	if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
		return "", false
	}
	return name[len(prefix):], true
}

// contains tells whether c itself is in roots, not only issued by one that is.
// crypto/x509 answers for such a certificate with a chain of one, without
// looking at its signature.
func contains(roots *x509.CertPool, c *x509.Certificate, now time.Time) bool {
	at := now
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		at = c.NotBefore // expiry has its own error, and is checked next
	}
	chains, err := c.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err == nil && len(chains) == 1 && len(chains[0]) == 1 && chains[0][0].Equal(c)
}

func (c *chain) all() []*x509.Certificate { return []*x509.Certificate{c.leaf, c.ask, c.ark} }

func (c *chain) valid(now time.Time) bool {
	for _, cert := range c.all() {
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return false
		}
	}
	return true
}

// notAfter is when the first certificate ends.
func (c *chain) notAfter() time.Time {
	end := c.leaf.NotAfter
	for _, cert := range c.all() {
		if cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end
}
