package main

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"log"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/evidence/tpm/enroll"
)

// startTPM starts a new TPM, and returns the path of its socket.
func startTPM() (path string, stop func()) {
	dir := must(os.MkdirTemp("", "swtpm")) // a socket's path must be short
	path = filepath.Join(dir, "s")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--server", "type=unixio,path="+path, "--flags", "not-need-init,startup-clear")
	must(0, cmd.Start())
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			log.Fatal("swtpm does not start: ", err)
		}
	}
	return path, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
}

// certifyAK has a CA certify an attestation key without a question. A CA that is worth
// its name makes sure first that the key is in a genuine TPM: package enroll.
func certifyAK(ak *tpm.AK) (*x509.CertPool, []*x509.Certificate) {
	ca := must(enroll.NewAuthority("example AK CA", time.Now()))
	template := &x509.Certificate{ // the serial number in Subject identifies the machine
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "AK", SerialNumber: hex.EncodeToString(make([]byte, 32))},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		SubjectKeyId: ak.Name(), UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDAKCertificate},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, ca.Certificate, ak.Public(), ca.Key))
	return ca.Pool(), []*x509.Certificate{must(x509.ParseCertificate(der))}
}

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
