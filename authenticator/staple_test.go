package authenticator

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/expat-go/expat/internal/testca"
)

// staple is an OCSP response for the leaf, by the CA unless a responder is given.
func staple(t testing.TB, leaf *x509.Certificate, change func(*ocsp.Response), responder *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: leaf.SerialNumber, Certificate: responder,
		ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour),
	}
	if change != nil {
		change(&template)
	}
	if responder == nil {
		responder = newCA().Intermediate
	}
	b, err := ocsp.CreateResponse(newCA().Intermediate, responder, template, key)
	require.NoError(t, err)
	return b
}

// responder is a certificate that the CA issued for key.
func responder(key crypto.Signer, usage x509.ExtKeyUsage, from, to time.Time) *x509.Certificate {
	c := template("ocsp.test")
	c.SerialNumber = big.NewInt(77)
	c.ExtKeyUsage, c.NotBefore, c.NotAfter = []x509.ExtKeyUsage{usage}, from, to
	return must(newCA().Issue(c, key)).Leaf
}

// padded makes a response larger by n bytes.
func padded(n int) func(*ocsp.Response) {
	return func(r *ocsp.Response) {
		r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999}, Value: make([]byte, n)}}
	}
}

// B-10: revocation as part of X.509 validation.
func TestCheckStaple(t *testing.T) {
	t.Parallel()
	leaf := ownLeaf().Leaf
	verified := []*x509.Certificate{leaf, newCA().Intermediate, newCA().Root}
	key, ca := newKey(), newCA().Signer()
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	delegate := responder(key, x509.ExtKeyUsageOCSPSigning, hour(-1), hour(1))
	foreign := must(testca.New("foreign", now))
	for _, tc := range []struct {
		name   string
		staple []byte
		ok     bool
	}{
		{"good", staple(t, leaf, nil, nil, ca), true},
		{"good, by a certified responder", staple(t, leaf, nil, delegate, key), true},
		{"revoked", staple(t, leaf, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }, nil, ca), false},
		{"unknown", staple(t, leaf, func(r *ocsp.Response) { r.Status = ocsp.Unknown }, nil, ca), false},
		{"run out", staple(t, leaf, func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Second) }, nil, ca), false},
		{"from the future", staple(t, leaf, func(r *ocsp.Response) { r.ThisUpdate = now.Add(time.Minute) }, nil, ca), false},
		{"never runs out", staple(t, leaf, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }, nil, ca), false},
		{"of another certificate", staple(t, leaf, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(1) }, nil, ca), false},
		{"by another key", staple(t, leaf, nil, nil, key), false},
		{"by a responder of another CA", staple(t, leaf, nil, must(foreign.Leaf(key, now, "ocsp.test")).Leaf, key), false},
		{"by the leaf itself", staple(t, leaf, nil, leaf, key), false},
		{"by a responder of another use", staple(t, leaf, nil, responder(key, x509.ExtKeyUsageServerAuth, hour(-1), hour(1)), key), false},
		{"by a responder that has run out", staple(t, leaf, nil, responder(key, x509.ExtKeyUsageOCSPSigning, hour(-2), hour(-1)), key), false},
		{"by a responder of tomorrow", staple(t, leaf, nil, responder(key, x509.ExtKeyUsageOCSPSigning, hour(1), hour(2)), key), false},
		{"large", staple(t, leaf, padded(15<<10), nil, ca), true},
		{"larger than any responder's", staple(t, leaf, padded(16<<10), nil, ca), false},
		{"not OCSP", []byte("good"), false},
		{"empty", nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := CheckStaple(tc.staple, verified, now)
			require.Equal(t, tc.ok, err == nil, "%v", err)
		})
	}
	require.Error(t, CheckStaple(staple(t, leaf, nil, nil, ca), verified[:1], now))
}

