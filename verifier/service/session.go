package service

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/expat-go/expat/attestation"
)

// sessionType is the media type of a session.
const sessionType = "application/vnd.veraison.challenge-response-session+json"

// maxToken bounds the text of a session in a URL, in bytes: a key of 4096 bytes fits.
const maxToken = 6 << 10

var (
	errQuery   = errors.New("the query is not nonce=BINDER&key=SPKI in unpadded base64url")
	errToken   = errors.New("there is no such session")
	errExpired = errors.New("the session has run out")
)

// session is what the URL of a session says.
type session struct {
	binder  []byte
	spki    []byte
	expiry  time.Time // to the second
	binding attestation.Binding
}

// parseQuery reads the query of newSession.
func parseQuery(raw string, expiry time.Time) (*session, error) {
	if len(raw) > maxToken {
		return nil, errQuery
	}
	q, err := url.ParseQuery(raw)
	if err != nil || len(q) != 2 || len(q["nonce"]) != 1 || len(q["key"]) != 1 {
		return nil, errQuery
	}
	binder, err := decode(q.Get("nonce"))
	if err != nil {
		return nil, errQuery
	}
	spki, err := decode(q.Get("key"))
	if err != nil {
		return nil, errQuery
	}
	return newSession(binder, spki, expiry.Truncate(time.Second))
}

func newSession(binder, spki []byte, expiry time.Time) (*session, error) {
	b, err := attestation.AssertedBinding(binder, spki)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errQuery, err)
	}
	return &session{binder: binder, spki: spki, expiry: expiry, binding: b}, nil
}

// tokenVersion is the first byte of a session's URL segment, before base64url:
//
//	struct { uint8 version = 1; uint64 expiry; opaque binder<0..2^8-1>; opaque spki[rest]; }
//
// expiry is in seconds since 1970.
const tokenVersion = 1

func (s *session) token() string {
	b := []byte{tokenVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(s.expiry.Unix()))
	b = append(b, byte(len(s.binder)))
	b = append(b, s.binder...)
	return encode(append(b, s.spki...))
}

// parseToken reads what token wrote; now is compared with the expiry.
func parseToken(text string, now time.Time) (*session, error) {
	if len(text) > maxToken {
		return nil, errToken
	}
	b, err := decode(text)
	const head = 1 + 8 + 1
	if err != nil || len(b) < head || b[0] != tokenVersion || len(b) < head+int(b[9]) {
		return nil, errToken
	}
	seconds := binary.BigEndian.Uint64(b[1:9])
	if seconds > maxExpiry {
		return nil, errToken
	}
	n := head + int(b[9])
	s, err := newSession(b[head:n], b[n:], time.Unix(int64(seconds), 0))
	if err != nil {
		return nil, errToken
	}
	if !now.Before(s.expiry) {
		return nil, errExpired
	}
	return s, nil
}

// maxExpiry is the year 9999, the last that RFC 3339 can write.
const maxExpiry = 253402300799

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode reads unpadded base64url that has one form only.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(b)) != len(s) {
		return nil, errors.New("not unpadded base64url")
	}
	return b, nil
}
