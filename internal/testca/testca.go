// Package testca makes short-lived X.509 chains for tests, examples and the
// demonstration command: root, intermediate, leaf. Its keys are made anew in
// every process and must guard nothing.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CA is a root and one intermediate that issues leaves.
type CA struct {
	Root            *x509.Certificate
	Intermediate    *x509.Certificate
	intermediateKey crypto.Signer
}

// New makes a CA, valid from an hour before now until a day after.
func New(name string, now time.Time) (*CA, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := issue(authority(name+" root", now), nil, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	intermediate, err := issue(authority(name+" intermediate", now), root, key.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	return &CA{Root: root, Intermediate: intermediate, intermediateKey: key}, nil
}

// Pool holds the root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root)
	return pool
}

// Leaf issues a certificate for server and client authentication, for the given
// names, which may be IP addresses.
func (ca *CA) Leaf(key crypto.Signer, now time.Time, names ...string) (tls.Certificate, error) {
	if len(names) == 0 {
		return tls.Certificate{}, fmt.Errorf("testca: a leaf needs a name")
	}
	template := base(names[0], now)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return ca.Issue(template, key)
}

// Issue signs a template for key and returns the chain without the root.
func (ca *CA) Issue(template *x509.Certificate, key crypto.Signer) (tls.Certificate, error) {
	leaf, err := issue(template, ca.Intermediate, key.Public(), ca.intermediateKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Intermediate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// Signer is the intermediate's key, to sign OCSP responses with.
func (ca *CA) Signer() crypto.Signer { return ca.intermediateKey }

func base(name string, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
}

func authority(name string, now time.Time) *x509.Certificate {
	t := base(name, now)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return t
}

// issue signs a template; a nil parent means self-signed.
func issue(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("testca: %w", err)
	}
	return x509.ParseCertificate(der)
}
