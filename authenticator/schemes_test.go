package authenticator

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func ecKey(curve elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(curve, rand.Reader)) }

func edKey() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

// pssLeaf is a chain whose leaf names its RSA key id-RSASSA-PSS: issued as an
// ordinary one, its SubjectPublicKeyInfo replaced and signed again. params may be nil.
func pssLeaf(t testing.TB, params []byte) tls.Certificate {
	t.Helper()
	cert := leaf(rsaKey2048())
	var outer struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	var tbs asn1.RawValue
	_, err := asn1.Unmarshal(cert.Certificate[0], &outer)
	require.NoError(t, err)
	_, err = asn1.Unmarshal(outer.TBS.FullBytes, &tbs)
	require.NoError(t, err)

	key := x509.MarshalPKCS1PublicKey(&rsaKey2048().PublicKey)
	spki := must(asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{
		pkix.AlgorithmIdentifier{Algorithm: oidRSAPSS, Parameters: asn1.RawValue{FullBytes: params}},
		asn1.BitString{Bytes: key, BitLength: 8 * len(key)},
	}))
	body := bytes.Replace(tbs.Bytes, cert.Leaf.RawSubjectPublicKeyInfo, spki, 1)
	outer.TBS = asn1.RawValue{FullBytes: must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body}))}
	digest := sha256.Sum256(outer.TBS.FullBytes)
	signature := must(newCA().Signer().Sign(rand.Reader, digest[:], crypto.SHA256))
	outer.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	cert.Certificate = [][]byte{must(asn1.Marshal(outer)), cert.Certificate[1]}
	cert.Leaf = nil
	return cert
}

// pssParams is RSASSA-PSS-params; salt -1 leaves it to its default of 20.
func pssParams(hash, mgf, mgfHash asn1.ObjectIdentifier, salt int) []byte {
	type params struct {
		Hash pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
		MGF  pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
		Salt int                      `asn1:"optional,explicit,tag:2,default:-1"`
	}
	inner := asn1.RawValue{FullBytes: must(asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: mgfHash}))}
	return must(asn1.Marshal(params{
		pkix.AlgorithmIdentifier{Algorithm: hash}, pkix.AlgorithmIdentifier{Algorithm: mgf, Parameters: inner}, salt,
	}))
}

func sha2Params(h crypto.Hash) []byte { return pssParams(oidSHA2[h], oidMGF1, oidSHA2[h], h.Size()) }

// every scheme with a key that fits it, on real certificates.
func TestEverySchemeRoundTrip(t *testing.T) {
	t.Parallel()
	sha256Only, sha512Only := pssLeaf(t, sha2Params(crypto.SHA256)), pssLeaf(t, sha2Params(crypto.SHA512))
	plainPSS := pssLeaf(t, nil)
	used := map[tls.SignatureScheme]bool{}
	for _, tc := range []struct {
		name   string
		cert   tls.Certificate
		scheme tls.SignatureScheme
	}{
		{"P-256", leaf(ecKey(elliptic.P256())), tls.ECDSAWithP256AndSHA256},
		{"P-384", leaf(ecKey(elliptic.P384())), tls.ECDSAWithP384AndSHA384},
		{"P-521", leaf(ecKey(elliptic.P521())), tls.ECDSAWithP521AndSHA512},
		{"Ed25519", leaf(edKey()), tls.Ed25519},
		{"RSA SHA-256", leaf(rsaKey2048()), tls.PSSWithSHA256},
		{"RSA SHA-384", leaf(rsaKey2048()), tls.PSSWithSHA384},
		{"RSA SHA-512", leaf(rsaKey2048()), tls.PSSWithSHA512},
		{"RSASSA-PSS SHA-256", plainPSS, PSSPSSWithSHA256},
		{"RSASSA-PSS SHA-384", plainPSS, PSSPSSWithSHA384},
		{"RSASSA-PSS SHA-512", plainPSS, PSSPSSWithSHA512},
		{"RSASSA-PSS for SHA-256", sha256Only, PSSPSSWithSHA256},
		{"RSASSA-PSS for SHA-512", sha512Only, PSSPSSWithSHA512},
		{"RSASSA-PSS with the default salt", pssLeaf(t, pssParams(oidSHA2[crypto.SHA384], oidMGF1, oidSHA2[crypto.SHA384], -1)), PSSPSSWithSHA384},
	} {
		used[tc.scheme] = true
		for _, key := range []crypto.Signer{tc.cert.PrivateKey.(crypto.Signer), opaque{tc.cert.PrivateKey.(crypto.Signer)}} {
			p := exporterPair(t)
			cert := tc.cert
			cert.PrivateKey = key
			o := RequestOptions{SignatureSchemes: []tls.SignatureScheme{tls.PKCS1WithSHA256, tc.scheme}, SignatureSchemesCert: SignatureSchemes()}
			r, b := exchange(t, p.client, p.server, o, identity(t, cert))
			peer, err := p.client.Validate(r, b, serverChain())
			require.NoError(t, err, tc.name)
			require.Equal(t, cert.Certificate[0], peer.Leaf().Raw, tc.name)
			require.Equal(t, tc.scheme, must(parseAuthenticator(b)).scheme, tc.name)
		}
	}
	require.Len(t, used, len(SignatureSchemes()))
}

