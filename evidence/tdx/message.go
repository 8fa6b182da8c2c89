package tdx

import (
	"fmt"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
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

// decoder reads messages, which have no list of more than a few elements.
var decoder = detcbor.NewDecoder(detcbor.MinElements)

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
	if err := decoder.Decode(value, m); err != nil {
		return nil, format("message", err)
	}
	return m, nil
}
