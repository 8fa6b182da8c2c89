package ear

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	// maxKeySet is the longest JWK Set in bytes.
	maxKeySet = 64 << 10
	// maxKeys is the number of keys in a set: a token without kid costs one
	// verification for each.
	maxKeys = 16
)

// jwk is a public P-256 key (RFC 7518, Section 6.2.1). The order of the members is
// that of RFC 7638, which thumbprint uses.
type jwk struct {
	Curve     string `json:"crv"`
	Type      string `json:"kty"`
	X         string `json:"x"`
	Y         string `json:"y"`
	KeyID     string `json:"kid,omitempty"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
}

// usable tells whether a key is one for ES256.
func usable(k Key) bool {
	_, ok := point(k.Public)
	return ok
}

// point encodes a P-256 key as 4 ‖ x ‖ y.
func point(public *ecdsa.PublicKey) ([]byte, bool) {
	if public == nil || public.Curve != elliptic.P256() {
		return nil, false
	}
	encoded, err := public.Bytes()
	return encoded, err == nil
}

func newJWK(point []byte) jwk {
	return jwk{
		Curve: "P-256", Type: "EC",
		X: base64url.EncodeToString(point[1 : 1+coordinate]),
		Y: base64url.EncodeToString(point[1+coordinate:]),
	}
}

// thumbprint is the SHA-256 JWK thumbprint (RFC 7638) of an encoded point, in
// base64url.
func thumbprint(point []byte) string {
	data, _ := json.Marshal(newJWK(point)) // four strings
	digest := sha256.Sum256(data)
	return base64url.EncodeToString(digest[:])
}

// MarshalKeys encodes keys as a JWK Set: 1 to 16 P-256 keys whose IDs differ. The
// error wraps [ErrKeySet]. A new key is published beside the old one before it signs,
// and the old one removed after its last EAR has expired.
func MarshalKeys(keys ...Key) ([]byte, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, k := range keys {
		encoded, _ := point(k.Public) // checkKeys admits no other
		j := newJWK(encoded)
		j.KeyID, j.Use, j.Algorithm = k.ID, "sig", "ES256"
		set.Keys = append(set.Keys, j)
	}
	return json.Marshal(set)
}

// ParseKeys reads a JWK Set strictly. A set for EARs holds nothing but public P-256
// keys for ES256 signatures: with one of another kind, with private parts or with a kid
// that occurs twice the whole set is refused. The error wraps [ErrKeySet] and never
// quotes the set.
func ParseKeys(data []byte) ([]Key, error) {
	if len(data) > maxKeySet {
		return nil, keySet("%d bytes, want at most %d", len(data), maxKeySet)
	}
	m, err := decodeObject(data)
	if err != nil {
		return nil, keySet("%w", err)
	}
	list, ok := m["keys"].([]any)
	if !ok {
		return nil, keySet("keys is not an array")
	}
	if len(list) > maxKeys {
		return nil, keySet("%d keys, want at most %d", len(list), maxKeys)
	}
	keys := make([]Key, 0, len(list))
	for i, v := range list {
		k, err := parseJWK(v)
		if err != nil {
			return nil, keySet("key %d: %w", i, err)
		}
		keys = append(keys, k)
	}
	return keys, checkKeys(keys)
}

// privateMembers are those of private and symmetric keys (RFC 7518, Sections 6.2.2,
// 6.3.2 and 6.4.1).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

func parseJWK(v any) (Key, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return Key{}, errors.New("not an object")
	}
	for _, name := range privateMembers {
		if _, present := m[name]; present {
			return Key{}, errors.New("it has private parts; publish the public key only and replace this one")
		}
	}
	for name, want := range map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256"} {
		got, present := m[name]
		if optional := name == "use" || name == "alg"; (present || !optional) && got != want {
			return Key{}, fmt.Errorf("%s is not %s", name, want)
		}
	}
	if ops, present := m["key_ops"]; present && !verifyOnly(ops) {
		return Key{}, errors.New(`key_ops is not ["verify"]`)
	}
	var k Key
	if id, present := m["kid"]; present {
		if k.ID, ok = id.(string); !ok || k.ID == "" || len(k.ID) > maxKeyID {
			return Key{}, fmt.Errorf("kid is not a string of 1 to %d bytes", maxKeyID)
		}
	}
	encoded := []byte{4}
	for _, name := range []string{"x", "y"} {
		text, _ := m[name].(string)
		raw, err := base64url.DecodeString(text)
		if err != nil || len(raw) != coordinate || len(text) != base64url.EncodedLen(coordinate) {
			return Key{}, fmt.Errorf("%s is not %d bytes in base64url", name, coordinate)
		}
		encoded = append(encoded, raw...)
	}
	var err error
	if k.Public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), encoded); err != nil {
		return Key{}, errors.New("x and y are not a point on the curve")
	}
	return k, nil
}

func verifyOnly(ops any) bool {
	list, ok := ops.([]any)
	return ok && len(list) == 1 && list[0] == "verify"
}

// checkKeys refuses sets that are empty or too long, unusable keys, and IDs that occur
// twice.
func checkKeys(keys []Key) error {
	if len(keys) == 0 || len(keys) > maxKeys {
		return keySet("%d keys, want 1 to %d", len(keys), maxKeys)
	}
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if !usable(k) {
			return keySet("a key is not a P-256 key")
		}
		if k.ID != "" && seen[k.ID] {
			return keySet("two keys have the kid %.100q", k.ID)
		}
		seen[k.ID] = true
	}
	return nil
}

// match returns the keys that may have signed a token with this kid.
func match(keys []Key, kid string) []Key {
	if kid == "" {
		return keys
	}
	var out []Key
	for _, k := range keys {
		if k.ID == kid || k.ID == "" {
			out = append(out, k)
		}
	}
	return out
}
