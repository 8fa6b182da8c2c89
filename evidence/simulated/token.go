package simulated

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/eat"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// profile is the eat_profile claim (RFC 9711, Section 4.3.2).
const profile = "https://github.com/expat-go/expat/profiles/simulated"

// MediaType is the type of the Evidence (RFC 9782).
const MediaType = `application/eat+cwt; eat_profile="` + profile + `"`

// Limits on a token, checked before it is decoded.
const (
	maxToken        = 16 << 10 // bytes
	maxMeasurements = 64
	maxName         = 256 // bytes, of a name or version
)

// formatMeasuredComponent is the CoAP Content-Format of
// application/measured-component+cbor.
const formatMeasuredComponent = 295

// Values of the key provenance claim. 3 is not assigned: the published vectors of the
// profile refuse it.
const (
	keyBornInside      = 1
	keyExternal        = 2
	keyNamedBySoftware = 4 // held elsewhere
)

// provenances are the values in the common vocabulary.
var provenances = map[uint]evidence.KeyProvenance{
	keyBornInside: evidence.KeyBornInside, keyExternal: evidence.KeyExternal, keyNamedBySoftware: evidence.KeyNamedBySoftware,
}

// claims is the claims set of the profile, which has these claims and no other.
// The types are those of veraison/eat, but its Eat is not embedded: that would
// let in every claim it knows, of which submods, exp or cnf would then go
// unappraised, and its cnf is wrong on the wire (COSE_Key.alg under a text
// label). swname and eat_profile are plain strings because eat's types take a
// URI with tag 32 and normalize it.
type claims struct {
	Nonce         eat.Nonce         `cbor:"10,keyasint"`
	UEID          eat.UEID          `cbor:"256,keyasint"`
	OEMID         []byte            `cbor:"258,keyasint"`
	HardwareModel []byte            `cbor:"259,keyasint,omitempty"`
	Debug         *eat.Debug        `cbor:"263,keyasint,omitempty"`
	Profile       string            `cbor:"265,keyasint"`
	SoftwareName  string            `cbor:"270,keyasint,omitempty"`
	Version       *eat.Version      `cbor:"271,keyasint,omitempty"`
	Measurements  []eat.Measurement `cbor:"273,keyasint,omitempty"`
	KeyHash       []byte            `cbor:"-75001,keyasint"`
	Provenance    uint              `cbor:"-75002,keyasint"`
}

// component is a measured-component. veraison/eat has it too, but writes null
// for a version that is absent, which is not the format.
type component struct {
	ID     componentID `cbor:"1,keyasint"`
	Digest digest      `cbor:"2,keyasint"`
}

// digest is [algorithm, value], the algorithm a number of the IANA Named
// Information Hash Algorithm Registry.
type digest struct {
	_         struct{} `cbor:",toarray"`
	Algorithm uint64
	Value     []byte
}

// componentID is [name, ? [version]].
type componentID struct{ name, version string }

// MarshalCBOR leaves an empty version out.
func (id componentID) MarshalCBOR() ([]byte, error) {
	if id.version == "" {
		return detcbor.Encode([]any{id.name})
	}
	return detcbor.Encode([]any{id.name, eat.Version{Version: id.version}})
}

// UnmarshalCBOR reads what MarshalCBOR writes; [decode] makes sure of it.
func (id *componentID) UnmarshalCBOR(data []byte) error {
	var parts []cbor.RawMessage
	if err := decoder.Decode(data, &parts); err != nil {
		return err
	}
	if len(parts) == 0 || len(parts) > 2 {
		return errors.New("component-id has neither 1 nor 2 elements")
	}
	if len(parts) == 2 {
		var v eat.Version
		if err := decoder.Decode(parts[1], &v); err != nil {
			return err
		}
		id.version = v.Version
	}
	return decoder.Decode(parts[0], &id.name)
}

// decoder reads the items of a token.
var decoder = detcbor.NewDecoder(maxMeasurements)

// decode reads data, which must be the deterministic encoding of what was read. That
// refuses an array of one nonce, too.
func decode(data []byte, into any) error {
	err := decoder.Decode(data, into)
	switch {
	case errors.Is(err, detcbor.ErrValue): // the one type that refuses is eat.Nonce
		return errors.New("eat_nonce is missing or not 8 to 64 bytes")
	case errors.Is(err, detcbor.ErrUnknown):
		return errors.New("a key that the profile does not have")
	}
	return err
}

