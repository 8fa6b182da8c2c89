package authenticator

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// RSA modulus sizes in bits that are signed and verified with. Below 2048 a key
// is weak; above 8192 one verification costs the receiver too much.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// keyKind is what a scheme demands of a key.
type keyKind uint8

const (
	keyP256 keyKind = iota + 1
	keyP384
	keyP521
	keyEd25519
	keyRSA    // rsaEncryption
	keyRSAPSS // id-RSASSA-PSS
)

// schemeInfo is one row of the table of TLS 1.3 signature schemes.
type schemeInfo struct {
	id   tls.SignatureScheme
	kind keyKind
	hash crypto.Hash // 0: the message itself is signed
}

// The rsa_pss_pss_* schemes (RFC 8446, Section 4.2.3), which crypto/tls has no
// names for.
const (
	PSSPSSWithSHA256 tls.SignatureScheme = 0x0809
	PSSPSSWithSHA384 tls.SignatureScheme = 0x080a
	PSSPSSWithSHA512 tls.SignatureScheme = 0x080b
)

// schemeTable holds every scheme that may sign an authenticator, in our order of
// preference: those of TLS 1.3 only, so neither RSASSA-PKCS1-v1_5 nor an ECDSA
// curve with another hash (RFC 9261, Section 5.2.2).
var schemeTable = []schemeInfo{
	{tls.ECDSAWithP256AndSHA256, keyP256, crypto.SHA256},
	{tls.Ed25519, keyEd25519, 0},
	{tls.ECDSAWithP384AndSHA384, keyP384, crypto.SHA384},
	{tls.ECDSAWithP521AndSHA512, keyP521, crypto.SHA512},
	{tls.PSSWithSHA256, keyRSA, crypto.SHA256},
	{tls.PSSWithSHA384, keyRSA, crypto.SHA384},
	{tls.PSSWithSHA512, keyRSA, crypto.SHA512},
	{PSSPSSWithSHA256, keyRSAPSS, crypto.SHA256},
	{PSSPSSWithSHA384, keyRSAPSS, crypto.SHA384},
	{PSSPSSWithSHA512, keyRSAPSS, crypto.SHA512},
}

// SignatureSchemes returns every scheme this package signs and verifies with,
// in order of preference.
func SignatureSchemes() []tls.SignatureScheme {
	out := make([]tls.SignatureScheme, len(schemeTable))
	for i, s := range schemeTable {
		out[i] = s.id
	}
	return out
}

func lookupScheme(id tls.SignatureScheme) (schemeInfo, bool) {
	i := slices.IndexFunc(schemeTable, func(s schemeInfo) bool { return s.id == id })
	if i < 0 {
		return schemeInfo{}, false
	}
	return schemeTable[i], true
}

// publicKey is a certificate's key with what the schemes ask of it.
type publicKey struct {
	key  crypto.PublicKey
	kind keyKind
	hash crypto.Hash // for id-RSASSA-PSS keys restricted to one hash, else 0
}

// fits tells whether a scheme may be used with the key.
func (k publicKey) fits(s schemeInfo) bool {
	return s.kind == k.kind && (k.hash == 0 || k.hash == s.hash)
}

func keyOf(c *x509.Certificate) (publicKey, error) {
	switch pub := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return publicKey{key: pub, kind: keyP256}, nil
		case elliptic.P384():
			return publicKey{key: pub, kind: keyP384}, nil
		case elliptic.P521():
			return publicKey{key: pub, kind: keyP521}, nil
		}
	case ed25519.PublicKey:
		return publicKey{key: pub, kind: keyEd25519}, nil
	case *rsa.PublicKey:
		return rsaKey(publicKey{key: pub, kind: keyRSA}, pub)
	case nil:
		return pssKeyOf(c.RawSubjectPublicKeyInfo)
	}
	return publicKey{}, reason(ErrCertificate, "no TLS 1.3 signature scheme fits a %T on this curve", c.PublicKey)
}

func rsaKey(k publicKey, pub *rsa.PublicKey) (publicKey, error) {
	if n := pub.N.BitLen(); n < minRSABits || n > maxRSABits {
		return publicKey{}, reason(ErrCertificate, "RSA key of %d bits, want %d to %d", n, minRSABits, maxRSABits)
	}
	return k, nil
}

var (
	oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidSHA2   = map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
		crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2},
		crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
	}
)

// pssParameters is RSASSA-PSS-params of RFC 4055, Section 3.1.
type pssParameters struct {
	Hash         pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
	MGF          pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
	SaltLength   int                      `asn1:"optional,explicit,tag:2,default:20"`
	TrailerField int                      `asn1:"optional,explicit,tag:3,default:1"`
}

