package main

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"time"
)

// roots are the X.509 roots of all sides: here their own certificates.
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

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
