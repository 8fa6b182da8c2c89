package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Version is the only version of HELLO.
const Version = 1

// Models are the topologies of RFC 9334, Section 5, that a side can take part in.
type Models uint64

// The bits of Models.
const (
	BackgroundCheck Models = 1
	Passport        Models = 2
)

// HelloMap is the payload of HELLO:
//
//	{ 0: uint, 1: bool, 2: bool, ? 3: [+ tstr], ? 4: uint, ? 5: bool, ? 6: uint }
type HelloMap struct {
	WillRequest      bool
	CanAttest        bool
	MediaTypes       []string // what the sender accepts; exactly when WillRequest
	Models           Models
	Mux              bool
	MaxAuthenticator int // bytes; what the sender accepts
}

// Bounds of HELLO's media types.
const (
	maxMediaTypes = 16
	maxMediaType  = 255 // bytes each
)

// ResultMap is the payload of RESULT: { 0: uint, ? 1: uint }.
type ResultMap struct {
	Code     uint16
	Lifetime time.Duration // whole seconds; 0: as long as the connection
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF, // a key twice is fatal
		IndefLength:      cbor.IndefLengthForbidden, // no streaming
		TagsMd:           cbor.TagsForbidden,        // nothing here is tagged
		MaxNestedLevels:  4,
		MaxArrayElements: maxMediaTypes,
		MaxMapPairs:      64,
	}.DecMode())
)

func must[T any](m T, err error) T {
	if err != nil {
		panic(err) // the options are constant
	}
	return m
}

// Encode returns deterministic CBOR.
func (h HelloMap) Encode() ([]byte, error) {
	m := map[uint64]any{0: Version, 1: h.WillRequest, 2: h.CanAttest, 4: uint64(h.Models), 5: h.Mux, 6: h.MaxAuthenticator}
	if h.WillRequest {
		m[3] = h.MediaTypes
	}
	b, err := encMode.Marshal(m)
	if err != nil {
		return nil, err
	}
	_, err = ParseHello(b) // what we send passes our own checks
	return b, err
}

// ParseHello decodes a HELLO. Unknown keys are ignored; a duplicate, a trailing
// byte, a wrong type or a missing key is ErrMap.
func ParseHello(b []byte) (HelloMap, error) {
	var h HelloMap
	if len(b) > MaxHello {
		return h, ErrTooLarge
	}
	m, err := parseMap(b)
	if err != nil {
		return h, err
	}
	version := m.uint(0, true, math.MaxInt64)
	h.WillRequest = m.bool(1, true)
	h.CanAttest = m.bool(2, true)
	h.MediaTypes = m.texts(3, h.WillRequest)
	h.Models = Models(m.uint(4, false, math.MaxInt64))
	h.Mux = m.bool(5, false)
	h.MaxAuthenticator = int(min(m.uint(6, false, math.MaxInt64), MaxMaxAuthenticator))
	switch {
	case m.err != nil:
		return HelloMap{}, m.err
	case version != Version:
		return HelloMap{}, fmt.Errorf("%w: version %d, want %d", ErrMap, version, Version)
	case !h.WillRequest && h.MediaTypes != nil:
		return HelloMap{}, fmt.Errorf("%w: media types without a request", ErrMap)
	}
	if _, ok := m.keys[uint64(6)]; !ok {
		h.MaxAuthenticator = DefaultMaxAuthenticator
	}
	return h, nil
}

// Encode returns deterministic CBOR.
func (r ResultMap) Encode() ([]byte, error) {
	if r.Lifetime < 0 {
		return nil, fmt.Errorf("%w: a lifetime of %v", ErrMap, r.Lifetime)
	}
	m := map[uint64]uint64{0: uint64(r.Code)}
	if r.Lifetime != 0 {
		m[1] = uint64(r.Lifetime / time.Second)
	}
	b, err := encMode.Marshal(m)
	if err != nil {
		return nil, err
	}
	_, err = ParseResult(b)
	return b, err
}

// maxLifetime is what a lifetime in seconds is cut to: longer than any
// connection, and no overflow.
const maxLifetime = 1 << 31

// ParseResult decodes a RESULT, as strictly as ParseHello.
func ParseResult(b []byte) (ResultMap, error) {
	if len(b) > MaxResult {
		return ResultMap{}, ErrTooLarge
	}
	m, err := parseMap(b)
	if err != nil {
		return ResultMap{}, err
	}
	code := m.uint(0, true, math.MaxUint16)
	seconds := min(m.uint(1, false, math.MaxUint64), maxLifetime)
	if _, ok := m.keys[uint64(1)]; ok && m.err == nil && seconds == 0 {
		m.fail(1, "a lifetime of zero")
	}
	if m.err != nil {
		return ResultMap{}, m.err
	}
	return ResultMap{Code: uint16(code), Lifetime: time.Duration(seconds) * time.Second}, nil
}

// mapReader reads typed values out of a map. It looks at the encoded type
// itself, because the decoder turns null into the zero value of any type. The
// first error stays.
type mapReader struct {
	keys map[any]cbor.RawMessage
	err  error
}

func parseMap(b []byte) (*mapReader, error) {
	if len(b) == 0 || majorType(b) != 5 {
		return nil, fmt.Errorf("%w: it is no map", ErrMap)
	}
	var m mapReader
	if err := decMode.Unmarshal(b, &m.keys); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMap, err)
	}
	return &m, nil
}

func majorType(b []byte) byte { return b[0] >> 5 }

func (m *mapReader) fail(key uint64, what string) {
	if m.err == nil {
		m.err = fmt.Errorf("%w: key %d: %s", ErrMap, key, what)
	}
}

// get returns the encoded value of a key, or nil.
func (m *mapReader) get(key uint64, required bool) []byte {
	raw := m.keys[key]
	if raw == nil && required {
		m.fail(key, "missing")
	}
	return raw
}

func (m *mapReader) bool(key uint64, required bool) bool {
	const no, yes = 0xf4, 0xf5
	raw := m.get(key, required)
	if raw != nil && (len(raw) != 1 || (raw[0] != no && raw[0] != yes)) {
		m.fail(key, "want a bool")
	}
	return len(raw) == 1 && raw[0] == yes
}

func (m *mapReader) uint(key uint64, required bool, most uint64) uint64 {
	raw := m.get(key, required)
	if raw == nil {
		return 0
	}
	var v uint64
	if majorType(raw) != 0 || decMode.Unmarshal(raw, &v) != nil || v > most {
		m.fail(key, fmt.Sprintf("want a uint of at most %d", most))
		return 0
	}
	return v
}

func (m *mapReader) texts(key uint64, required bool) []string {
	raw := m.get(key, required)
	if raw == nil {
		return nil
	}
	var items []cbor.RawMessage
	if majorType(raw) != 4 || decMode.Unmarshal(raw, &items) != nil || len(items) == 0 {
		m.fail(key, "want one or more texts")
		return nil
	}
	out := make([]string, len(items))
	for i, item := range items {
		if majorType(item) != 3 || decMode.Unmarshal(item, &out[i]) != nil || len(out[i]) == 0 || len(out[i]) > maxMediaType {
			m.fail(key, fmt.Sprintf("want texts of 1 to %d bytes", maxMediaType))
			return nil
		}
	}
	return out
}