// pssKeyOf reads an id-RSASSA-PSS key, which crypto/x509 leaves unparsed.
func pssKeyOf(spki []byte) (publicKey, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &info); err != nil || len(rest) != 0 || !info.Algorithm.Algorithm.Equal(oidRSAPSS) {
		return publicKey{}, reason(ErrCertificate, "public key algorithm is unknown")
	}
	pub, err := x509.ParsePKCS1PublicKey(info.Key.RightAlign())
	if err != nil {
		return publicKey{}, reason(ErrCertificate, "RSASSA-PSS key: %w", err)
	}
	k := publicKey{key: pub, kind: keyRSAPSS}
	if params := info.Algorithm.Parameters.FullBytes; len(params) != 0 {
		if k.hash, err = pssHash(params); err != nil {
			return publicKey{}, err
		}
	}
	return rsaKey(k, pub)
}

// pssHash reads the one hash that parameters in a key allow. RFC 8446, Section
// 4.2.3 fixes the rest: MGF1 with the same hash, a salt as long as the digest.
func pssHash(der []byte) (crypto.Hash, error) {
	var p pssParameters
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) != 0 {
		return 0, reason(ErrCertificate, "RSASSA-PSS parameters are malformed")
	}
	var mgfHash pkix.AlgorithmIdentifier
	if rest, err := asn1.Unmarshal(p.MGF.Parameters.FullBytes, &mgfHash); err != nil || len(rest) != 0 {
		return 0, reason(ErrCertificate, "RSASSA-PSS mask generation parameters are malformed")
	}
	for h, oid := range oidSHA2 {
		if p.Hash.Algorithm.Equal(oid) && p.MGF.Algorithm.Equal(oidMGF1) && mgfHash.Algorithm.Equal(oid) &&
			p.SaltLength >= 0 && p.SaltLength <= h.Size() && p.TrailerField == 1 {
			return h, nil
		}
	}
	return 0, reason(ErrCertificate, "RSASSA-PSS parameters fit no TLS 1.3 scheme")
}

// certificateVerifyContext separates these signatures from those of the TLS
// handshake (RFC 9261, Section 5.2.2).
const certificateVerifyContext = "Exported Authenticator"

// signedContent is what CertificateVerify signs.
func signedContent(transcriptHash []byte) []byte {
	b := make([]byte, 0, 64+len(certificateVerifyContext)+1+len(transcriptHash))
	b = append(b, bytes.Repeat([]byte{0x20}, 64)...)
	b = append(b, certificateVerifyContext...)
	b = append(b, 0)
	return append(b, transcriptHash...)
}

// digest is what a scheme hands to the key.
func (s schemeInfo) digest(content []byte) []byte {
	if s.hash == 0 {
		return content
	}
	h := s.hash.New()
	h.Write(content)
	return h.Sum(nil)
}

func (s schemeInfo) signerOpts() crypto.SignerOpts {
	if s.kind == keyRSA || s.kind == keyRSAPSS {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return s.hash
}

func (s schemeInfo) sign(key crypto.Signer, content []byte) ([]byte, error) {
	signature, err := key.Sign(rand.Reader, s.digest(content), s.signerOpts())
	if err != nil {
		return nil, reason(ErrSigner, "%w", err)
	}
	if len(signature) == 0 || len(signature) > 0xffff {
		return nil, reason(ErrSigner, "signature of %d bytes", len(signature))
	}
	return signature, nil
}

// verify checks a signature with a key that fits the scheme.
func (s schemeInfo) verify(pub crypto.PublicKey, content, signature []byte) bool {
	digest := s.digest(content)
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(pub, digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPSS(pub, s.hash, digest, signature, s.signerOpts().(*rsa.PSSOptions)) == nil
	}
	return false
}

// certificateScheme is the scheme with which a certificate was signed, as
// signature_algorithms_cert counts it; 0 when there is none.
func certificateScheme(c *x509.Certificate) tls.SignatureScheme {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA:
		return tls.PKCS1WithSHA256
	case x509.SHA384WithRSA:
		return tls.PKCS1WithSHA384
	case x509.SHA512WithRSA:
		return tls.PKCS1WithSHA512
	case x509.SHA256WithRSAPSS:
		return tls.PSSWithSHA256
	case x509.SHA384WithRSAPSS:
		return tls.PSSWithSHA384
	case x509.SHA512WithRSAPSS:
		return tls.PSSWithSHA512
	case x509.ECDSAWithSHA256:
		return tls.ECDSAWithP256AndSHA256
	case x509.ECDSAWithSHA384:
		return tls.ECDSAWithP384AndSHA384
	case x509.ECDSAWithSHA512:
		return tls.ECDSAWithP521AndSHA512
	case x509.PureEd25519:
		return tls.Ed25519
	}
	return 0
}

// oidSequence reads an extendedKeyUsage value: SEQUENCE OF OBJECT IDENTIFIER.
func oidSequence(der []byte) ([]asn1.ObjectIdentifier, bool) {
	s := cryptobyte.String(der)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cryptobyteasn1.SEQUENCE) || !s.Empty() {
		return nil, false
	}
	var out []asn1.ObjectIdentifier
	for !seq.Empty() {
		var oid asn1.ObjectIdentifier
		if !seq.ReadASN1ObjectIdentifier(&oid) {
			return nil, false
		}
		out = append(out, oid)
	}
	return out, true
}
