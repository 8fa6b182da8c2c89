package sevsnp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-sev-guest/abi"

	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/fetch"
)

// Platform is the platform in the [evidence.Claims] of an SEV-SNP guest.
const Platform = "sev-snp"

// MeasurementLaunch is the name of the one measurement: MEASUREMENT, the SHA-384
// launch digest of the guest.
const MeasurementLaunch = "launch"

// SoftwareFirmware is the name under which [evidence.Claims] states the current
// version of the SEV firmware, as major.minor.build.
const SoftwareFirmware = "sev-firmware"

// Options describe an [Extractor].
type Options struct {
	// Policy judges what only this platform has. Required.
	Policy Policy
	// Certificates complete what comes with the Evidence: VCEKs, VLEKs, ASKs
	// and ARKs, such as [LoadCertificates] reads from a directory. AMD's own
	// ASKs and ARKs need not be among them. None of them is trusted for being
	// here.
	Certificates []*x509.Certificate
	// RevocationLists are those of the ARKs, and of ASKs if there are any. A list
	// of the chain's ARK must then hold at the time of the check. Either
	// RevocationLists or AcceptRevoked is required, unless lists are fetched.
	RevocationLists []*x509.RevocationList
	// AcceptRevoked looks at no revocation list: a signing key that AMD has
	// withdrawn makes good Evidence.
	AcceptRevoked bool
	// FetchFromAMD asks AMD for the certificate of a chip that neither comes
	// with the Evidence nor is among Certificates, and for the revocation list
	// unless RevocationLists or AcceptRevoked is set: AMD learns which chips are
	// looked at. Nil: no network.
	FetchFromAMD *fetch.Fetcher
}

// Extractor reads Evidence of SEV-SNP guests. It is safe for concurrent use, and
// reaches for no network but with [Options.FetchFromAMD].
type Extractor struct {
	policy  Policy
	store   store
	revoked *revocations   // nil with AcceptRevoked, and where lists are fetched
	trusts  bool           // AcceptRevoked
	fetch   *fetch.Fetcher // nil: no network
}

var _ evidence.Extractor = (*Extractor)(nil)

