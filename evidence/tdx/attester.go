package tdx

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-configfs-tsm/configfs/configfsi"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/detcbor"
	"github.com/expat-go/expat/internal/tsm"
)

// provider is the kernel's name for its TDX driver.
const provider = "tdx_guest"

// ErrCollect: the quote is not one about this request.
var ErrCollect = errors.New("tdx: the quote is not the one asked for")

// AttesterOptions describe an [Attester].
type AttesterOptions struct {
	// Client reads configfs-tsm. Nil: that of this machine.
	Client configfsi.Client
	// Collateral is sent with each quote. Nil: the relying party needs its own.
	Collateral *Collateral
}

// Attester answers a Binding with a quote. It is safe for concurrent use.
type Attester struct {
	client     configfsi.Client
	collateral *Collateral
}

var _ attestation.Attester = (*Attester)(nil)

// NewAttester makes an Attester. The error wraps [ErrOptions], or says that this
// machine has no configfs-tsm.
func NewAttester(o AttesterOptions) (*Attester, error) {
	if o.Collateral != nil {
		if _, err := o.Collateral.parse(); err != nil {
			return nil, fmt.Errorf("%w: Collateral: %w", ErrOptions, err)
		}
	}
	if o.Client == nil {
		c, err := tsm.Open()
		if err != nil {
			return nil, fmt.Errorf("tdx: %w", err)
		}
		o.Client = c
	}
	return &Attester{client: o.Client, collateral: o.Collateral}, nil
}

// MediaTypes holds [MediaType].
func (a *Attester) MediaTypes() []string { return []string{MediaType} }

// Attest has the platform sign a quote for b. The error wraps [ErrCollect] if it
// is about something else, and [attestation.ErrMediaType] if [MediaType] is not
// accepted.
func (a *Attester) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if len(attestation.Common(a.MediaTypes(), accept)) == 0 {
		return nil, fmt.Errorf("tdx: %w", attestation.ErrMediaType)
	}
	if !b.Valid() {
		return nil, fmt.Errorf("tdx: %w: the zero Binding", attestation.ErrMisuse)
	}
	data := b.ReportData()
	r, err := tsm.Collect(ctx, a.client, tsm.Request{Provider: provider, ReportData: data})
	if err != nil {
		return nil, fmt.Errorf("tdx: %w", err)
	}
	raw := TrimQuote(r.Out)
	q, err := parseQuote(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCollect, err)
	}
	if !bytes.Equal(q.reportData(), data[:]) {
		return nil, fmt.Errorf("%w: it carries other report data", ErrCollect)
	}
	value, err := detcbor.Encode(&message{Quote: raw, Collateral: a.collateral})
	if err != nil {
		return nil, fmt.Errorf("tdx: encode: %w", err)
	}
	return cmw.NewRecord(MediaType, value, cmw.Evidence)
}
