// Package appraise is what expat verifier serve consists of beside the service: its
// signing key on disk, and an HTTP server that is hard to exhaust and ends well.
package appraise

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/expat-go/expat/verifier/ear"
)

// The files in a state directory.
const (
	KeyFile  = "verifier-test-key.pem"
	JWKSFile = "verifier-jwks.json"
)

const (
	keyComment = "TEST KEY of expat verifier serve. It protects nothing.\n\n"
	pemKey     = "PRIVATE KEY"
	maxKeyFile = 64 << 10
)

// ErrKey: the key that signs results cannot be used.
var ErrKey = errors.New("signing key")

// ReadKey reads a P-256 private key in PEM (PKCS #8). The error wraps [ErrKey].
func ReadKey(path string) (crypto.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, path, err)
	}
	return key, nil
}

// ReadKeys reads a JWK Set; "" has none. The error wraps [ErrKey].
func ReadKeys(path string) ([]ear.Key, error) {
	if path == "" {
		return nil, nil
	}
	set, err := ear.JWKSFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return set.Keys(context.Background(), "")
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemKey || len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("it is not one PRIVATE KEY in PEM; make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := any.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("it is not a P-256 key in PKCS #8, which ES256 needs")
	}
	return key, nil
}

// TestKey reads the key in a state directory; if there is none it is made. The error
// wraps [ErrKey].
func TestKey(dir string) (crypto.Signer, error) {
	path := filepath.Join(dir, KeyFile)
	key, err := ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	content := append([]byte(keyComment), pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})...)
	// Where two processes make one at once, the first counts.
	if err := put(path, content, 0o600, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return ReadKey(path)
}

// WriteJWKS puts the public key into a state directory. The error wraps [ErrKey].
func WriteJWKS(dir string, jwks []byte) error {
	if err := put(filepath.Join(dir, JWKSFile), append(jwks, '\n'), 0o644, os.Rename); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	return nil
}

// put writes a file whose name appears with its whole content or not at all.
func put(path string, content []byte, mode fs.FileMode, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return place(f.Name(), path)
}

// KeyID names a key by its own hash: 16 hexadecimal digits.
func KeyID(key crypto.Signer) (string, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:8]), nil
}
