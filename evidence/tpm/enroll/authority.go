package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Authority is a CA's certificate and key.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// The files of an authority, in a directory of its own.
const (
	certFile = "ca.pem"
	keyFile  = "ca-key.pem"
)

// authorityLife is how long a new authority lasts.
const authorityLife = 10 * 365 * 24 * time.Hour

// NewAuthority makes a self-signed CA with an ECDSA P-256 key, valid from now for ten
// years.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("enroll: CA key: %w", err)
	}
	a := &Authority{Key: key}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	a.Certificate, err = a.issue(template, key.Public())
	return a, err
}

// clockSkew is by how much certificates begin before they are made.
const clockSkew = 5 * time.Minute

// issue signs a template with a new serial number. An authority without a
// certificate signs its own.
func (a *Authority) issue(template *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("enroll: serial number: %w", err)
	}
	template.SerialNumber = serial
	parent := a.Certificate
	if parent == nil {
		parent = template
	} else if parent.NotAfter.Before(template.NotAfter) {
		template.NotAfter = parent.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, a.Key)
	if err != nil {
		return nil, fmt.Errorf("enroll: certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Save writes the authority to a directory, which it makes. The key file is readable
// by its owner alone. Files that are there are not replaced.
func (a *Authority) Save(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.Key)
	if err != nil {
		return fmt.Errorf("enroll: encode CA key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(dir, keyFile), 0o600, "PRIVATE KEY", der); err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, certFile), 0o644, "CERTIFICATE", a.Certificate.Raw)
}

func writeNew(path string, mode os.FileMode, block string, der []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: block, Bytes: der}), f.Close())
}

// LoadAuthority reads what [Authority.Save] wrote. The error wraps [ErrAuthority].
func LoadAuthority(dir string) (*Authority, error) {
	cert, err := readBlock(filepath.Join(dir, certFile), "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	der, err := readBlock(filepath.Join(dir, keyFile), "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	a := new(Authority)
	if a.Certificate, err = x509.ParseCertificate(cert); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ec.PublicKey.Equal(a.Certificate.PublicKey) || !a.Certificate.IsCA {
		return nil, fmt.Errorf("%w: the key is not that of a CA's certificate beside it", ErrAuthority)
	}
	a.Key = ec
	return a, nil
}

func readBlock(path, block string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	p, _ := pem.Decode(b)
	if p == nil || p.Type != block {
		return nil, fmt.Errorf("%w: %s holds no PEM block %s", ErrAuthority, filepath.Base(path), block)
	}
	return p.Bytes, nil
}

// Pool holds the authority's certificate: a verifier's roots.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}
