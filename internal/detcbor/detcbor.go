// Package detcbor reads and writes CBOR in the core deterministic encoding
// (RFC 8949, Section 4.2.1), and nothing else: every value has one spelling.
package detcbor

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The bounds of what a [Decoder] reads, besides the number of elements of an array.
// The caller bounds the size of the whole, in bytes.
const (
	MaxDepth    = 4  // arrays and maps inside one another
	MaxPairs    = 16 // of a map
	MinElements = 16 // the lowest limit that a Decoder can have for an array
	MaxElements = 1 << 10
)

// The reasons for which bytes are refused. None of them quotes what was read.
var (
	// ErrStructure: it is not CBOR of the type's structure, has items of indefinite
	// length, tags or bytes after its end, or is beyond the bounds.
	ErrStructure = errors.New("not CBOR of the expected structure")
	// ErrDuplicate: a map has one key twice.
	ErrDuplicate = errors.New("a key occurs twice")
	// ErrUnknown: a map has a key that the type does not have.
	ErrUnknown = errors.New("a key that the format does not have")
	// ErrSpelling: another encoding of the same value is the deterministic one, or an
	// item that must be there is not.
	ErrSpelling = errors.New("not in deterministic encoding, or an item of the wrong type")
	// ErrValue: a type that encodes itself refuses the value that was read.
	ErrValue = errors.New("a value that cannot be encoded")
	// ErrPanic: a type that decodes itself panicked.
	ErrPanic = errors.New("the decoder failed")
)

// encoder never writes null, so that a Decoder refuses null in place of a byte
// string or an array.
var encoder = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	return must(o.EncMode())
}()

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// Encode writes v. What is nil, and neither absent (omitempty) nor a pointer, is
// written as empty.
func Encode(v any) ([]byte, error) {
	return encoder.Marshal(v)
}

// A Decoder reads what [Encode] writes. It is safe for concurrent use.
type Decoder struct{ mode cbor.DecMode }

// NewDecoder makes a Decoder for arrays of at most so many elements, a constant of
// the format. It panics where that is not [MinElements] to [MaxElements].
func NewDecoder(elements int) *Decoder {
	if elements < MinElements || elements > MaxElements {
		panic(fmt.Sprintf("detcbor: a limit of %d elements is not %d to %d", elements, MinElements, MaxElements))
	}
	return &Decoder{must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   MaxDepth,
		MaxArrayElements:  elements,
		MaxMapPairs:       MaxPairs,
	}.DecMode())}
}

// Decode reads data, all of it, into a pointer. data must be the deterministic
// encoding of what was read. That refuses every second spelling at once: null for
// an absent item, an array of numbers for a byte string, a longer integer, keys in
// another order. A panic on the way becomes [ErrPanic]. After an error the value
// behind the pointer is not to be used.
func (d *Decoder) Decode(data []byte, into any) (err error) {
	defer func() {
		if recover() != nil {
			err = ErrPanic
		}
	}()
	if err := d.mode.Unmarshal(data, into); err != nil {
		return why(err)
	}
	again, err := encoder.Marshal(into)
	if err != nil {
		return ErrValue
	}
	if !bytes.Equal(again, data) {
		return ErrSpelling
	}
	return nil
}

// why leaves the library's text out, which can quote the bytes.
func why(err error) error {
	var duplicate *cbor.DupMapKeyError
	var unknown *cbor.UnknownFieldError
	switch {
	case errors.As(err, &duplicate):
		return ErrDuplicate
	case errors.As(err, &unknown):
		return ErrUnknown
	}
	return ErrStructure
}
