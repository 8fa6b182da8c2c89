package corim

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Limits on a CoRIM, checked before anything is decoded.
const (
	// MaxSize is the largest CoRIM in bytes.
	MaxSize = 4 << 20
	// maxDepth bounds how deeply each piece of CBOR nests; a CoRIM's own
	// structures nest to 9, a CoMID inside a byte string counts anew.
	maxDepth = 16
	// maxEntries bounds every array and map.
	maxEntries = 1 << 16
)

var strict = strictMode()

func strictMode() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF, // the libraries below keep the first or the last of two
		IndefLength:       cbor.IndefLengthForbidden,
		BignumTag:         cbor.BignumTagForbidden,
		TimeTag:           cbor.DecTagRequired, // time = #6.1
		MaxNestedLevels:   maxDepth,
		MaxArrayElements:  maxEntries,
		MaxMapPairs:       maxEntries,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, // what is not read could restrict
	}.DecMode()
	if err != nil {
		panic(err) // constants
	}
	return mode
}

// decode is the one door to the decoders, ours and those of the CoRIM types: only
// bytes that are one well-formed item, with no key twice and no null at any depth,
// reach them.
func decode(step string, b []byte, into any) error {
	var all any
	if err := strict.Unmarshal(b, &all); err != nil {
		var duplicate *cbor.DupMapKeyError
		if errors.As(err, &duplicate) {
			return failed(ErrDuplicateKey, step, err)
		}
		return failed(ErrFormat, step, err)
	}
	if hasNull(all) {
		return fail(ErrFormat, step, "null stands where a value has to be")
	}
	err := guard(func() error { return strict.Unmarshal(b, into) })
	var unknown *cbor.UnknownFieldError
	if errors.As(err, &unknown) {
		return failed(ErrUnsupported, step, err)
	}
	if err != nil {
		return failed(ErrFormat, step, err)
	}
	return nil
}

// hasNull finds null and undefined, which decoders take for an absent field: a
// limit that the author wrote down would vanish.
func hasNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, e := range v {
			if hasNull(e) {
				return true
			}
		}
	case map[any]any:
		for key, e := range v {
			if hasNull(key) || hasNull(e) {
				return true
			}
		}
	case cbor.Tag:
		return hasNull(v.Content)
	}
	return false
}

// guard turns a panic of a library into an error. The libraries decode bytes of
// others; a panic of theirs must not end the process.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder panicked with a %T", p)
		}
	}()
	return call()
}

// majorType is that of the first item of well-formed CBOR (RFC 8949, Section 3.1).
func majorType(b []byte) byte { return b[0] >> 5 }

const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
)
