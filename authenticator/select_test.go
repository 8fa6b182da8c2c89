package authenticator

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/testca"
)

// which identity answers which request.
func TestSelect(t *testing.T) {
	t.Parallel()
	other := must(testca.New("other", now))
	p384 := identity(t, leaf(ecKey(elliptic.P384())))
	ec := ecdsaIdentity(t)
	foreign := identity(t, must(other.Leaf(newKey(), now, "other.test")))
	selfSigned := identity(t, tls.Certificate{Certificate: [][]byte{newCA().Root.Raw}, PrivateKey: publicOnly{pub: newCA().Root.PublicKey}})
	ourIssuer, ourRoot := newCA().Intermediate.RawSubject, newCA().Root.RawSubject
	for _, tc := range []struct {
		name string
		o    RequestOptions
		ids  []*Identity
		want *Identity // nil: none
	}{
		{"first that fits", RequestOptions{}, []*Identity{foreign, ec, p384}, foreign},
		{"nil is passed over", RequestOptions{}, []*Identity{nil, ec}, ec},
		{"none given", RequestOptions{}, nil, nil},
		{"signature_algorithms", RequestOptions{SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}, SignatureSchemesCert: SignatureSchemes()}, []*Identity{ec, p384}, p384},
		{"signature_algorithms_cert", RequestOptions{SignatureSchemesCert: []tls.SignatureScheme{tls.Ed25519}}, []*Identity{ec}, nil},
		{"signature_algorithms govern the chain", RequestOptions{SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}}, []*Identity{p384}, nil},
		{"self-signed is not counted", RequestOptions{SignatureSchemesCert: []tls.SignatureScheme{tls.Ed25519}}, []*Identity{ec, selfSigned}, selfSigned},
		{"server_name", RequestOptions{ServerName: "server.test"}, []*Identity{foreign, ec}, ec},
		{"server_name of nobody", RequestOptions{ServerName: "nobody.test"}, []*Identity{foreign, ec}, nil},
		{"certificate_authorities: issuer of the leaf", RequestOptions{Authorities: [][]byte{{0x30, 0}, ourIssuer}}, []*Identity{foreign, ec}, ec},
		{"certificate_authorities: root", RequestOptions{Authorities: [][]byte{ourRoot}}, []*Identity{foreign, ec}, ec},
		{"certificate_authorities of nobody", RequestOptions{Authorities: [][]byte{{0x30, 0}}}, []*Identity{foreign, ec}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			_, received := ask(t, p.client, p.server, tc.o)
			got, err := received.Select(tc.ids...)
			if tc.want == nil {
				requireError(t, err, ErrNoIdentity, OpAuthenticate, FaultLocal)
				require.Nil(t, got)
				b, err := p.server.Refuse(received) // a request without a match can be refused
				require.NoError(t, err)
				require.Len(t, b, 36)
				return
			}
			require.NoError(t, err)
			require.Same(t, tc.want, got)
		})
	}
}

// publicOnly is a Signer that only knows its public key.
type publicOnly struct {
	crypto.Signer
	pub crypto.PublicKey
}

func (k publicOnly) Public() crypto.PublicKey { return k.pub }

// oid_filters, as RFC 8446, Section 4.2.5 matches them.
func TestOIDFilters(t *testing.T) {
	t.Parallel()
	value := func(v any) []byte { return must(asn1.Marshal(v)) }
	usage := func(bits byte, n int) []byte { return value(asn1.BitString{Bytes: []byte{bits}, BitLength: n}) }
	serverAuth, clientAuth := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	codeSigning := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	bare := template("server.test")
	bare.KeyUsage, bare.ExtKeyUsage = 0, nil
	with, without := ecdsaIdentity(t), identity(t, must(newCA().Issue(bare, newKey())))
	for _, tc := range []struct {
		name    string
		filters []OIDFilter
		id      *Identity
		ok      bool
	}{
		{"digitalSignature", []OIDFilter{{oidKeyUsage, usage(0x80, 1)}}, with, true},
		{"digitalSignature and keyCertSign", []OIDFilter{{oidKeyUsage, usage(0x84, 6)}}, with, false},
		{"any key usage", []OIDFilter{{oidKeyUsage, nil}}, with, true},
		{"no key usage there", []OIDFilter{{oidKeyUsage, nil}}, without, false},
		{"key usage is no bit string", []OIDFilter{{oidKeyUsage, []byte{5, 0}}}, with, false},
		{"serverAuth", []OIDFilter{{oidExtKeyUsage, value([]asn1.ObjectIdentifier{serverAuth})}}, with, true},
		{"serverAuth and clientAuth", []OIDFilter{{oidExtKeyUsage, value([]asn1.ObjectIdentifier{clientAuth, serverAuth})}}, with, true},
		{"codeSigning too", []OIDFilter{{oidExtKeyUsage, value([]asn1.ObjectIdentifier{serverAuth, codeSigning})}}, with, false},
		{"any extended key usage", []OIDFilter{{oidExtKeyUsage, nil}}, with, true},
		{"no extended key usage there", []OIDFilter{{oidExtKeyUsage, nil}}, without, false},
		{"extended key usage is no sequence", []OIDFilter{{oidExtKeyUsage, []byte{5, 0}}}, with, false},
		{"extended key usage is no sequence of OIDs", []OIDFilter{{oidExtKeyUsage, []byte{0x30, 2, 5, 0}}}, with, false},
		{"both", []OIDFilter{{oidKeyUsage, usage(0x80, 1)}, {oidExtKeyUsage, value([]asn1.ObjectIdentifier{serverAuth})}}, with, true},
		{"one of both", []OIDFilter{{oidKeyUsage, usage(0x80, 1)}, {oidExtKeyUsage, value([]asn1.ObjectIdentifier{codeSigning})}}, with, false},
		{"without a rule for matching: ignored", []OIDFilter{{asn1.ObjectIdentifier{2, 5, 29, 32}, []byte("whatever")}}, with, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			_, received := ask(t, p.server, p.client, RequestOptions{OIDFilters: tc.filters})
			_, err := received.Select(tc.id)
			if tc.ok {
				require.NoError(t, err)
				return
			}
			requireError(t, err, ErrNoIdentity, OpAuthenticate, FaultLocal)
		})
	}
	require.False(t, containsBits([]byte{5, 0}, usage(0x80, 1)))
}

