package expat_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
)

// iotCertificate is self-signed: a chain of one certificate, of which the peer
// knows the key already.
func iotCertificate(t *testing.T, key crypto.Signer, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// frameLog adds up the frames that one side sends, by name.
type frameLog struct {
	mu   sync.Mutex
	size map[string]int
}

func (l *frameLog) trace() *expat.Trace {
	return &expat.Trace{FrameSent: func(f expat.Frame) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.size[f.Name] += f.Size
	}}
}

func (l *frameLog) sizes() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.size)
}

// The profile of docs/dtls.md for small devices: CBOR alone, one certificate of a
// key on P-256, one measurement, and limits that a device can hold. The bytes are
// those that the page states. A DER signature varies by a few bytes.
func TestIoTProfile(t *testing.T) {
	t.Parallel()
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Measurements: []evidence.Measurement{{Name: "program", Algorithm: "sha-256", Digest: good[:]}},
		Debug:        evidence.DebugDisabled,
	}))
	deviceCert, deviceRoots := iotCertificate(t, must(device.GenerateKey(elliptic.P256())), "device.test")
	gatewayCert, gatewayRoots := iotCertificate(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "gateway.test")
	sent := map[string]*frameLog{"device": {size: map[string]int{}}, "gateway": {size: map[string]int{}}}

	server := &expat.Config{
		TLS:              &tls.Config{Certificates: []tls.Certificate{gatewayCert}, ClientCAs: deviceRoots},
		Verifier:         policy(),
		MaxAuthenticator: 2048,
		Trace:            sent["gateway"].trace(),
	}
	client := &expat.Config{
		TLS:              &tls.Config{Certificates: []tls.Certificate{deviceCert}, RootCAs: gatewayRoots, ServerName: "gateway.test"},
		Attester:         simulated.NewAttester(device),
		MaxAuthenticator: 2048,
		Trace:            sent["device"].trace(),
	}
	ln := serve(server)
	defer ln.Close()
	conn, err := expat.Dial(context.Background(), "tcp", ln.Addr().String(), client)
	require.NoError(t, err)
	defer conn.Close()

	require.Equal(t, map[string]int{"HELLO": 110, "REQUEST": 109, "RESULT": 13}, sent["gateway"].sizes())
	got := sent["device"].sizes()
	require.Equal(t, 19, got["HELLO"])
	require.InDelta(t, 1810, got["AUTHENTICATOR"], 12)
	require.Len(t, got, 2)
}