// decodeClaims reads and checks a claims set.
func decodeClaims(payload []byte) (*claims, []evidence.Measurement, error) {
	c := new(claims)
	if err := decode(payload, c); err != nil {
		return nil, nil, err
	}
	switch {
	case c.Profile != profile:
		return nil, nil, errors.New("eat_profile is another")
	case c.Nonce.Len() != 1:
		return nil, nil, errors.New("eat_nonce has more than one value")
	case c.UEID.Validate() != nil:
		return nil, nil, errors.New("ueid is not a RAND, EUI or IMEI of its length")
	case len(c.OEMID) != oemidLen:
		return nil, nil, fmt.Errorf("oemid is not %d bytes", oemidLen)
	case c.HardwareModel != nil && (len(c.HardwareModel) == 0 || len(c.HardwareModel) > 32):
		return nil, nil, errors.New("hwmodel is not 1 to 32 bytes")
	case c.Debug != nil && c.Debug.Validate() != nil:
		return nil, nil, errors.New("dbgstat is not 0 to 4")
	case len(c.SoftwareName) > maxName || (c.Version != nil && !validVersion(c)):
		return nil, nil, errors.New("swname or swversion is too long, has a scheme, or lacks the other")
	case len(c.KeyHash) != 32 && len(c.KeyHash) != 48:
		return nil, nil, errors.New("key hash is not 32 or 48 bytes")
	case provenances[c.Provenance] == evidence.KeyNotStated:
		return nil, nil, errors.New("key provenance is not 1, 2 or 4")
	}
	measured, err := decodeMeasurements(c.Measurements)
	return c, measured, err
}

func validVersion(c *claims) bool {
	return c.SoftwareName != "" && c.Version.Scheme == nil && c.Version.Version != "" && len(c.Version.Version) <= maxName
}

func decodeMeasurements(in []eat.Measurement) ([]evidence.Measurement, error) {
	var out []evidence.Measurement
	seen := make(map[string]bool, len(in))
	for _, m := range in {
		var c component
		if m.Type != formatMeasuredComponent {
			return nil, errors.New("a measurement is no measured component")
		}
		if err := decode(m.Format, &c); err != nil {
			return nil, fmt.Errorf("measured component: %w", err)
		}
		algorithm, known := algorithms[c.Digest.Algorithm]
		switch {
		case c.ID.name == "" || len(c.ID.name) > maxName || len(c.ID.version) > maxName:
			return nil, errors.New("the name or version of a measured component is empty or too long")
		case seen[c.ID.name]:
			return nil, errors.New("two measured components have one name")
		case !known || len(c.Digest.Value) != algorithm.size:
			return nil, errors.New("a digest is of an unknown algorithm or of the wrong length")
		}
		seen[c.ID.name] = true
		out = append(out, evidence.Measurement{
			Name: c.ID.name, Version: c.ID.version, Algorithm: algorithm.name, Digest: c.Digest.Value,
		})
	}
	return out, nil
}

// algorithms are those of the IANA Named Information Hash Algorithm Registry
// that are not truncated, with the size of their digests in bytes.
var algorithms = map[uint64]struct {
	name string
	size int
}{
	1: {"sha-256", 32}, 7: {"sha-384", 48}, 8: {"sha-512", 64},
	10: {"sha3-256", 32}, 11: {"sha3-384", 48}, 12: {"sha3-512", 64},
}

func algorithmID(name string) (uint64, bool) {
	for id, a := range algorithms {
		if a.name == name {
			return id, true
		}
	}
	return 0, false
}

// encodeMeasurements is the inverse of decodeMeasurements.
func encodeMeasurements(in []evidence.Measurement) ([]eat.Measurement, error) {
	var out []eat.Measurement
	for _, m := range in {
		id, ok := algorithmID(m.Algorithm)
		if !ok {
			return nil, fmt.Errorf("measurement %q: unknown algorithm %q", m.Name, m.Algorithm)
		}
		b, err := detcbor.Encode(component{
			ID:     componentID{m.Name, m.Version},
			Digest: digest{Algorithm: id, Value: m.Digest},
		})
		if err != nil {
			return nil, fmt.Errorf("measurement %q: %w", m.Name, err)
		}
		out = append(out, eat.Measurement{Type: formatMeasuredComponent, Format: b})
	}
	return out, nil
}
