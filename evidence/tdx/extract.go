package tdx

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/fetch"
)

// Platform is the platform in the [evidence.Claims] of a trust domain.
const Platform = "tdx"

// MeasurementTD is the name of MRTD, the measurement of what a domain was built
// from. RTMR 0 to 3, which software extends as it runs, are "rtmr0" to "rtmr3".
const MeasurementTD = "mrtd"

// SoftwareModule is the name under which [evidence.Claims] states the version of
// the TDX module: its major version and its security version, the bytes 1 and 0 of
// TEE_TCB_SVN.
const SoftwareModule = "tdx-module"

// quotingEnclave is what identifies Intel's quoting enclave for TDX: MRSIGNER and
// ISVPRODID. They are checked also where no collateral is: a host can have its own
// enclave certified by the same chain.
var quotingEnclave = []byte{
	0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
	0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
}

const quotingEnclaveID = 2

// Options describe an [Extractor].
type Options struct {
	// Policy judges what only this platform has.
	Policy Policy
	// Collateral by platform model, such as [LoadCollateral] reads from a
	// directory. It goes before what comes with the Evidence.
	Collateral []*Collateral
	// AcceptUnknownTCB accepts quotes for which there is no collateral: nobody
	// says then that the platform's firmware is without known holes, nor that
	// its key was not revoked. Collateral that is there must be good.
	AcceptUnknownTCB bool
	// FetchFromIntel asks Intel where there is no other collateral: Intel learns
	// which models of platform are looked at. Nil: no network.
	FetchFromIntel *fetch.Fetcher
}

// Extractor reads Evidence of trust domains. It is safe for concurrent use, and
// reaches for no network but with [Options.FetchFromIntel].
type Extractor struct {
	policy     Policy
	collateral map[string]*collateral // by FMSPC, lower-case hex
	unknownTCB bool
	fetch      *fetch.Fetcher
}

var _ evidence.Extractor = (*Extractor)(nil)

// New makes an Extractor. The error wraps [ErrOptions] and lists everything that
// is wrong.
func New(o Options) (*Extractor, error) {
	x := &Extractor{policy: o.Policy.clone(), collateral: make(map[string]*collateral), unknownTCB: o.AcceptUnknownTCB, fetch: o.FetchFromIntel}
	wrong := []error{o.Policy.check()}
	for i, c := range o.Collateral {
		if c == nil {
			wrong = append(wrong, fmt.Errorf("option Collateral[%d] is nil", i))
			continue
		}
		p, err := c.parse()
		if err != nil {
			wrong = append(wrong, fmt.Errorf("option Collateral[%d]: %w", i, err))
			continue
		}
		model := strings.ToLower(p.info.Fmspc)
		if x.collateral[model] != nil {
			wrong = append(wrong, fmt.Errorf("option Collateral[%d]: there is other collateral for the same platform", i))
		}
		x.collateral[model] = p
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return x, nil
}

// MediaTypes holds [MediaType].
func (*Extractor) MediaTypes() []string { return []string{MediaType} }

// Extract checks a quote as [evidence.Extractor] says. The roots are Intel's SGX
// root, such as [IntelRoots].
func (x *Extractor) Extract(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := evidence.CheckRoots(roots); err != nil {
		return nil, err
	}
	if mediaType != MediaType && !cmw.SameMediaType(mediaType, MediaType) {
		return nil, format("media type", errors.New("it is another"))
	}
	m, err := parseMessage(value)
	if err != nil {
		return nil, err
	}
	p, err := parse(m.Quote)
	if err != nil {
		return nil, format("quote", err)
	}
	if now.IsZero() { // crypto/x509 would take the time of day
		return nil, untrusted("certificate chain", errors.New("the time is not known"))
	}
	c, err := x.find(ctx, p, m.Collateral, roots, now)
	if err != nil {
		return nil, err
	}
	if err := x.verify(p, c, roots, now); err != nil {
		return nil, err
	}
	out := p.claims()
	out.Findings = x.policy.judge(p.quote)
	return out, nil
}

// find chooses the collateral, nil if there is none and none is needed.
func (x *Extractor) find(ctx context.Context, p *parsed, sent *Collateral, roots *x509.CertPool, now time.Time) (*collateral, error) {
	if c := x.collateral[hex.EncodeToString(p.fmspc)]; c != nil {
		return c, nil
	}
	if sent != nil {
		c, err := sent.parse()
		if err != nil {
			return nil, format("collateral", err)
		}
		return c, nil
	}
	if x.fetch != nil {
		// Only who has a platform of Intel's can make us ask.
		if err := x.verify(p, nil, roots, now); err != nil {
			return nil, err
		}
		return x.fetchCollateral(ctx, hex.EncodeToString(p.fmspc))
	}
	if x.unknownTCB {
		return nil, nil
	}
	return nil, untrusted("collateral", ErrNoCollateral)
}

func (x *Extractor) verify(p *parsed, c *collateral, roots *x509.CertPool, now time.Time) error {
	for _, cert := range p.certificates() {
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return untrusted("certificate chain", ErrExpired)
		}
	}
	if !bytes.Equal(p.qeMRSigner(), quotingEnclave) || p.qeProdID() != quotingEnclaveID || p.qeDebug() {
		return untrusted("quoting enclave", ErrQuotingEnclave)
	}
	if c != nil {
		if err := c.check(p, now); err != nil {
			return untrusted("collateral", err)
		}
	}
	return p.verify(c, roots, now)
}

// claims states what the quote says in the common vocabulary.
func (p *parsed) claims() *evidence.Claims {
	leaf, svn := p.chain.PCKCertificate, p.teeTCBSVN()
	keyID := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	end := leaf.NotAfter
	for _, c := range p.certificates() {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	out := &evidence.Claims{
		Platform:      Platform,
		Form:          evidence.ReportData,
		ReportData:    p.reportData(),
		Instance:      p.ppid,
		HardwareModel: p.fmspc,
		Debug:         evidence.DebugDisabledSinceBoot, // ATTRIBUTES are fixed when a domain is built
		Software:      []evidence.Software{{Name: SoftwareModule, Version: fmt.Sprintf("%d.%d", svn[1], svn[0])}},
		Measurements:  []evidence.Measurement{{Name: MeasurementTD, Algorithm: "sha-384", Digest: p.mrTD()}},
		Key:           evidence.KeyNamedBySoftware,
		Signer:        evidence.Signer{Serial: leaf.SerialNumber.Bytes(), KeyID: keyID[:], NotAfter: end},
	}
	for i := range 4 {
		out.Measurements = append(out.Measurements, evidence.Measurement{
			Name: fmt.Sprintf("rtmr%d", i), Algorithm: "sha-384", Digest: p.rtmr(i),
		})
	}
	if p.attributes()&attributesUnsafe != 0 {
		out.Debug = evidence.DebugEnabled
	}
	return out
}