// the requester's order counts, within what the key can do and may do.
func TestSchemeChoice(t *testing.T) {
	t.Parallel()
	all := SignatureSchemes()
	for _, tc := range []struct {
		name       string
		cert       tls.Certificate
		restricted []tls.SignatureScheme
		offered    []tls.SignatureScheme
		want       tls.SignatureScheme // 0: none
	}{
		{"first of the requester", leaf(rsaKey2048()), nil, []tls.SignatureScheme{tls.PSSWithSHA512, tls.PSSWithSHA256}, tls.PSSWithSHA512},
		{"restricted", leaf(rsaKey2048()), []tls.SignatureScheme{tls.PSSWithSHA384}, all, tls.PSSWithSHA384},
		{"restricted to nothing", leaf(rsaKey2048()), []tls.SignatureScheme{}, all, 0},
		{"restricted to PKCS#1", leaf(rsaKey2048()), []tls.SignatureScheme{tls.PKCS1WithSHA256}, append(all, tls.PKCS1WithSHA256), 0},
		{"PKCS#1 is no scheme of TLS 1.3", leaf(rsaKey2048()), nil, []tls.SignatureScheme{tls.PKCS1WithSHA256}, 0},
		{"P-256 with SHA-384 is none", ownLeaf(), nil, []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}, 0},
		{"rsaEncryption key, pss scheme", leaf(rsaKey2048()), nil, []tls.SignatureScheme{PSSPSSWithSHA256}, 0},
		{"id-RSASSA-PSS key, rsae scheme", pssLeaf(t, nil), nil, []tls.SignatureScheme{tls.PSSWithSHA256}, 0},
		{"parameters name another hash", pssLeaf(t, sha2Params(crypto.SHA256)), nil, []tls.SignatureScheme{PSSPSSWithSHA384}, 0},
		{"SHA-1", ownLeaf(), nil, []tls.SignatureScheme{tls.ECDSAWithSHA1}, 0},
	} {
		p := exporterPair(t)
		cert := tc.cert
		cert.SupportedSignatureAlgorithms = tc.restricted
		id := identity(t, cert)
		_, received := ask(t, p.client, p.server, RequestOptions{SignatureSchemes: tc.offered, SignatureSchemesCert: all})
		selected, err := received.Select(id)
		b, authErr := p.server.Authenticate(context.Background(), received, id)
		if tc.want == 0 {
			requireError(t, err, ErrNoIdentity, OpAuthenticate, FaultLocal)
			requireError(t, authErr, ErrNoIdentity, OpAuthenticate, FaultLocal)
			require.Nil(t, b, tc.name)
			continue
		}
		require.NoError(t, err, tc.name)
		require.Same(t, id, selected)
		require.NoError(t, authErr, tc.name)
		require.Equal(t, tc.want, must(parseAuthenticator(b)).scheme, tc.name)
	}
}

