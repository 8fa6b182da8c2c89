// Package wire encodes and decodes the frames of expat/1 and the CBOR maps in
// them. It knows no TLS message and keeps no state.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type is a frame type.
type Type uint8

// The frames of expat/1.
const (
	Hello         Type = 1
	Request       Type = 2
	Authenticator Type = 3
	Result        Type = 4
	Alert         Type = 5
	Data          Type = 6
)

func (t Type) String() string {
	switch t {
	case Hello:
		return "HELLO"
	case Request:
		return "REQUEST"
	case Authenticator:
		return "AUTHENTICATOR"
	case Result:
		return "RESULT"
	case Alert:
		return "ALERT"
	case Data:
		return "DATA"
	}
	return fmt.Sprintf("frame type %d", uint8(t))
}

// Caps on a frame's payload in bytes. That of AUTHENTICATOR is a parameter of
// the connection.
const (
	MaxHello   = 4 << 10
	MaxRequest = 16 << 10
	MaxResult  = 256
	AlertSize  = 2
	MaxData    = 16380 // with the header one TLS record
)

// Bounds of the cap on an AUTHENTICATOR's payload in bytes.
const (
	DefaultMaxAuthenticator = 256 << 10
	MaxMaxAuthenticator     = 1 << 20
)

// Errors of this package, found with errors.Is.
var (
	ErrType     = errors.New("unknown frame type")
	ErrTooLarge = errors.New("frame is larger than its cap")
	ErrMap      = errors.New("malformed CBOR map")
)

// HeaderSize is the size of a frame's header in bytes: type(1), length(3).
const HeaderSize = 4

// step is how much memory is taken ahead of the bytes that fill it.
const step = 16 << 10

// limit is the cap of a type.
func limit(t Type, maxAuthenticator int) (int, error) {
	switch t {
	case Hello:
		return MaxHello, nil
	case Request:
		return MaxRequest, nil
	case Authenticator:
		return maxAuthenticator, nil
	case Result:
		return MaxResult, nil
	case Alert:
		return AlertSize, nil
	case Data:
		return MaxData, nil
	}
	return 0, fmt.Errorf("%w: %d", ErrType, uint8(t))
}

// Read reads one frame and not a byte more. The length is checked against the
// type's cap before memory is taken, and memory grows only as bytes arrive. An
// end of the stream inside a frame is io.ErrUnexpectedEOF, before it io.EOF.
func Read(r io.Reader, maxAuthenticator int) (Type, []byte, error) {
	return ReadIf(r, maxAuthenticator, func(Type) error { return nil })
}

// ReadIf is Read of a frame that is admitted by its type, before its payload is
// read: the error of admit is returned as it is.
func ReadIf(r io.Reader, maxAuthenticator int, admit func(Type) error) (Type, []byte, error) {
	var header [HeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	t, n, err := ParseHeader(header, maxAuthenticator)
	if err == nil {
		err = admit(t)
	}
	if err != nil {
		return t, nil, err
	}
	payload, err := ReadPayload(r, n)
	return t, payload, err
}

// ParseHeader decodes a frame's header and checks the length of the payload
// against the type's cap.
func ParseHeader(header [HeaderSize]byte, maxAuthenticator int) (Type, int, error) {
	t := Type(header[0])
	n := int(binary.BigEndian.Uint32(header[:]) & 0xffffff)
	most, err := limit(t, maxAuthenticator)
	if err != nil {
		return t, 0, err
	}
	if n > most {
		return t, 0, fmt.Errorf("%w: %v of %d bytes, at most %d", ErrTooLarge, t, n, most)
	}
	return t, n, nil
}

// ReadPayload reads the n bytes behind a header, as Read does.
func ReadPayload(r io.Reader, n int) ([]byte, error) {
	var payload []byte
	for len(payload) < n {
		have, more := len(payload), min(step, n-len(payload))
		payload = append(payload, make([]byte, more)...)
		if _, err := io.ReadFull(r, payload[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return payload, nil
}

// Append encodes a frame. A payload above its type's cap is an error.
func Append(b []byte, t Type, payload []byte) ([]byte, error) {
	most, err := limit(t, MaxMaxAuthenticator)
	if err != nil {
		return nil, err
	}
	if len(payload) > most {
		return nil, fmt.Errorf("%w: %v of %d bytes, at most %d", ErrTooLarge, t, len(payload), most)
	}
	return append(AppendHeader(b, t, len(payload)), payload...), nil
}

// AppendHeader encodes the header of a frame whose payload has n bytes, which the
// caller has compared with the type's cap.
func AppendHeader(b []byte, t Type, n int) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(t)<<24|uint32(n))
}

// EncodeAlert encodes the payload of an ALERT.
func EncodeAlert(code uint16) []byte { return binary.BigEndian.AppendUint16(nil, code) }

// ParseAlert decodes the payload of an ALERT.
func ParseAlert(payload []byte) (uint16, error) {
	if len(payload) != AlertSize {
		return 0, fmt.Errorf("%w: ALERT of %d bytes, want %d", ErrMap, len(payload), AlertSize)
	}
	return binary.BigEndian.Uint16(payload), nil
}
