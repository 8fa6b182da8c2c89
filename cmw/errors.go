package cmw

import (
	"errors"
	"fmt"
)

// Reasons for which [Decode], the constructors and the Marshal methods refuse a message.
// Test for them with errors.Is.
var (
	ErrEmpty           = errors.New("message has no bytes")
	ErrTooLarge        = fmt.Errorf("message exceeds %d bytes: send an Attestation Result (passport) instead", MaxSize)
	ErrTooDeep         = fmt.Errorf("message nests deeper than %d levels: flatten the collection", MaxDepth)
	ErrTooManyLeaves   = fmt.Errorf("message has more than %d leaves: send fewer conceptual messages", MaxLeaves)
	ErrTrailing        = errors.New("bytes follow the message")
	ErrSyntax          = errors.New("not a record, tag or collection of RFC 9999")
	ErrSigned          = errors.New("signed CMW (RFC 9999 section 4) is not supported: send its payload")
	ErrTag             = errors.New("tag is not a Content-Format tag in 1668546817..1668612095 encoded with 0xda")
	ErrAmbiguousTag    = errors.New("tags 1668547092 and 1668547093 have two meanings in RFC 9999: use a record")
	ErrMediaType       = errors.New("type is not a media type or, in CBOR, a Content-Format of at most 65535")
	ErrValue           = errors.New("value is not a definite-length byte string or, in JSON, strict unpadded base64url")
	ErrEmptyValue      = errors.New("value is empty")
	ErrIndicator       = errors.New("indicator is not an integer from 1 to 31")
	ErrLabel           = errors.New("label is not a 64-bit integer or valid non-blank text, or is the reserved __cmwc_t")
	ErrDuplicateLabel  = errors.New("label occurs twice in one collection")
	ErrCollectionType  = errors.New("collection type is not an absolute URI or an OID")
	ErrEmptyCollection = errors.New("collection has no item")
	ErrContentFormat   = errors.New("media type has no registered Content-Format, so no tag: use a record")
	ErrNotJSON         = errors.New("message has a tag, an integer label or a Content-Format without media type: use CBOR")
	ErrInvalidMessage  = errors.New("message was not made by this package")
	ErrLibrary         = errors.New("the CMW library failed on a checked message: report a bug")
)

// A DecodeError is the only error type that [Decode] returns.
type DecodeError struct {
	// Offset is the position, in bytes from the start of the message, of the item that
	// was refused; 0 where the message was refused as a whole.
	Offset int
	// Err is or wraps one of the reasons of this package.
	Err error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("cmw: decode: at byte %d: %v", e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *DecodeError) Unwrap() error { return e.Err }

func refuse(offset int, reason error) error {
	return &DecodeError{Offset: offset, Err: reason}
}
