package cmw

import "bytes"

// Decode reads one CMW, CBOR or JSON, told apart by its first byte (RFC 9999 §3). It
// takes memory in proportion to len(b), which may be at most [MaxSize] bytes, and keeps no
// reference to b. The message is nil unless the error is nil; the error is a
// [*DecodeError] around one of the reasons of this package.
func Decode(b []byte) (*Message, error) {
	switch {
	case len(b) == 0:
		return nil, refuse(0, ErrEmpty)
	case len(b) > MaxSize:
		return nil, refuse(0, ErrTooLarge)
	case bytes.HasPrefix(b, []byte("eyJ")): // JWS Compact Serialization: base64url of {"
		return nil, refuse(0, ErrSigned)
	}
	if b[0] == '[' || b[0] == '{' {
		return decodeJSON(b)
	}
	if err := checkStart(b[0], 0); err != nil {
		return nil, err
	}
	return decodeCBOR(b)
}

// start is what the first byte of a CBOR item announces.
type start uint8

const (
	startOther start = iota
	startRecord
	startTag
	startCollection
	startSigned
	startForeignTag
)

// cborStart is the one-byte look-ahead of RFC 9999 §3. Outer arrays that spell a length of
// 2 or 3 in more bytes than needed are not in its list.
func cborStart(c byte) start {
	switch {
	case c == 0x82 || c == 0x83 || c == 0x9f:
		return startRecord
	case c == 0xda:
		return startTag
	case c >= 0xa0 && c <= 0xbb || c == 0xbf:
		return startCollection
	case c == 0x84 || c == 0xd2: // COSE_Sign1, untagged and tagged (RFC 9052 §4.2)
		return startSigned
	case c >= 0xc0 && c <= 0xdb:
		return startForeignTag
	default:
		return startOther
	}
}

func checkStart(c byte, offset int) error {
	switch cborStart(c) {
	case startSigned:
		return refuse(offset, ErrSigned)
	case startForeignTag:
		return refuse(offset, ErrTag)
	case startOther:
		return refuse(offset, ErrSyntax)
	default:
		return nil
	}
}