// A-28, B-10: a staple and timestamps travel when offered and only then, and a
// staple that is there is checked.
func TestStapleInAuthenticator(t *testing.T) {
	t.Parallel()
	cert := ownLeaf()
	good := staple(t, cert.Leaf, nil, nil, newCA().Signer())
	revoked := staple(t, cert.Leaf, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }, nil, newCA().Signer())
	scts := [][]byte{[]byte("first"), []byte("second")}
	for _, tc := range []struct {
		name      string
		o         RequestOptions
		staple    []byte
		wantOCSP  []byte
		wantSCTs  [][]byte
		wantError error
	}{
		{"neither offered", RequestOptions{}, good, nil, nil, nil},
		{"OCSP offered", RequestOptions{OCSP: true}, good, good, nil, nil},
		{"SCT offered", RequestOptions{SCT: true}, good, nil, scts, nil},
		{"both offered", RequestOptions{OCSP: true, SCT: true}, good, good, scts, nil},
		{"nothing to staple", RequestOptions{OCSP: true}, nil, nil, nil, nil},
		{"revoked", RequestOptions{OCSP: true}, revoked, nil, nil, ErrCertificate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			cert := ownLeaf()
			cert.OCSPStaple, cert.SignedCertificateTimestamps = tc.staple, scts
			r, b := exchange(t, p.client, p.server, tc.o, identity(t, cert))
			peer, err := p.client.Validate(r, b, serverChain())
			if tc.wantError != nil {
				requireError(t, err, tc.wantError, OpValidate, FaultPeer)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.wantOCSP, peer.Chain().OCSPStaple)
			require.Equal(t, tc.wantSCTs, peer.Chain().SCTs)
		})
	}
}

// A staple that does not fit its extension is our trouble, not the peer's.
func TestStapleTooLarge(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	cert := ownLeaf()
	cert.OCSPStaple = make([]byte, 65536)
	_, received := ask(t, p.client, p.server, RequestOptions{OCSP: true})
	_, err := p.server.Authenticate(context.Background(), received, identity(t, cert))
	requireError(t, err, ErrLimit, OpAuthenticate, FaultLocal)
}

// A-43, B-11: the chain is judged on every axis; nothing nil is a way around.
func TestVerifyChain(t *testing.T) {
	t.Parallel()
	roots := newCA().Pool()
	later := func() time.Time { return now.Add(48 * time.Hour) }
	serverOnly, clientOnly := template("server.test"), template("client.test")
	serverOnly.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	clientOnly.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, tc := range []struct {
		name     string
		template *x509.Certificate
		verify   ChainVerifier
		ok       bool
	}{
		{"server", serverOnly, VerifyServerChain(roots, "server.test", clock), true},
		{"client", clientOnly, VerifyClientChain(roots, clock), true},
		{"client certificate of a server", clientOnly, VerifyServerChain(roots, "client.test", clock), false},
		{"server certificate of a client", serverOnly, VerifyClientChain(roots, clock), false},
		{"another name", serverOnly, VerifyServerChain(roots, "other.test", clock), false},
		{"no name", serverOnly, VerifyServerChain(roots, "", clock), false},
		{"expired", serverOnly, VerifyServerChain(roots, "server.test", later), false},
		{"other roots", serverOnly, VerifyServerChain(must(testca.New("other", now)).Pool(), "server.test", clock), false},
		{"no roots", serverOnly, VerifyServerChain(nil, "server.test", clock), false},
		{"no roots for clients", clientOnly, VerifyClientChain(nil, clock), false},
		{"no clock", serverOnly, VerifyServerChain(roots, "server.test", nil), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			id := identity(t, must(newCA().Issue(tc.template, newKey())))
			r, b := exchange(t, p.client, p.server, RequestOptions{}, id)
			peer, err := p.client.Validate(r, b, ValidateOptions{VerifyChain: tc.verify})
			if tc.ok {
				require.NoError(t, err)
				return
			}
			requireError(t, err, ErrCertificate, OpValidate, FaultPeer)
			require.Nil(t, peer)
		})
	}
}
