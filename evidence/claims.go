package evidence

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
)

// BindingForm says in which form Evidence carries what it is bound to
// (draft-fossati-seat-expat, Section 5). The zero form is invalid.
type BindingForm uint8

const (
	// BinderAndKeyHash: the binder and the key hash, each in a field of its own.
	BinderAndKeyHash BindingForm = iota + 1
	// ReportData: a field of 64 bytes that commits to both, see
	// [attestation.Binding.ReportData].
	ReportData
	// CertifiedKey: the binder in a field of its own, and the key itself, which
	// the platform certified. That says more than its hash would.
	CertifiedKey
)

func (f BindingForm) String() string {
	switch f {
	case BinderAndKeyHash:
		return "binder and key hash"
	case ReportData:
		return "report data"
	case CertifiedKey:
		return "binder and certified key"
	}
	return fmt.Sprintf("binding form %d", uint8(f))
}

// Software is a named piece of software as the Evidence describes it. A
// description is weaker than a [Measurement] of the same software.
type Software struct {
	Name    string
	Version string // "" if not stated
}

// Measurement is the digest of one measured component.
type Measurement struct {
	Name      string
	Version   string // "" if not stated
	Algorithm string // name in the IANA Named Information Hash Algorithm Registry, such as "sha-256"
	Digest    []byte
}

// Signer tells which key signed the Evidence.
type Signer struct {
	Serial []byte // serial number of its certificate, big-endian
	KeyID  []byte // SHA-256 of its SubjectPublicKeyInfo in DER
	// NotAfter is when the first certificate of the verified chain ends; zero
	// if the platform has no such time.
	NotAfter time.Time
}

// Claims is what Evidence says, once its signature and chain are verified. Only
// an [Extractor] makes Claims of a peer. Every field comes from signed bytes or
// from the verified chain, never from an envelope around them.
type Claims struct {
	Platform string // which kind of attesting environment, such as "simulated"

	Form       BindingForm
	Binder     []byte // with BinderAndKeyHash and CertifiedKey
	KeyHash    []byte // with BinderAndKeyHash
	ReportData []byte // with ReportData
	SPKI       []byte // with CertifiedKey: SubjectPublicKeyInfo in DER

	Instance      []byte // identifier of this one device, nil if not stated
	Vendor        []byte // identifier of its manufacturer, nil if not stated
	HardwareModel []byte // nil if not stated
	Debug         DebugState
	Software      []Software
	Measurements  []Measurement
	Key           KeyProvenance
	Signer        Signer

	// Findings is what the platform's own policy, handed to its [Extractor],
	// found wrong. Claims with any are to be refused.
	Findings []Finding
}

// Bound compares what the Evidence carries with b, in constant time. The error
// wraps [ErrBinder], [ErrKeyHash] or [ErrKey], both of a form, [ErrReportData] or
// [ErrForm].
func (c *Claims) Bound(b attestation.Binding) error {
	switch c.Form {
	case BinderAndKeyHash:
		var binder, key error
		if !b.MatchBinder(c.Binder) {
			binder = ErrBinder
		}
		if !b.MatchKeyHash(c.KeyHash) {
			key = ErrKeyHash
		}
		return errors.Join(binder, key)
	case ReportData:
		if !b.MatchReportData(c.ReportData) {
			return ErrReportData
		}
		return nil
	case CertifiedKey:
		var binder, key error
		if !b.MatchBinder(c.Binder) {
			binder = ErrBinder
		}
		if !b.MatchKey(c.SPKI) {
			key = ErrKey
		}
		return errors.Join(binder, key)
	}
	return fmt.Errorf("%w: %v", ErrForm, c.Form)
}

// Map is a summary for logs and Attestation Results that encoding/json can
// encode. Bytes are in hex; claims that are not stated are left out. It holds
// neither Evidence nor what the Evidence is bound to.
func (c *Claims) Map() map[string]any {
	m := map[string]any{"platform": c.Platform, "debug": c.Debug.String(), "key": c.Key.String()}
	for name, value := range map[string][]byte{
		"instance": c.Instance, "vendor": c.Vendor, "hardware-model": c.HardwareModel,
		"signer-serial": c.Signer.Serial, "signer-key-id": c.Signer.KeyID,
	} {
		if len(value) > 0 {
			m[name] = hex.EncodeToString(value)
		}
	}
	if !c.Signer.NotAfter.IsZero() {
		m["signer-not-after"] = c.Signer.NotAfter.UTC().Format(time.RFC3339)
	}
	if len(c.Software) > 0 {
		m["software"] = softwareList(c.Software)
	}
	if len(c.Measurements) > 0 {
		m["measurements"] = measurementList(c.Measurements)
	}
	return m
}

func softwareList(software []Software) []any {
	list := make([]any, 0, len(software))
	for _, s := range software {
		entry := map[string]any{"name": s.Name}
		if s.Version != "" {
			entry["version"] = s.Version
		}
		list = append(list, entry)
	}
	return list
}

func measurementList(measurements []Measurement) []any {
	list := make([]any, 0, len(measurements))
	for _, m := range measurements {
		entry := map[string]any{"name": m.Name, "algorithm": m.Algorithm, "digest": hex.EncodeToString(m.Digest)}
		if m.Version != "" {
			entry["version"] = m.Version
		}
		list = append(list, entry)
	}
	return list
}
