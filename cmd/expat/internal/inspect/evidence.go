package inspect

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/evidence/tdx"
	"github.com/expat-go/expat/evidence/tpm"
)

// platform reads the Evidence of one platform.
type platform struct {
	name      string
	extractor evidence.Extractor
	roots     *x509.CertPool
	wrap      func([]byte) [][]byte // puts a raw report into the Evidence format
}

// snpReportSize is the size of an attestation report of the SEV-SNP ABI, in bytes.
const snpReportSize = 0x4a0

// tdxQuote is how quotes of TDX begin: version 4 or 5, attestation key type 2.
var tdxQuote = map[string]bool{"\x04\x00\x02\x00": true, "\x05\x00\x02\x00": true}

// platforms are those that can be told by their form. Policies accept all that can
// be accepted: what is found wrong is shown.
func platforms(o Options) []platform {
	roots := x509.NewCertPool()
	for _, c := range o.Roots {
		roots.AddCert(c)
	}
	if len(o.Roots) == 0 {
		roots = sevsnp.AMDRoots() // of no use to the others, which must have some
	}
	same := func(b []byte) [][]byte { return [][]byte{b} }
	out := []platform{
		{"simulated TEE: EAT", simulated.Extractor{}, roots, same},
		{"TPM 2.0", tpm.Extractor{}, roots, same},
	}
	if x, err := sevsnp.New(sevsnp.Options{Policy: sevsnp.Policy{AcceptVulnerableFirmware: true}, AcceptRevoked: true}); err == nil {
		out = append(out, platform{"AMD SEV-SNP", x, sevsnp.AMDRoots(), func(b []byte) [][]byte {
			if len(b) != snpReportSize {
				return same(b)
			}
			return [][]byte{wrap(b)}
		}})
	}
	if x, err := tdx.New(tdx.Options{AcceptUnknownTCB: true}); err == nil {
		out = append(out, platform{"Intel TDX", x, tdx.IntelRoots(), func(b []byte) [][]byte {
			if len(b) < 4 || !tdxQuote[string(b[:4])] {
				return same(b)
			}
			// The kernel pads quotes with zeros, of which one may belong to the quote.
			bare := bytes.TrimRight(b, "\x00")
			return [][]byte{wrap(b), wrap(bare), wrap(append(bytes.Clone(bare), 0))}
		}})
	}
	return out
}

// wrap makes Evidence of a raw report, without certificates or collateral.
func wrap(raw []byte) []byte {
	wrapped, err := cbor.Marshal(map[int][]byte{1: raw})
	if err != nil {
		return raw
	}
	return wrapped
}

// inspect shows the claims of Evidence, nil if it is not of the platform's form.
func (p platform) inspect(ctx context.Context, value []byte, at time.Time) *Report {
	claims, err := p.extractor.Extract(ctx, p.extractor.MediaTypes()[0], value, p.roots, at)
	if errors.Is(err, evidence.ErrFormat) || ctx.Err() != nil {
		return nil
	}
	r := &Report{Kind: "Evidence of " + p.name, Note: NothingVerified, Size: len(value)}
	if err != nil {
		r.add("form", "good")
		r.add("claims", "not shown: %v", err)
		r.add("hint", "give the roots of its maker with --root, and a time at which it was valid with --at")
		return r
	}
	r.Note = NothingVerified + " " + signedOnly
	r.claims(claims)
	return r
}

func (r *Report) claims(c *evidence.Claims) {
	r.add("platform", "%s", c.Platform)
	r.add("bound by", "%v", c.Form)
	for _, f := range []struct {
		name  string
		value []byte
	}{
		{"binder", c.Binder}, {"key hash", c.KeyHash}, {"report data", c.ReportData}, {"certified key", c.SPKI},
		{"instance", c.Instance}, {"vendor", c.Vendor}, {"hardware model", c.HardwareModel},
	} {
		if len(f.value) > 0 {
			r.add(f.name, "%x", f.value)
		}
	}
	r.add("debug", "%v", c.Debug)
	r.add("key", "%v", c.Key)
	for _, s := range c.Software {
		r.add("software", "%s %s", s.Name, s.Version)
	}
	for _, m := range c.Measurements {
		r.add("measurement", "%s %s %x", m.Name, m.Algorithm, m.Digest)
	}
	r.add("signer", "certificate %x, key %x", c.Signer.Serial, c.Signer.KeyID)
	if !c.Signer.NotAfter.IsZero() {
		r.add("signer ends", "%s", c.Signer.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, f := range c.Findings {
		r.add("finding", "%s", fmt.Sprintf("%s: want %s, got %s", f.Check, f.Want, f.Got))
	}
}
