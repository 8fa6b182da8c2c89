package state

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// How long certificates last: the root as long as a vendor of simulated TEEs, a
// leaf as long as a process that has made its key should run.
const (
	caValidity   = 365 * 24 * time.Hour
	leafValidity = 7 * 24 * time.Hour
)

// pemCAKey is a block type that no other program takes for a key.
const pemCAKey = "EXPAT X509 TEST KEY"

const caHeader = "TEST KEYS of expat serve. Root of the X.509 certificates of both sides, with its\n" +
	"private key. They protect nothing.\n\n"

// CA issues the X.509 certificates of both sides. Its key lies in a file.
type CA struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// A name of its own keeps crypto/x509 from trying another directory's root.
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	root, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: fmt.Sprintf("expat serve test root %x", id)},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(caValidity),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}, nil, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &CA{root: root, key: key}, nil
}

// Leaf issues a certificate for the key of a server or client, for the given
// names, which may be IP addresses.
func (ca *CA) Leaf(key crypto.Signer, usage x509.ExtKeyUsage, now time.Time, names ...string) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(leafValidity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf, err := issue(template, ca.root, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// issue signs a template; a nil parent means self-signed.
func issue(template, parent *x509.Certificate, pub crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (ca *CA) marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString(caHeader)
	out.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: ca.root.Raw}))
	out.Write(pem.EncodeToMemory(&pem.Block{Type: pemCAKey, Bytes: der}))
	return out.Bytes(), nil
}

func parseCA(b []byte) (*CA, error) {
	cert, b := pem.Decode(b)
	if cert == nil || cert.Type != pemCertificate {
		return nil, errors.New("no certificate where one belongs")
	}
	block, b := pem.Decode(b)
	if block == nil || block.Type != pemCAKey || len(bytes.TrimSpace(b)) != 0 {
		return nil, errors.New("no test key where one belongs")
	}
	root, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || !root.IsCA || !signer.PublicKey.Equal(root.PublicKey) {
		return nil, errors.New("the key is not that of a CA's certificate")
	}
	return &CA{root: root, key: signer}, nil
}

const pemCertificate = "CERTIFICATE"

// encodeRoot is the file of a root: who trusts it must know what it is.
func encodeRoot(comment string, root *x509.Certificate) []byte {
	return append([]byte(comment), pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: root.Raw})...)
}

func parseRoot(b []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemCertificate || len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("not exactly one certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// current tells whether a root can be used now.
func current(root *x509.Certificate, now time.Time) error {
	if now.Before(root.NotBefore) || now.After(root.NotAfter) {
		return fmt.Errorf("its certificate is valid from %s to %s",
			root.NotBefore.Format(time.DateOnly), root.NotAfter.Format(time.DateOnly))
	}
	return nil
}
