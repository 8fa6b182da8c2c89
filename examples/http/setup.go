package main

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// roots are the X.509 roots of all sides: here their own certificates.
var roots = x509.NewCertPool()

// side runs one program in a device of its own and accepts peers that run one of
// others.
func side(vendor *simulated.Vendor, program string, others ...string) *expat.Config {
	device := must(vendor.NewDevice(simulated.DeviceOptions{Debug: evidence.DebugDisabled, Measurements: measure(program)}))
	var good [][]byte
	for _, other := range others {
		good = append(good, measure(other)[0].Digest)
	}
	policy := must(verifier.New(verifier.Policy{
		Name: "example", Roots: vendor.Roots(), AnyInstance: true, Measurements: map[string][][]byte{"program": good},
	}, simulated.Extractor{}))
	return &expat.Config{
		TLS: &tls.Config{
			Certificates: certificates(must(device.GenerateKey(elliptic.P256()))), // born in the device
			RootCAs:      roots, ClientCAs: roots,
		},
		Attester: simulated.NewAttester(device),
		Verifier: policy,
	}
}

// certificates makes a certificate for a key and trusts it. A deployment has its
// CA sign one.
func certificates(key crypto.Signer) []tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
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

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
