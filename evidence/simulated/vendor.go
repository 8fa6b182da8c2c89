package simulated

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// oemidLen is the length in bytes of a random oemid (RFC 9711, Section 4.2.3.1).
const oemidLen = 16

// validity is how long a vendor's certificates last.
const validity = 365 * 24 * time.Hour

// Vendor makes devices and certifies them: a root and an intermediate CA with
// ECDSA P-256 keys. The root's key is forgotten once the intermediate is made.
type Vendor struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey // the intermediate's
}

// NewVendor makes a vendor with new keys. Its certificates are valid from an
// hour before now, for a year.
func NewVendor(name string, now time.Time) (*Vendor, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("simulated: vendor key: %w", err)
	}
	root, err := issue(authority(name+" simulated TEE root", 1, now), nil, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("simulated: vendor key: %w", err)
	}
	intermediate, err := issue(authority(name+" simulated TEE CA", 0, now), root, &key.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	return &Vendor{root: root, intermediate: intermediate, key: key}, nil
}

// Root is the certificate that a policy must name to trust the vendor's devices.
func (v *Vendor) Root() *x509.Certificate { return v.root }

// Roots is a new pool that holds the root.
func (v *Vendor) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(v.root)
	return pool
}

// OEMID is the vendor's identifier in Evidence (oemid), 16 bytes: the start of
// the SHA-256 of the root's SubjectPublicKeyInfo.
func (v *Vendor) OEMID() []byte { return oemid(v.root) }

func oemid(root *x509.Certificate) []byte {
	sum := sha256.Sum256(root.RawSubjectPublicKeyInfo)
	return sum[:oemidLen]
}

func authority(name string, pathLen int, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            pathLen,
		MaxPathLenZero:        pathLen == 0,
	}
}

// issue signs a template with a new serial number; a nil parent means
// self-signed.
func issue(template, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("simulated: serial number: %w", err)
	}
	template.SerialNumber = serial
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("simulated: certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// pemKey is a block type that no other program takes for a key.
const pemKey = "EXPAT SIMULATED TEE TEST KEY"

// MarshalPEM encodes the vendor with its private key, so that a command can keep
// it: two certificates and a block that says it holds a test key.
func (v *Vendor) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(v.key)
	if err != nil {
		return nil, fmt.Errorf("simulated: encode vendor: %w", err)
	}
	var out bytes.Buffer
	out.WriteString("Vendor of simulated TEEs. The key below is a test key: it protects nothing.\n\n")
	for _, b := range []*pem.Block{
		{Type: "CERTIFICATE", Bytes: v.root.Raw},
		{Type: "CERTIFICATE", Bytes: v.intermediate.Raw},
		{Type: pemKey, Bytes: der},
	} {
		if err := pem.Encode(&out, b); err != nil {
			return nil, fmt.Errorf("simulated: encode vendor: %w", err)
		}
	}
	return out.Bytes(), nil
}

// ErrVendor: the PEM is not a vendor that MarshalPEM wrote.
var ErrVendor = errors.New("not the PEM of a vendor of simulated TEEs")

// ParseVendor decodes what [Vendor.MarshalPEM] wrote. The error wraps [ErrVendor].
func ParseVendor(b []byte) (*Vendor, error) {
	v := new(Vendor)
	for _, part := range []struct {
		typ   string
		parse func([]byte) error
	}{
		{"CERTIFICATE", func(der []byte) (err error) { v.root, err = x509.ParseCertificate(der); return err }},
		{"CERTIFICATE", func(der []byte) (err error) { v.intermediate, err = x509.ParseCertificate(der); return err }},
		{pemKey, v.parseKey},
	} {
		var block *pem.Block
		block, b = pem.Decode(b)
		if block == nil || block.Type != part.typ {
			return nil, fmt.Errorf("%w: no %s where one belongs", ErrVendor, part.typ)
		}
		if err := part.parse(block.Bytes); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrVendor, err)
		}
	}
	if len(bytes.TrimSpace(b)) != 0 {
		return nil, fmt.Errorf("%w: more follows the key", ErrVendor)
	}
	if err := v.intermediate.CheckSignatureFrom(v.root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVendor, err)
	}
	if !v.key.PublicKey.Equal(v.intermediate.PublicKey) {
		return nil, fmt.Errorf("%w: the key is not the CA's", ErrVendor)
	}
	return v, nil
}

func (v *Vendor) parseKey(der []byte) error {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	var ok bool
	if v.key, ok = key.(*ecdsa.PrivateKey); !ok {
		return errors.New("not an ECDSA key")
	}
	return nil
}
