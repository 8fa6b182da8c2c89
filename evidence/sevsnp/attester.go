package sevsnp

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-configfs-tsm/configfs/configfsi"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/detcbor"
	"github.com/expat-go/expat/internal/tsm"
)

// provider is the kernel's name for its SEV-SNP driver.
const provider = "sev_guest"

// ErrCollect: the firmware's report is not one about this request.
var ErrCollect = errors.New("sevsnp: the report is not the one asked for")

// AttesterOptions describe an [Attester].
type AttesterOptions struct {
	// Client reads configfs-tsm. Nil: that of this machine.
	Client configfsi.Client
	// VMPL is the privilege level to report at, 0 to 3. Nil: the most
	// privileged level that the kernel can use.
	VMPL *uint
	// Certificates are sent where the host supplies none: VCEK or VLEK, ASK and
	// ARK.
	Certificates []*x509.Certificate
}

// Attester answers a Binding with a report of the SEV-SNP firmware. It is safe
// for concurrent use.
type Attester struct {
	client       configfsi.Client
	level        *uint
	certificates []*x509.Certificate
}

var _ attestation.Attester = (*Attester)(nil)

// NewAttester makes an Attester. The error wraps [ErrOptions], or says that this
// machine has no configfs-tsm.
func NewAttester(o AttesterOptions) (*Attester, error) {
	if o.VMPL != nil && *o.VMPL > 3 {
		return nil, fmt.Errorf("%w: VMPL is not 0 to 3", ErrOptions)
	}
	known := store{endorsements: make(map[endorsementKey]*x509.Certificate)}
	for i, c := range o.Certificates {
		if c == nil || known.add(c) != nil {
			return nil, fmt.Errorf("%w: Certificates[%d] is nil, or a VCEK or VLEK against AMD's profile", ErrOptions, i)
		}
	}
	if o.Client == nil {
		c, err := tsm.Open()
		if err != nil {
			return nil, fmt.Errorf("sevsnp: %w", err)
		}
		o.Client = c
	}
	return &Attester{client: o.Client, level: o.VMPL, certificates: slices.Clone(o.Certificates)}, nil
}

// MediaTypes holds [MediaType].
func (a *Attester) MediaTypes() []string { return []string{MediaType} }

// Attest has the firmware sign a report for b. The error wraps [ErrCollect] if it
// is about something else, [ErrCertificates] if the host's certificates are not
// usable, and [attestation.ErrMediaType] if [MediaType] is not accepted. Where
// nobody supplies certificates the report goes without.
func (a *Attester) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if len(attestation.Common(a.MediaTypes(), accept)) == 0 {
		return nil, fmt.Errorf("sevsnp: %w", attestation.ErrMediaType)
	}
	if !b.Valid() {
		return nil, fmt.Errorf("sevsnp: %w: the zero Binding", attestation.ErrMisuse)
	}
	data := b.ReportData()
	r, err := tsm.Collect(ctx, a.client, tsm.Request{Provider: provider, ReportData: data, Level: a.level})
	if err != nil {
		return nil, fmt.Errorf("sevsnp: %w", err)
	}
	if len(r.Out) != reportSize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrCollect, len(r.Out))
	}
	p, err := parseReport(r.Out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCollect, err)
	}
	if !bytes.Equal(p.report.ReportData, data[:]) {
		return nil, fmt.Errorf("%w: it carries other report data", ErrCollect)
	}
	certificates, err := fromTable(r.Aux, p)
	if err != nil {
		return nil, err
	}
	if certificates == nil {
		certificates = forReport(a.certificates, p)
	}
	value, err := detcbor.Encode(&message{Report: r.Out, Certificates: certificates})
	if err != nil {
		return nil, fmt.Errorf("sevsnp: encode: %w", err)
	}
	return cmw.NewRecord(MediaType, value, cmw.Evidence)
}
