package authenticator

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/internal/tlspair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now      = time.Now()
	clock    = func() time.Time { return now }
	anyChain = ValidateOptions{VerifyChain: AcceptAnyChain}
)

// newCA, newKey, rsaKey2048 and ownLeaf make what most tests share, once.
var (
	newCA      = sync.OnceValue(func() *testca.CA { return must(testca.New("test", now)) })
	newKey     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	rsaKey2048 = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// ownLeaf is the certificate of both ends of [connect].
var ownLeaf = sync.OnceValue(func() tls.Certificate { return leaf(newKey()) })

// leaf is a chain of leaf and intermediate for the names server.test and client.test.
func leaf(key crypto.Signer) tls.Certificate {
	return must(newCA().Leaf(key, now, "server.test", "client.test"))
}

func identity(t testing.TB, cert tls.Certificate) *Identity {
	t.Helper()
	id, err := NewIdentity(cert)
	require.NoError(t, err)
	return id
}

func ecdsaIdentity(t testing.TB) *Identity { return identity(t, ownLeaf()) }

// pair is both ends of one TLS connection.
type pair struct {
	client, server         *Session
	clientConn, serverConn *tls.Conn
}

// configs are for mutual authentication with the same certificate on both sides.
func configs(cert tls.Certificate) (client, server *tls.Config) {
	return &tls.Config{RootCAs: newCA().Pool(), ServerName: "server.test", Certificates: []tls.Certificate{cert}},
		&tls.Config{ClientCAs: newCA().Pool(), ClientAuth: tls.RequireAndVerifyClientCert, Certificates: []tls.Certificate{cert}}
}

// connect makes a TLS 1.3 connection over TCP; suite 0 leaves the suite to crypto/tls.
func connect(t testing.TB, suite uint16) pair {
	t.Helper()
	cc, sc := configs(ownLeaf())
	var p pair
	if suite == 0 {
		p.clientConn, p.serverConn = tlspair.Connect(t, cc, sc)
	} else {
		p.clientConn, p.serverConn = tlspair.ConnectSuite(t, suite, cc, sc)
	}
	var err error
	p.client, err = NewSession(p.clientConn.ConnectionState(), Client)
	require.NoError(t, err)
	p.server, err = NewSession(p.serverConn.ConnectionState(), Server)
	require.NoError(t, err)
	return p
}

// fakeExporter derives values from nothing but label and context: both ends of a
// connection that tests make without TLS.
type fakeExporter struct{ h crypto.Hash }

func (f fakeExporter) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	var out []byte
	for i := byte(0); len(out) < length; i++ {
		h := f.h.New()
		h.Write([]byte{i})
		h.Write([]byte(label))
		h.Write(context)
		out = h.Sum(out)
	}
	return out[:length], nil
}

// exporterPair is a pair over fakeExporter.
func exporterPair(t testing.TB) pair {
	t.Helper()
	client, err := NewSessionFromExporter(fakeExporter{crypto.SHA256}, crypto.SHA256, Client)
	require.NoError(t, err)
	server, err := NewSessionFromExporter(fakeExporter{crypto.SHA256}, crypto.SHA256, Server)
	require.NoError(t, err)
	return pair{client: client, server: server}
}

// ask carries a request from one side to the other.
func ask(t testing.TB, from, to *Session, o RequestOptions) (*Request, *ReceivedRequest) {
	t.Helper()
	r, err := from.NewRequest(o)
	require.NoError(t, err)
	received, err := to.ReceiveRequest(r.Bytes())
	require.NoError(t, err)
	return r, received
}

// exchange is one request and its answer with id.
func exchange(t testing.TB, from, to *Session, o RequestOptions, id *Identity, leaf ...Extension) (*Request, []byte) {
	t.Helper()
	r, received := ask(t, from, to, o)
	b, err := to.Authenticate(context.Background(), received, id, leaf...)
	require.NoError(t, err)
	return r, b
}

// requireError checks reason, operation, fault and, through the reason, the alert.
func requireError(t testing.TB, err, reason error, op Op, fault Fault) {
	t.Helper()
	require.ErrorIs(t, err, reason)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, op, e.Op, "%v", err)
	require.Equal(t, fault, e.Fault, "%v", err)
	var f *failure
	require.True(t, errors.As(reason, &f))
	require.Equal(t, f.alert, e.Alert, "%v", err)
}

// hello is what crypto/tls clients offer, for spontaneous authenticators.
func hello() ClientHello {
	return ClientHello{SignatureSchemes: SignatureSchemes(), Extensions: []uint16{0, 5, 10, 13, 18, 50}, ServerName: "server.test"}
}

func serverChain() ValidateOptions {
	return ValidateOptions{VerifyChain: VerifyServerChain(newCA().Pool(), "server.test", clock)}
}

func clientChain() ValidateOptions {
	return ValidateOptions{VerifyChain: VerifyClientChain(newCA().Pool(), clock)}
}

// template is a leaf's, for tests that need other fields than [leaf] sets.
func template(name string) *x509.Certificate {
	c := must(x509.ParseCertificate(ownLeaf().Certificate[0]))
	return &x509.Certificate{
		SerialNumber: c.SerialNumber, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		DNSNames: []string{name}, KeyUsage: c.KeyUsage, ExtKeyUsage: c.ExtKeyUsage,
	}
}

// opaque hides what kind of key a Signer is, as a TPM or an HSM does.
type opaque struct{ crypto.Signer }

// withKey is ownLeaf with another Signer for its key.
func withKey(key crypto.Signer) tls.Certificate {
	cert := ownLeaf()
	cert.PrivateKey = key
	return cert
}