// New makes an Extractor. The error wraps [ErrOptions] and lists everything that
// is to be set.
func New(o Options) (*Extractor, error) {
	x := &Extractor{policy: o.Policy.clone(), trusts: o.AcceptRevoked, fetch: o.FetchFromAMD, store: store{endorsements: make(map[endorsementKey]*x509.Certificate)}}
	wrong := []error{o.Policy.check()}
	lists := len(o.RevocationLists) > 0
	if lists == o.AcceptRevoked && (lists || o.FetchFromAMD == nil) {
		wrong = append(wrong, errors.New("set either RevocationLists or AcceptRevoked"))
	}
	for i, c := range o.Certificates {
		if c == nil || x.store.add(c) != nil {
			wrong = append(wrong, fmt.Errorf("option Certificates[%d] is nil, or a VCEK or VLEK against AMD's profile", i))
		}
	}
	x.store.authorities = append(x.store.authorities, amdAuthorities()...)
	if lists {
		var err error
		if x.revoked, err = newRevocations(o.RevocationLists); err != nil {
			wrong = append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return x, nil
}

// MediaTypes holds [MediaType].
func (*Extractor) MediaTypes() []string { return []string{MediaType} }

// Extract checks a report as [evidence.Extractor] says. The roots are ARKs, such
// as [AMDRoots].
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
	m, sent, err := parseMessage(value)
	if err != nil {
		return nil, err
	}
	p, err := parseReport(m.Report)
	if err != nil {
		return nil, format("report", err)
	}
	if now.IsZero() { // the library would take the time of day
		return nil, untrusted("certificate chain", errors.New("the time is not known"))
	}
	leaf, err := x.leaf(ctx, p, sent)
	if err != nil {
		return nil, err
	}
	return x.extract(ctx, p, leaf, sent, roots, now)
}

// leaf is the certificate of the signing key: the first that was sent, or one of
// the store, or AMD's.
func (x *Extractor) leaf(ctx context.Context, p *parsed, sent []*x509.Certificate) (*x509.Certificate, error) {
	if len(sent) > 0 {
		return sent[0], nil
	}
	if c, ok := x.store.find(p); ok {
		return c, nil
	}
	if x.fetch != nil {
		return x.fetchLeaf(ctx, p)
	}
	return nil, untrusted("certificate chain", ErrNoCertificate)
}

// extract verifies a report with the certificate of its signing key.
func (x *Extractor) extract(ctx context.Context, p *parsed, leaf *x509.Certificate, sent []*x509.Certificate, roots *x509.CertPool, now time.Time) (*evidence.Claims, error) {
	c, err := x.store.build(leaf, sent, roots, now)
	if err != nil {
		return nil, err
	}
	if err := p.verify(c, now); err != nil {
		return nil, err
	}
	if err := x.revocation(ctx, c, now); err != nil {
		return nil, err
	}
	e, err := readEndorsement(leaf, p.signer.SigningKey)
	if err != nil {
		return nil, untrusted("certificate chain", err)
	}
	if err := p.sameDevice(e, c); err != nil {
		return nil, untrusted("certificate chain", err)
	}
	out := p.claims(e, c)
	out.Findings = x.policy.judge(p, c.line)
	return out, nil
}

// revocation looks at the lists, unless the options say that there are none.
func (x *Extractor) revocation(ctx context.Context, c *chain, now time.Time) error {
	lists := x.revoked
	if lists == nil {
		if x.trusts {
			return nil
		}
		var err error
		if lists, err = x.fetchRevocations(ctx, c.line); err != nil {
			return err
		}
	}
	return lists.check(c, now)
}

// sameDevice compares what AMD certified of the signing key with what the report
// says. A host that hides the chip leaves zeros in the report.
func (p *parsed) sameDevice(e endorsement, c *chain) error {
	line, err := p.lineOf()
	switch {
	case err != nil:
		return err
	case e.tcb != TCB(p.report.ReportedTcb):
		return ErrOtherDevice
	case line != "" && line != c.line, line == "" && e.line != c.line:
		return ErrOtherDevice
	case e.hwid != nil && p.chipShown() && !bytes.Equal(e.hwid, p.report.ChipId):
		return ErrOtherDevice
	}
	return nil
}

func (p *parsed) chipShown() bool {
	return !bytes.Equal(p.report.ChipId, make([]byte, abi.ChipIDSize))
}

// claims states what the report says in the common vocabulary.
func (p *parsed) claims(e endorsement, c *chain) *evidence.Claims {
	r := p.report
	keyID := sha256.Sum256(c.leaf.RawSubjectPublicKeyInfo)
	out := &evidence.Claims{
		Platform:      Platform,
		Form:          evidence.ReportData,
		ReportData:    r.ReportData,
		Instance:      e.hwid,
		HardwareModel: []byte(c.line),
		Debug:         evidence.DebugDisabledSinceBoot, // POLICY is fixed at launch
		Software: []evidence.Software{{
			Name: SoftwareFirmware, Version: fmt.Sprintf("%d.%d.%d", r.CurrentMajor, r.CurrentMinor, r.CurrentBuild),
		}},
		Measurements: []evidence.Measurement{{Name: MeasurementLaunch, Algorithm: "sha-384", Digest: r.Measurement}},
		Key:          evidence.KeyNamedBySoftware,
		Signer:       evidence.Signer{Serial: c.leaf.SerialNumber.Bytes(), KeyID: keyID[:], NotAfter: c.notAfter()},
	}
	if out.Instance == nil && p.chipShown() {
		out.Instance = r.ChipId // signed by firmware, with a key that is not the chip's
	}
	if p.policy.Debug {
		out.Debug = evidence.DebugEnabled
	}
	return out
}
