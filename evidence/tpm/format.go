package tpm

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// MediaType is the type of the Evidence.
const MediaType = "application/vnd.expat-go.tpm2+cbor"

// Limits on the Evidence, checked before it is decoded, or before what they bound
// is looked at. Together they fit a cmw_attestation extension, where the log does.
const (
	maxEvidence    = 64 << 10 // bytes
	maxChain       = 5
	maxCertificate = 4 << 10  // bytes
	maxEventLog    = 48 << 10 // bytes
	maxName        = 66       // bytes: an algorithm and SHA-512
)

// report is the Evidence as docs/evidence/tpm.md specifies it.
type report struct {
	AK               []byte   `cbor:"1,keyasint"` // TPMT_PUBLIC
	Parent           []byte   `cbor:"2,keyasint"` // Name of the primary above AK
	Chain            [][]byte `cbor:"3,keyasint"`
	Key              []byte   `cbor:"4,keyasint"` // TPMT_PUBLIC
	Certify          []byte   `cbor:"5,keyasint"` // TPMS_ATTEST
	CertifySignature []byte   `cbor:"6,keyasint"` // TPMT_SIGNATURE
	Quote            []byte   `cbor:"7,keyasint"` // TPMS_ATTEST
	QuoteSignature   []byte   `cbor:"8,keyasint"` // TPMT_SIGNATURE
	PCRs             [][]byte `cbor:"9,keyasint"` // in the order of the quote
	EventLog         []byte   `cbor:"10,keyasint,omitempty"`
}

// decoder reads the envelope, in which the PCR values are the longest list.
var decoder = detcbor.NewDecoder(pcrCount)

// decodeReport reads the envelope, and nothing that is in it.
func decodeReport(b []byte) (*report, error) {
	if len(b) == 0 || len(b) > maxEvidence {
		return nil, fmt.Errorf("it is not 1 to %d bytes", maxEvidence)
	}
	r := new(report)
	if err := decoder.Decode(b, r); err != nil {
		return nil, err
	}
	switch {
	case len(r.Chain) == 0:
		return nil, ErrNoCertificate
	case len(r.Chain) > maxChain:
		return nil, fmt.Errorf("it has more than %d certificates", maxChain)
	case len(r.PCRs) == 0:
		return nil, errors.New("it has no PCR values")
	case len(r.Parent) > maxName:
		return nil, fmt.Errorf("the parent's Name is longer than %d bytes", maxName)
	case len(r.EventLog) > maxEventLog:
		return nil, fmt.Errorf("the event log is larger than %d bytes", maxEventLog)
	}
	for _, der := range r.Chain {
		if len(der) > maxCertificate {
			return nil, fmt.Errorf("a certificate is larger than %d bytes", maxCertificate)
		}
	}
	return r, nil
}

// parsedReport is a report and what is parsed of it. Nothing in it is verified.
type parsedReport struct {
	*report
	ak, key                          *publicArea
	certify, quote                   *statement
	certifySignature, quoteSignature *signature
	chain                            []*x509.Certificate // attestation key first
	log                              *eventLog           // nil if there is none
}

// parse reads Evidence. All errors wrap evidence.ErrFormat.
func parse(b []byte) (*parsedReport, error) {
	r, err := decodeReport(b)
	if err != nil {
		return nil, format("CBOR", err)
	}
	p := &parsedReport{report: r}
	for _, step := range []struct {
		name string
		read func() error
	}{
		{"attestation key", func() (err error) { p.ak, err = parsePublic(r.AK); return }},
		{"certified key", func() (err error) { p.key, err = parsePublic(r.Key); return }},
		{"certification", func() (err error) { p.certify, err = parseStatement(r.Certify); return }},
		{"signature of the certification", func() (err error) { p.certifySignature, err = parseSignature(r.CertifySignature); return }},
		{"quote", func() (err error) { p.quote, err = parseStatement(r.Quote); return }},
		{"signature of the quote", func() (err error) { p.quoteSignature, err = parseSignature(r.QuoteSignature); return }},
		{"event log", func() (err error) { p.log, err = parseEventLog(r.EventLog); return }},
		{"certificates", p.parseChain},
	} {
		if err := step.read(); err != nil {
			return nil, format(step.name, err)
		}
	}
	return p, nil
}

func (p *parsedReport) parseChain() error {
	for _, der := range p.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return errors.New("a certificate cannot be parsed")
		}
		p.chain = append(p.chain, c)
	}
	return nil
}

func format(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrFormat, Step: step, Err: err}
}

func untrusted(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrChain, Step: step, Err: err}
}

func unsigned(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrSignature, Step: step, Err: err}
}
