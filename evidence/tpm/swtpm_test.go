package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
)

// emulator is a software TPM in a process of its own.
type emulator struct {
	dir  string
	cmd  *exec.Cmd
	path string // of its server socket
}

// newEmulator starts swtpm with new state, or skips the test.
func newEmulator(t testing.TB) *emulator {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skip("swtpm is missing: apt-get install -y swtpm swtpm-tools gnutls-bin")
	}
	dir, err := os.MkdirTemp("", "swtpm") // a socket's path must be short
	require.NoError(t, err)
	e := &emulator{dir: dir, path: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		e.stop()
		os.RemoveAll(dir)
	})
	e.start(t)
	return e
}

func (e *emulator) start(t testing.TB) {
	t.Helper()
	os.Remove(e.path)
	e.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+e.dir,
		"--server", "type=unixio,path="+e.path, "--flags", "not-need-init,startup-clear")
	require.NoError(t, e.cmd.Start())
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", e.path)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 10*time.Second, 2*time.Millisecond)
}

func (e *emulator) stop() {
	if e.cmd != nil {
		e.cmd.Process.Kill()
		e.cmd.Wait()
		e.cmd = nil
	}
}

func (e *emulator) open(t testing.TB) *TPM {
	t.Helper()
	tpm, err := Open(context.Background(), Options{Open: Socket("unix", e.path)})
	require.NoError(t, err)
	t.Cleanup(func() { tpm.Close() })
	return tpm
}

// authority issues certificates for attestation keys.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "AK CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// testInstance is the identifier of the device in test certificates.
var testInstance = bytes.Repeat([]byte{7}, 32)

// template is that of a good certificate for an attestation key.
func (a *authority) template(name []byte) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(77),
		Subject:      pkix.Name{CommonName: "AK", SerialNumber: hex.EncodeToString(testInstance)},
		NotBefore:    a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		SubjectKeyId: name, UnknownExtKeyUsage: []asn1.ObjectIdentifier{OIDAKCertificate},
	}
}

func (a *authority) issue(t testing.TB, template *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// device is a TPM with an enrolled attestation key and a TLS key.
type device struct {
	emulator *emulator
	tpm      *TPM
	ca       *authority
	ak       *AK
	chain    []*x509.Certificate
	key      *Key
	id       *authenticator.Identity
	attester *Attester
}

var testPCRs = Selection{PCRs: []int{0, 1, 2, 3, 4, 7, 14, 15, 16, 23}}

func newDevice(t testing.TB, ca *authority, akAlgorithm, keyAlgorithm Algorithm) *device {
	t.Helper()
	ctx := context.Background()
	d := &device{emulator: newEmulator(t), ca: ca}
	d.tpm = d.emulator.open(t)
	var err error
	d.ak, err = d.tpm.CreateAK(ctx, KeyOptions{Algorithm: akAlgorithm})
	require.NoError(t, err)
	d.chain = []*x509.Certificate{ca.issue(t, ca.template(d.ak.Name()), d.ak.Public())}
	d.key, err = d.tpm.CreateKey(ctx, KeyOptions{Algorithm: keyAlgorithm})
	require.NoError(t, err)
	d.id = identity(t, d.key)
	d.attester = d.newAttester(t)
	return d
}

func (d *device) newAttester(t testing.TB) *Attester {
	t.Helper()
	a, err := NewAttester(AttesterOptions{AK: d.ak, Chain: d.chain, Keys: []*Key{d.key}, PCRs: testPCRs})
	require.NoError(t, err)
	return a
}

func identity(t testing.TB, key crypto.Signer) *authenticator.Identity {
	t.Helper()
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	return id
}

// attest makes Evidence on a connection of its own.
func (d *device) attest(t testing.TB) (attestation.Binding, []byte) {
	t.Helper()
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, d.id, d.attester)
	require.NoError(t, err)
	require.NotNil(t, m)
	return b, m.Leaves()[0].Value
}

func extract(ca *authority, value []byte) (*evidence.Claims, error) {
	return Extractor{}.Extract(context.Background(), MediaType, value, ca.roots(), time.Now())
}