// the scheme that a certificate's signature counts as.
func TestCertificateScheme(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[x509.SignatureAlgorithm]tls.SignatureScheme{
		x509.SHA1WithRSA:      0,
		x509.SHA256WithRSA:    tls.PKCS1WithSHA256,
		x509.SHA384WithRSA:    tls.PKCS1WithSHA384,
		x509.SHA512WithRSA:    tls.PKCS1WithSHA512,
		x509.SHA256WithRSAPSS: tls.PSSWithSHA256,
		x509.SHA384WithRSAPSS: tls.PSSWithSHA384,
		x509.SHA512WithRSAPSS: tls.PSSWithSHA512,
		x509.ECDSAWithSHA1:    0,
		x509.ECDSAWithSHA256:  tls.ECDSAWithP256AndSHA256,
		x509.ECDSAWithSHA384:  tls.ECDSAWithP384AndSHA384,
		x509.ECDSAWithSHA512:  tls.ECDSAWithP521AndSHA512,
		x509.PureEd25519:      tls.Ed25519,
	} {
		require.Equal(t, want, certificateScheme(&x509.Certificate{SignatureAlgorithm: algorithm}), algorithm)
	}
	for rsae, pss := range map[tls.SignatureScheme]tls.SignatureScheme{
		tls.PSSWithSHA256: PSSPSSWithSHA256, tls.PSSWithSHA384: PSSPSSWithSHA384, tls.PSSWithSHA512: PSSPSSWithSHA512,
	} {
		c := &x509.Certificate{RawSubject: []byte{1}, RawIssuer: []byte{2}, SignatureAlgorithm: map[tls.SignatureScheme]x509.SignatureAlgorithm{
			tls.PSSWithSHA256: x509.SHA256WithRSAPSS, tls.PSSWithSHA384: x509.SHA384WithRSAPSS, tls.PSSWithSHA512: x509.SHA512WithRSAPSS,
		}[rsae]}
		for _, scheme := range []tls.SignatureScheme{rsae, pss} {
			o := offer{schemes: SignatureSchemes(), schemesCert: []tls.SignatureScheme{scheme}}
			require.True(t, o.acceptsChain([]*x509.Certificate{c}))
		}
		o := offer{schemes: SignatureSchemes(), schemesCert: []tls.SignatureScheme{tls.Ed25519}}
		require.False(t, o.acceptsChain([]*x509.Certificate{c}))
	}
}

// An identity that does not fit is not used even if the caller did not select it,
// and what the identity was made from may change afterwards.
func TestIdentityIsChecked(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	_, received := ask(t, p.client, p.server, RequestOptions{ServerName: "nobody.test"})
	_, err := p.server.Authenticate(context.Background(), received, ecdsaIdentity(t))
	requireError(t, err, ErrNoIdentity, OpAuthenticate, FaultLocal)

	cert := ownLeaf()
	cert.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
	cert.OCSPStaple = []byte("staple")
	id := identity(t, cert)
	cert.SupportedSignatureAlgorithms[0] = tls.Ed25519
	cert.OCSPStaple[0] = 0
	r, b := exchange(t, p.client, p.server, RequestOptions{OCSP: true}, id)
	peer, err := p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
	require.Equal(t, []byte("staple"), peer.Chain().OCSPStaple)
}

// The alert is the outermost reason's, whatever a plugged-in function wraps.
func TestAlertOfOutermostReason(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	r, b := exchange(t, p.client, p.server, RequestOptions{}, ecdsaIdentity(t))
	_, err := p.client.Validate(r, b, ValidateOptions{VerifyChain: func(Chain) error { return ErrDecode }})
	requireError(t, err, ErrCertificate, OpValidate, FaultPeer)
	require.ErrorIs(t, err, ErrDecode)
	require.Equal(t, "authenticator: validate: certificate is not acceptable: malformed message", err.Error())
	require.Equal(t, "peer", FaultPeer.String())
	require.Equal(t, "local", FaultLocal.String())
	require.Equal(t, "client server invalid role", Client.String()+" "+Server.String()+" "+Role(0).String())
	var e *Error
	require.ErrorAs(t, fail(OpSession, FaultLocal, errors.New("of no kind")), &e)
	require.Equal(t, alertInternalError, e.Alert)
}
