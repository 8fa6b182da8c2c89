package corim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/corim/comid"
	"github.com/veraison/swid"

	"github.com/expat-go/expat/verifier"
)

// measurementMap is the measurement-map (Section 5.1.4.1.4 of the draft).
type measurementMap struct {
	Key          cbor.RawMessage            `cbor:"0,keyasint,omitempty"`
	Values       map[uint64]cbor.RawMessage `cbor:"1,keyasint"`
	AuthorizedBy cbor.RawMessage            `cbor:"2,keyasint,omitempty"`
}

// Fields of the measurement-values-map that a policy can judge.
const (
	fieldVersion   = 0
	fieldSVN       = 1
	fieldDigests   = 2
	fieldFlags     = 3
	fieldRegisters = 14
)

var fieldNames = map[uint64]string{
	4: "raw-value", 5: "raw-value-mask", 6: "mac-addr", 7: "ip-addr", 8: "serial-number", 9: "ueid", 10: "uuid",
	11: "name", 13: "cryptokeys", 15: "int-range",
}

const flagDebug = 3 // is-debug

// Limits and schemes of values.
const (
	minDigest          = 32  // bytes, the digest of SHA-256
	maxName            = 256 // bytes
	schemeMultipart    = 1   // CoSWID version schemes (RFC 9393, Section 4.1)
	schemeDecimal      = 4
	schemeSemantic     = 16384
	schemeNotSpecified = 0
)

// add reads one measurement into a state.
func (s *state) add(step string, m *measurementMap, o *Options) error {
	if len(m.AuthorizedBy) > 0 {
		return fail(ErrUnsupported, step, "authorized-by limits who may state the measurement")
	}
	if len(m.Values) == 0 {
		return fail(ErrFormat, step, "a measurement has no values")
	}
	key, err := readKey(step, m.Key)
	if err != nil {
		return err
	}
	for _, field := range slices.Sorted(maps.Keys(m.Values)) {
		if err := s.addField(step, key, field, m.Values[field], o); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) addField(step string, key mkey, field uint64, raw cbor.RawMessage, o *Options) error {
	switch field {
	case fieldVersion:
		return s.addVersion(step, key, raw, o)
	case fieldSVN:
		return s.addSVN(step, key, raw, o)
	case fieldDigests:
		digests, err := readDigests(step, raw)
		if err != nil {
			return err
		}
		return s.addDigests(step, key, digests, o)
	case fieldFlags:
		return s.addFlags(step, raw)
	case fieldRegisters:
		return s.addRegisters(step, key, raw, o)
	}
	what := fieldNames[field]
	if what == "" {
		what = "unknown"
	}
	return fail(ErrUnsupported, step, fmt.Sprintf("measurement %q has field %d (%s)", key.text, field, what))
}

// mkey is a measurement's key, with the index of the register in it. The zero mkey is
// that of a measurement without one.
type mkey struct {
	kind string // of the key, and of the index: a number and a text can look alike
	text string
}

func readKey(step string, raw cbor.RawMessage) (mkey, error) {
	if len(raw) == 0 {
		return mkey{}, nil
	}
	k := mkey{kind: comid.TextType}
	if majorType(raw) == majorText { // the library is older than text keys
		if err := decode(step, raw, &k.text); err != nil {
			return mkey{}, err
		}
	} else {
		var key comid.Mkey
		if err := decode(step, raw, &key); err != nil {
			return mkey{}, err
		}
		k.kind, k.text = key.Type(), key.Value.String()
		switch k.kind {
		case comid.UintType, comid.UUIDType, comid.OIDType:
		default:
			return mkey{}, fail(ErrUnsupported, step, "a measurement's key is a "+k.kind)
		}
	}
	if k.text == "" || len(k.text) > maxName {
		return mkey{}, fail(ErrFormat, step, fmt.Sprintf("a measurement's key is empty or longer than %d bytes", maxName))
	}
	return k, nil
}

// addRegisters reads integrity-registers. The name of a register is its index, after
// the measurement's key and a colon where there is one.
func (s *state) addRegisters(step string, key mkey, raw cbor.RawMessage, o *Options) error {
	var registers map[any]cbor.RawMessage
	if err := decode(step, raw, &registers); err != nil {
		return err
	}
	if len(registers) == 0 {
		return fail(ErrFormat, step, "integrity-registers is empty")
	}
	for index, raw := range registers {
		register := mkey{kind: key.kind + " register " + comid.TextType}
		switch index := index.(type) {
		case uint64:
			register = mkey{key.kind + " register " + comid.UintType, strconv.FormatUint(index, 10)}
		case string:
			register.text = index
		}
		if register.text == "" || len(register.text) > maxName {
			return fail(ErrFormat, step, "the index of an integrity register is neither a number nor a text of 1 to 256 bytes")
		}
		digests, err := readDigests(step, raw)
		if err != nil {
			return err
		}
		if key.text != "" {
			register.text = key.text + ":" + register.text
		}
		if err := s.addDigests(step, register, digests, o); err != nil {
			return err
		}
	}
	return nil
}

// readDigests reads digests-type: one digest for each algorithm, of the same thing.
// Evidence has one digest of it, by any of the algorithms.
func readDigests(step string, raw cbor.RawMessage) ([][]byte, error) {
	var entries []cbor.RawMessage
	if err := decode(step, raw, &entries); err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fail(ErrFormat, step, "digests is empty")
	}
	var digests [][]byte
	seen := map[uint64]bool{}
	for _, raw := range entries {
		var d swid.HashEntry
		if err := decode(step, raw, &d); err != nil {
			return nil, failed(ErrDigest, step, err)
		}
		if err := swid.ValidHashEntry(d.HashAlgID, d.HashValue); err != nil {
			return nil, failed(ErrDigest, step, err)
		}
		if len(d.HashValue) < minDigest {
			return nil, fail(ErrDigest, step, fmt.Sprintf("a digest by %s has %d bytes, %d are the least", d.AlgIDToString(), len(d.HashValue), minDigest))
		}
		if seen[d.HashAlgID] { // Section 9.4.6.1.3: such an entry matches nothing
			return nil, fail(ErrDigest, step, "there are two digests by "+d.AlgIDToString())
		}
		seen[d.HashAlgID] = true
		digests = append(digests, bytes.Clone(d.HashValue))
	}
	return digests, nil
}

