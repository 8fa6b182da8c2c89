package tdx

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/expat-go/expat/evidence"
)

// MediaType is the type of the Evidence: a quote, with collateral if the attester
// has any.
const MediaType = "application/vnd.expat-go.tdx+cbor"

// Sizes of the Evidence in bytes, checked before anything is decoded.
const (
	maxQuote   = 16 << 10
	maxPart    = 32 << 10 // of one part of the collateral
	maxMessage = 60 << 10
)

// message is the Evidence on the wire.
type message struct {
	Quote      []byte      `cbor:"1,keyasint"`
	Collateral *Collateral `cbor:"2,keyasint,omitempty"`
}

// encoder never writes null, so that null in place of a byte string is refused.
var encoder = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	return must(o.EncMode())
}()

var decoder = must(cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	MaxNestedLevels:   4,
	MaxArrayElements:  16, // the least that the library takes
	MaxMapPairs:       16,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constant
	}
	return v
}

func format(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrFormat, Step: step, Err: err}
}

func untrusted(step string, err error) error {
	return &evidence.Error{Reason: evidence.ErrChain, Step: step, Err: err}
}

// parseMessage reads the Evidence. It must be the deterministic encoding of what
// was read, which refuses null, arrays of numbers and every other second spelling.
func parseMessage(value []byte) (*message, error) {
	if len(value) == 0 || len(value) > maxMessage {
		return nil, format("size", fmt.Errorf("%w: it is not 1 to %d bytes", ErrSize, maxMessage))
	}
	m := new(message)
	if err := guard(func() error { return decoder.Unmarshal(value, m) }); err != nil {
		return nil, format("message", errors.New("not CBOR of the expected structure")) // the library's text can quote it
	}
	again, err := encoder.Marshal(m)
	if err != nil || !bytes.Equal(again, value) {
		return nil, format("message", errors.New("not in deterministic encoding, or an item of the wrong type"))
	}
	return m, nil
}
