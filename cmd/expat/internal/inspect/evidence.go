package inspect

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
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
	name, about string
	// describe shows every field of Evidence, unverified.
	describe  func(value []byte) (*Report, error)
	extractor evidence.Extractor
	roots     *x509.CertPool
	begins    func([]byte) bool // tells Evidence, or a raw report, by how it begins
	// wrap puts a raw report into the Evidence format. Nil: there is none, and the
	// roots are not those of a maker that is known here.
	wrap func([]byte) []byte
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
	out := []platform{
		{
			name:     "a simulated TEE",
			about:    "A token (EAT, RFC 9711) in which a simulated TEE describes itself, for tests. It proves nothing about hardware.",
			describe: simulatedReport, extractor: simulated.Extractor{}, roots: roots, begins: beginsToken,
		},
		{
			name:     "a TPM 2.0",
			about:    "What a TPM says of the boot of its machine (quote) and of a key that it holds (certification), signed by its attestation key.",
			describe: tpmReport, extractor: tpm.Extractor{}, roots: roots, begins: beginsTPM,
		},
	}
	if x, err := sevsnp.New(sevsnp.Options{Policy: sevsnp.Policy{AcceptVulnerableFirmware: true}, AcceptRevoked: true}); err == nil {
		out = append(out, platform{
			name:     "AMD SEV-SNP",
			about:    "What the firmware of an AMD processor says of one SEV-SNP guest: what was launched, under which policy, on which chip.",
			describe: snpReport, extractor: x, roots: sevsnp.AMDRoots(), begins: beginsSNP, wrap: wrapReport,
		})
	}
	if x, err := tdx.New(tdx.Options{AcceptUnknownTCB: true}); err == nil {
		out = append(out, platform{
			name:     "Intel TDX",
			about:    "What the TDX module and the quoting enclave say of one trust domain: what was launched, what it has measured since, on which platform.",
			describe: tdxReport, extractor: x, roots: tdx.IntelRoots(), begins: beginsTDX, wrap: wrapQuote,
		})
	}
	return out
}

func beginsToken(b []byte) bool { return b[0] == 0xd2 } // COSE_Sign1, tag 18

// beginsTPM tells a map of 9 or 10 items, from key 1.
func beginsTPM(b []byte) bool { return len(b) > 1 && (b[0] == 0xa9 || b[0] == 0xaa) && b[1] == 1 }

// message12 tells a map of one item or two whose first is a long byte string.
func message12(b []byte) bool {
	return len(b) > 9 && (b[0] == 0xa1 || b[0] == 0xa2) && b[1] == 1 && b[2] == 0x59
}

func beginsSNP(b []byte) bool {
	raw := len(b) == snpReportSize && b[0] > 0 && bytes.Equal(b[1:4], []byte{0, 0, 0}) // version
	return raw || (message12(b) && b[3] == snpReportSize>>8 && b[4] == snpReportSize&0xff)
}

func beginsTDX(b []byte) bool {
	return (len(b) >= 4 && tdxQuote[string(b[:4])]) || (message12(b) && tdxQuote[string(b[5:9])])
}

// wrapReport makes Evidence of a raw report of SEV-SNP.
func wrapReport(b []byte) []byte {
	if b[0] == 0xa1 || b[0] == 0xa2 {
		return b
	}
	return wrap(b)
}

// wrapQuote makes Evidence of a raw quote of TDX, after which kernels leave the rest
// of their buffer.
func wrapQuote(b []byte) []byte {
	if b[0] == 0xa1 || b[0] == 0xa2 {
		return b
	}
	return wrap(tdx.TrimQuote(b))
}

// wrap makes Evidence of a raw report, without certificates or collateral.
func wrap(raw []byte) []byte {
	wrapped, err := cbor.Marshal(map[int][]byte{1: raw})
	if err != nil {
		return raw
	}
	return wrapped
}

// inspect reads Evidence or a raw report.
func (p platform) inspect(ctx context.Context, b []byte, at time.Time) (*Report, error) {
	value := b
	if p.wrap != nil {
		value = p.wrap(b)
	}
	r, err := p.read(ctx, value, at)
	if err != nil {
		return nil, &MalformedError{"Evidence of " + p.name, err}
	}
	r.Size = len(b)
	return r, nil
}

// read shows what Evidence says, and then whether its signature leads to a root.
func (p platform) read(ctx context.Context, value []byte, at time.Time) (*Report, error) {
	r, err := p.describe(value)
	if err != nil {
		return nil, err
	}
	r.Kind, r.About, r.Size = "Evidence of "+p.name, p.about, len(value)
	claims, err := p.extractor.Extract(ctx, p.extractor.MediaTypes()[0], value, p.roots, at)
	if err != nil {
		r.add("signature", "not shown to be good: %v", err)
		switch {
		case p.wrap == nil:
			r.add("hint", "give the roots of its maker with --root, and a time at which they held with --at")
		case errors.Is(err, sevsnp.ErrExpired), errors.Is(err, tdx.ErrExpired):
			r.add("hint", "give a time at which its certificates were valid with --at")
		}
		return r, nil
	}
	r.Note = NothingVerified + " " + signedOnly
	r.add("signature", "leads to a root, at the time given")
	r.add("signer", "certificate %x, key %x", claims.Signer.Serial, claims.Signer.KeyID)
	if !claims.Signer.NotAfter.IsZero() {
		r.add("signer ends", "%s", claims.Signer.NotAfter.UTC().Format(time.RFC3339))
	}
	r.add("bound by", "%v", claims.Form)
	r.add("debug", "%v", claims.Debug)
	r.add("key", "%v", claims.Key)
	for _, f := range claims.Findings {
		r.add("finding", "%s: want %s, got %s", f.Check, f.Want, f.Got)
	}
	return r, nil
}
