package ear

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
)

const (
	// MaxSize is the longest token in bytes.
	MaxSize = 64 << 10
	// maxKeyID is the longest kid in bytes.
	maxKeyID = 256
	// coordinate is the length of a P-256 coordinate, and of r and s, in bytes.
	coordinate = 32
)

var base64url = base64.RawURLEncoding.Strict()

// token is a JWS in compact serialization (RFC 7515, Section 7.1), taken apart.
type token struct {
	signed    []byte // header and payload as received, what the signature covers
	kid       string
	payload   []byte
	signature []byte // r ‖ s, 64 bytes (RFC 7518, Section 3.4)
}

// parseToken reads everything but the payload's JSON.
func parseToken(raw []byte) (*token, error) {
	if len(raw) > MaxSize {
		return nil, malformed("%d bytes, want at most %d", len(raw), MaxSize)
	}
	parts := bytes.SplitN(raw, []byte("."), 4)
	if len(parts) != 3 {
		return nil, malformed("not three parts joined by dots")
	}
	header, err := decodePart("header", parts[0])
	if err != nil {
		return nil, err
	}
	t := &token{signed: raw[:len(parts[0])+1+len(parts[1])]}
	if t.kid, err = parseHeader(header); err != nil {
		return nil, err
	}
	if t.payload, err = decodePart("payload", parts[1]); err != nil {
		return nil, err
	}
	if t.signature, err = decodePart("signature", parts[2]); err != nil {
		return nil, err
	}
	if len(t.signature) != 2*coordinate {
		return nil, malformed("the signature has %d bytes, want %d", len(t.signature), 2*coordinate)
	}
	return t, nil
}

// decodePart decodes one part. The decoder ignores line ends, the token's grammar
// has none.
func decodePart(name string, part []byte) ([]byte, error) {
	out := make([]byte, base64url.DecodedLen(len(part)))
	n, err := base64url.Decode(out, part)
	if err != nil || bytes.ContainsAny(part, "\r\n") {
		return nil, malformed("the %s is not base64url without padding", name)
	}
	return out[:n], nil
}

// parseHeader returns the kid, or "". Members other than alg, typ and kid are
// refused: those that name a key (jwk, jku, x5c, x5u) must never be obeyed, and
// those that change how the rest is read (crit, b64, zip, cty) are not understood.
func parseHeader(data []byte) (kid string, err error) {
	header, err := decodeObject(data)
	if err != nil {
		return "", malformed("header: %w", err)
	}
	alg, ok := header["alg"].(string)
	if !ok {
		return "", malformed("the header has no alg")
	}
	if alg != "ES256" {
		return "", reject(ErrAlgorithm, "alg is %.100q", alg)
	}
	for name, value := range header {
		text, ok := value.(string)
		switch {
		case !ok:
			return "", malformed("header: %.100q is not a string", name)
		case name == "alg":
		case name == "typ":
			if !validType(text) {
				return "", malformed("typ is %.100q, want JWT or eat+jwt", text)
			}
		case name == "kid":
			if text == "" || len(text) > maxKeyID {
				return "", malformed("kid has %d bytes, want 1 to %d", len(text), maxKeyID)
			}
			kid = text
		default:
			return "", malformed("the header has %.100q; only alg, typ and kid are understood", name)
		}
	}
	return kid, nil
}

// validType admits JWT (RFC 7519, Section 5.1) and the media type of an EAT as JWT
// (RFC 9782), with or without "application/" (RFC 7515, Section 4.1.9).
func validType(typ string) bool {
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "jwt", "eat+jwt":
		return true
	}
	return false
}

// signedBy verifies ES256 (RFC 7518, Section 3.4) over the bytes as received.
func (t *token) signedBy(public *ecdsa.PublicKey) bool {
	digest := sha256.Sum256(t.signed)
	r := new(big.Int).SetBytes(t.signature[:coordinate])
	s := new(big.Int).SetBytes(t.signature[coordinate:])
	return ecdsa.Verify(public, digest[:], r, s)
}