// what is no identity.
func TestNewIdentityRefuses(t *testing.T) {
	t.Parallel()
	sha1 := asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	sha256, sha384 := oidSHA2[crypto.SHA256], oidSHA2[crypto.SHA384]
	chain := func(n int) tls.Certificate {
		cert := ownLeaf()
		for len(cert.Certificate) < n {
			cert.Certificate = append(cert.Certificate, cert.Certificate[1])
		}
		return cert
	}
	broken := ownLeaf()
	broken.Certificate = [][]byte{broken.Certificate[0][1:]}
	noKey := ownLeaf()
	noKey.PrivateKey = nil
	emptySCT := ownLeaf()
	emptySCT.SignedCertificateTimestamps = [][]byte{{}}
	for _, tc := range []struct {
		name string
		cert tls.Certificate
		ok   bool
	}{
		{"longest chain", chain(MaxChain), true},
		{"chain too long", chain(MaxChain + 1), false},
		{"no certificate", tls.Certificate{PrivateKey: newKey()}, false},
		{"no private key", noKey, false},
		{"not X.509", broken, false},
		{"another key", withKey(ecKey(elliptic.P256())), false},
		{"another kind of key", withKey(edKey()), false},
		{"key without a public half", withKey(opaque{blank{}}), false},
		{"empty SCT", emptySCT, false},
		{"P-224", leaf(ecKey(elliptic.P224())), false},
		{"RSASSA-PSS, SHA-1", pssLeaf(t, pssParams(sha1, oidMGF1, sha1, 20)), false},
		{"RSASSA-PSS, MGF1 with another hash", pssLeaf(t, pssParams(sha256, oidMGF1, sha384, 32)), false},
		{"RSASSA-PSS, another MGF", pssLeaf(t, pssParams(sha256, sha256, sha256, 32)), false},
		{"RSASSA-PSS, salt too long", pssLeaf(t, pssParams(sha256, oidMGF1, sha256, 33)), false},
		{"RSASSA-PSS, negative salt", pssLeaf(t, pssParams(sha256, oidMGF1, sha256, -2)), false},
		{"RSASSA-PSS, defaults (SHA-1)", pssLeaf(t, []byte{0x30, 0}), false},
		{"RSASSA-PSS, NULL", pssLeaf(t, []byte{5, 0}), false},
	} {
		id, err := NewIdentity(tc.cert)
		if tc.ok {
			require.NoError(t, err, tc.name)
			continue
		}
		requireError(t, err, ErrCertificate, OpAuthenticate, FaultLocal)
		require.Nil(t, id, tc.name)
	}
}

// blank is a Signer without a public key.
type blank struct{ crypto.Signer }

func (blank) Public() crypto.PublicKey { return nil }

// I-17: RSA keys are bounded from both sides.
func TestRSAKeySizes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		bits int
		ok   bool
	}{{2047, false}, {2048, true}, {8192, true}, {8193, false}} {
		n := must(rand.Prime(rand.Reader, 64))
		n.Lsh(n, uint(tc.bits-n.BitLen())).SetBit(n, 0, 1)
		_, err := keyOf(&x509.Certificate{PublicKey: &rsa.PublicKey{N: n, E: 65537}})
		if tc.ok {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrCertificate)
		}
	}
}

// I-17: a modulus that no key generation makes refuses every signature.
func TestRSAKeyNumbers(t *testing.T) {
	t.Parallel()
	even := new(big.Int).Lsh(big.NewInt(1), 2047)
	for name, pub := range map[string]*rsa.PublicKey{
		"even modulus":  {N: even, E: 65537},
		"exponent 1":    {N: new(big.Int).SetBit(even, 0, 1), E: 1},
		"even exponent": {N: new(big.Int).SetBit(even, 0, 1), E: 2},
	} {
		key, err := keyOf(&x509.Certificate{PublicKey: pub})
		require.NoError(t, err, name)
		s, ok := lookupScheme(tls.PSSWithSHA256)
		require.True(t, ok)
		require.False(t, s.verify(key.key, []byte("content"), make([]byte, 256)), name)
	}
}

// I-17: a certificate anywhere in the chain bounds what its signatures cost to
// check. One with a modulus of 900,000 bits keeps a core busy for a minute.
func TestRSAKeySizesInChain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		bits int
		ok   bool
	}{{8192, true}, {8193, false}} {
		n := must(rand.Prime(rand.Reader, 64))
		n.Lsh(n, uint(tc.bits-n.BitLen())).SetBit(n, 0, 1)
		ca := template("some CA")
		ca.IsCA, ca.BasicConstraintsValid = true, true
		der := must(x509.CreateCertificate(rand.Reader, ca, newCA().Intermediate, &rsa.PublicKey{N: n, E: 65537}, newCA().Signer()))
		cert := ownLeaf()
		cert.Certificate = append(slices.Clone(cert.Certificate), der)
		id, err := NewIdentity(cert)
		if !tc.ok {
			requireError(t, err, ErrCertificate, OpAuthenticate, FaultLocal)
			id = ecdsaIdentity(t) // and as a peer that does not care
			id.entries = append(slices.Clone(id.entries), Entry{Certificate: der})
		}
		p := exporterPair(t)
		request, received := ask(t, p.client, p.server, RequestOptions{})
		b, err := p.server.Authenticate(context.Background(), received, id)
		require.NoError(t, err)
		_, err = p.client.Validate(request, b, anyChain)
		if tc.ok {
			require.NoError(t, err)
		} else {
			requireError(t, err, ErrCertificate, OpValidate, FaultPeer)
		}
	}
}