// addVersion reads a version, which the draft compares for equality.
func (s *state) addVersion(step string, key mkey, raw cbor.RawMessage, o *Options) error {
	var v struct {
		Version string          `cbor:"0,keyasint"`
		Scheme  cbor.RawMessage `cbor:"1,keyasint,omitempty"`
	}
	if err := decode(step, raw, &v); err != nil {
		return err
	}
	var scheme int64 = schemeNotSpecified
	if len(v.Scheme) > 0 && strict.Unmarshal(v.Scheme, &scheme) != nil {
		return fail(ErrUnsupported, step, fmt.Sprintf("version scheme of %q is not a number", key.text))
	}
	switch scheme {
	case schemeNotSpecified, schemeMultipart, schemeDecimal, schemeSemantic:
	default:
		return fail(ErrUnsupported, step, fmt.Sprintf("version of %q has scheme %d", key.text, scheme))
	}
	return s.addSoftware(step, key, software{version: v.Version, exact: true}, o)
}

// addSVN reads a security version number: the only good one, or with tag 553 the
// lowest good one.
func (s *state) addSVN(step string, key mkey, raw cbor.RawMessage, o *Options) error {
	var n uint64
	if majorType(raw) == majorUint { // the library knows the tagged forms
		if err := decode(step, raw, &n); err != nil {
			return err
		}
		return s.addSoftware(step, key, software{version: strconv.FormatUint(n, 10), exact: true}, o)
	}
	var svn comid.SVN
	if err := decode(step, raw, &svn); err != nil {
		return err
	}
	switch t := svn.Value.Type(); t { // the library takes any type that it knows
	case comid.ExactValueType, comid.MinValueType:
		return s.addSoftware(step, key, software{version: svn.Value.String(), exact: t == comid.ExactValueType}, o)
	default:
		return fail(ErrFormat, step, fmt.Sprintf("svn of %q is a %s", key.text, t))
	}
}

func (s *state) addSoftware(step string, key mkey, v software, o *Options) error {
	if _, err := verifier.CompareVersions(v.version, v.version); err != nil {
		return failed(ErrUnsupported, step, fmt.Errorf("version of %q: %w", key.text, err))
	}
	name, err := s.name(step, key, o)
	if err != nil {
		return err
	}
	if _, twice := s.software[name]; twice {
		return fail(ErrConflict, step, fmt.Sprintf("one triple states version or svn of %q twice", name))
	}
	s.software[name] = v
	return nil
}

func (s *state) addDigests(step string, key mkey, digests [][]byte, o *Options) error {
	name, err := s.name(step, key, o)
	if err != nil {
		return err
	}
	if _, twice := s.digests[name]; twice {
		return fail(ErrConflict, step, fmt.Sprintf("one triple states digests of %q twice", name))
	}
	s.digests[name] = digests
	return nil
}

// addFlags accepts only the demand that debug is off, which Evidence can meet.
func (s *state) addFlags(step string, raw cbor.RawMessage) error {
	var flags map[uint64]bool
	if err := decode(step, raw, &flags); err != nil {
		return err
	}
	debug, stated := flags[flagDebug]
	if len(flags) != 1 || !stated || debug {
		return fail(ErrUnsupported, step, "flags other than is-debug = false")
	}
	s.debugOff = true
	return nil
}

// name is the name in Evidence for a key in the CoRIM.
func (s *state) name(step string, key mkey, o *Options) (string, error) {
	name, mapped := o.Names[key.text]
	if !mapped {
		name = key.text
	}
	if name == "" {
		return "", fail(ErrUnsupported, step, `a measurement has no key; say its name with Names[""]`)
	}
	if other, taken := s.keys[name]; taken && other != key {
		return "", fail(ErrConflict, step, fmt.Sprintf("two keys, %q and %q, are of the measurement %q", other.text, key.text, name))
	}
	s.keys[name] = key
	return name, nil
}
