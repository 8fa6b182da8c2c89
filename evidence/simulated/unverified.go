package simulated

import (
	"bytes"
	"crypto/x509"

	"github.com/expat-go/expat/evidence"
)

// Unverified is what a token says. Nothing in it is checked: anyone can have made it.
// It is for people who look at Evidence, and for nothing that decides.
type Unverified struct {
	Algorithm    string // of the signature: "ES256"
	Certificates []*x509.Certificate
	Signature    []byte // 64 bytes

	// The claims, by their names in RFC 9711.
	Nonce           []byte // eat_nonce: the binder
	UEID            []byte
	OEMID           []byte // 16 bytes
	HardwareModel   []byte // hwmodel, nil if not stated
	Debug           evidence.DebugState
	Profile         string // eat_profile
	SoftwareName    string // swname, "" if not stated
	SoftwareVersion string // swversion, "" if not stated
	Measurements    []evidence.Measurement
	// And those of the profile.
	KeyHash    []byte // 32 or 48 bytes
	Provenance evidence.KeyProvenance
}

// ParseUnverified reads a token and checks only its form: sizes, encoding, the profile
// and the bounds of the claims. It verifies nothing. The error is that of
// [Extractor.Extract], an [*evidence.Error] that wraps evidence.ErrFormat.
func ParseUnverified(value []byte) (*Unverified, error) {
	t, err := parse(value)
	if err != nil {
		return nil, err
	}
	c := t.result(t.chain[0].NotAfter)
	u := &Unverified{
		Algorithm: "ES256", Certificates: t.chain, Signature: bytes.Clone(t.envelope.Signature),
		Nonce: c.Binder, UEID: c.Instance, OEMID: c.Vendor, HardwareModel: c.HardwareModel, Debug: c.Debug,
		Profile: t.claims.Profile, Measurements: c.Measurements, KeyHash: c.KeyHash, Provenance: c.Key,
	}
	for _, s := range c.Software {
		u.SoftwareName, u.SoftwareVersion = s.Name, s.Version
	}
	return u, nil
}
