package attestation

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
)

// maxSPKI bounds an asserted SubjectPublicKeyInfo in bytes; RSA with 16384 bits
// fits.
const maxSPKI = 4096

// AssertedBinding is a Binding as a relying party elsewhere states it to a remote
// Verifier, which has no connection to compute one from: the binder, 32 or 48
// bytes, and the SubjectPublicKeyInfo in DER of the key. It has no context. What
// is compared with it is compared in full, but whether it is that of a connection
// only the relying party knows: no connection takes a [Result] that answers it.
// The error wraps [ErrMalformed].
func AssertedBinding(binder, spki []byte) (Binding, error) {
	var hash crypto.Hash
	switch len(binder) {
	case crypto.SHA256.Size():
		hash = crypto.SHA256
	case crypto.SHA384.Size():
		hash = crypto.SHA384
	default:
		return Binding{}, fmt.Errorf("%w: the binder has %d bytes, want 32 or 48", ErrMalformed, len(binder))
	}
	if len(spki) > maxSPKI {
		return Binding{}, fmt.Errorf("%w: the key has %d bytes, want at most %d", ErrMalformed, len(spki), maxSPKI)
	}
	if _, err := x509.ParsePKIXPublicKey(spki); err != nil {
		return Binding{}, fmt.Errorf("%w: the key is no SubjectPublicKeyInfo", ErrMalformed)
	}
	spki = bytes.Clone(spki)
	return Binding{hash: hash, spki: spki, binder: bytes.Clone(binder), keyHash: digest(hash, spki)}, nil
}
