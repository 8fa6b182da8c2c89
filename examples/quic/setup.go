package main

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"time"

	"github.com/expat-go/expat/evidence"
)

// roots are the X.509 roots of both sides: here their own certificates.
var roots = x509.NewCertPool()

// certificates makes a certificate for a key and trusts it. A deployment has its
// CA sign one.
func certificates(key crypto.Signer) []tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	roots.AddCert(must(x509.ParseCertificate(der)))
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

// measure stands for what the hardware does: it hashes the program.
func measure(program string) []evidence.Measurement {
	digest := sha256.Sum256([]byte(program))
	return []evidence.Measurement{{Name: "program", Algorithm: "sha-256", Digest: digest[:]}}
}

// reference holds the one good measurement of a program. A build publishes it.
func reference(program string) map[string][][]byte {
	return map[string][][]byte{"program": {measure(program)[0].Digest}}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
