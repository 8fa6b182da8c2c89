package vectors

import (
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	_ "crypto/sha256" // the hashes of connections
	_ "crypto/sha512"

	"golang.org/x/crypto/cryptobyte"
)

// Connection is a TLS connection, known by its exporter secrets.
type Connection struct {
	TLS                  string `json:"tls"`
	HashName             string `json:"hash"`
	ExporterMasterSecret Bytes  `json:"exporter_master_secret,omitempty"` // TLS 1.3
	MasterSecret         Bytes  `json:"master_secret,omitempty"`          // TLS 1.2, and the following
	ClientRandom         Bytes  `json:"client_random,omitempty"`
	ServerRandom         Bytes  `json:"server_random,omitempty"`
}

// Values of Connection.TLS.
const (
	tls12 = "1.2"
	tls13 = "1.3"
)

var hashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384}

func (c *Connection) check() error {
	h, ok := hashes[c.HashName]
	switch {
	case !ok:
		return fmt.Errorf("connection: hash %q", c.HashName)
	case c.TLS == tls13 && len(c.ExporterMasterSecret) == h.Size() && c.MasterSecret == nil && c.ClientRandom == nil && c.ServerRandom == nil:
		return nil
	case c.TLS == tls12 && len(c.MasterSecret) == 48 && len(c.ClientRandom) == 32 && len(c.ServerRandom) == 32 && c.ExporterMasterSecret == nil:
		return nil
	}
	return errors.New("connection: the members do not fit its TLS version")
}

// Hash is that of the TLS 1.3 cipher suite or of the TLS 1.2 PRF.
func (c *Connection) Hash() crypto.Hash { return hashes[c.HashName] }

// ExportKeyingMaterial is the exporter of the connection. On TLS 1.2 a nil
// context differs from an empty one (RFC 5705, Section 4).
func (c *Connection) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	if c.TLS == tls12 {
		return c.export12(label, context, length)
	}
	return c.export13(label, context, length)
}

// export13 is RFC 8446, Section 7.5.
func (c *Connection) export13(label string, context []byte, length int) ([]byte, error) {
	derived, err := c.expandLabel(c.ExporterMasterSecret, label, c.digest(), c.Hash().Size())
	if err != nil {
		return nil, err
	}
	return c.expandLabel(derived, "exporter", c.digest(context), length)
}

// expandLabel is HKDF-Expand-Label of RFC 8446, Section 7.1.
func (c *Connection) expandLabel(secret []byte, label string, context []byte, length int) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint16(uint16(length))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
	info, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return hkdf.Expand(func() hash.Hash { return c.Hash().New() }, secret, string(info), length)
}

// export12 is RFC 5705, Section 4, over P_hash of RFC 5246, Section 5.
func (c *Connection) export12(label string, context []byte, length int) ([]byte, error) {
	if len(context) > 0xffff {
		return nil, errors.New("context is longer than 65535 bytes")
	}
	seed := concat([]byte(label), c.ClientRandom, c.ServerRandom)
	if context != nil {
		seed = concat(seed, []byte{byte(len(context) >> 8), byte(len(context))}, context)
	}
	var out []byte
	for a := c.mac(c.MasterSecret, seed); len(out) < length; a = c.mac(c.MasterSecret, a) {
		out = append(out, c.mac(c.MasterSecret, a, seed)...)
	}
	return out[:length], nil
}

func (c *Connection) digest(parts ...[]byte) []byte {
	h := c.Hash().New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (c *Connection) mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(func() hash.Hash { return c.Hash().New() }, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func concat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// rfc8448 is the connection of RFC 8448, Section 3.
var rfc8448 = Connection{
	TLS: tls13, HashName: "sha256",
	ExporterMasterSecret: unhex("fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50"),
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // only constants are decoded here
	}
	return b
}
