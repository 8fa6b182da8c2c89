package vectors

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"
)

const serverName = "server.example"

var (
	validFrom = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(2046, 1, 1, 0, 0, 0, 0, time.UTC)
)

// pki makes the certificates of the vectors from the keys in testKeys. The first
// error stays.
type pki struct {
	file     Keys
	certs    map[string][]byte          // authorities, DER
	chains   map[string]tls.Certificate // identities
	serial   int64
	firstErr error
}

// leafOptions is how a certificate differs from an ordinary one.
type leafOptions struct {
	issuer      string // "": x509-ca
	name        string // DNS name; "": server.example
	usage       x509.ExtKeyUsage
	from, to    time.Time
	spki        func([]byte) []byte // rewrites the SubjectPublicKeyInfo
	deviceID    string              // of evidence devices
	isCA, noSig bool
}

func newPKI() (*pki, error) {
	p := &pki{certs: make(map[string][]byte), chains: make(map[string]tls.Certificate)}
	p.file = Keys{Version: version, Description: "TEST KEYS, published: they protect nothing."}
	for _, a := range []struct{ name, issuer, comment string }{
		{"x509-root", "", "signs x509-ca"},
		{"x509-ca", "x509-root", ""},
		{"x509-other-root", "", "signs nothing"},
		{"evidence-root", "", "vendor of simulated devices; signs evidence-ca"},
		{"evidence-ca", "evidence-root", ""},
		{"evidence-other-root", "", "another vendor"},
	} {
		p.authority(a.name, a.issuer)
		if a.issuer == "" {
			p.file.Roots = append(p.file.Roots, Root{a.name, a.comment, p.certs[a.name]})
		}
	}
	server, client := leafOptions{usage: x509.ExtKeyUsageServerAuth}, leafOptions{usage: x509.ExtKeyUsageClientAuth}
	pss := client
	pss.spki = pssKey
	serverPSS := server
	serverPSS.spki = pssKey
	p.identity("server-p256", "server-p256", schemeP256, "", server)
	p.identity("server-p384", "p384", schemeP384, "", server)
	p.identity("server-p521", "p521", schemeP521, "", server)
	p.identity("server-ed25519", "server-ed25519", schemeEd25519, "", server)
	p.identity("server-rsa", "rsa", schemePSSRSAE, "2048 bits; also signs with 0x0805 and 0x0806", server)
	p.identity("server-rsa-pss", "rsa", schemePSSPSS, "id-RSASSA-PSS without parameters", serverPSS)
	p.identity("client-p256", "client-p256", schemeP256, "", client)
	p.identity("client-p384", "p384", schemeP384, "", client)
	p.identity("client-p521", "p521", schemeP521, "", client)
	p.identity("client-ed25519", "client-ed25519", schemeEd25519, "", client)
	p.identity("client-rsa-pss", "rsa", schemePSSPSS, "id-RSASSA-PSS without parameters", pss)
	p.identity("evidence-device", "evidence-device", schemeP256, "attestation key of a simulated device: signs Evidence (ES256)",
		leafOptions{issuer: "evidence-ca", deviceID: fmt.Sprintf("%x", deviceUEID)})
	return p, p.firstErr
}

func (p *pki) keys() Keys { return p.file }

func (p *pki) key(name string) crypto.Signer {
	key, err := parseKey(unhex(testKeys[name]))
	p.note(name, err)
	return key
}

func (p *pki) note(name string, err error) {
	if err != nil && p.firstErr == nil {
		p.firstErr = fmt.Errorf("%s: %w", name, err)
	}
}

func (p *pki) authority(name, issuer string) {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: "expat vectors " + name}, KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true, NotBefore: validFrom, NotAfter: validTo,
	}
	if issuer == "" {
		issuer = name
	}
	p.certs[name] = p.sign(t, name, name, issuer, nil)
}

// identity makes a leaf that is listed in keys.json.
func (p *pki) identity(name, key string, scheme uint16, comment string, o leafOptions) {
	chain := p.leaf(key, o)
	p.chains[name] = chain
	id := Identity{Name: name, Comment: comment, Scheme: scheme, PrivateKey: unhex(testKeys[key])}
	for _, der := range chain.Certificate {
		id.Certificates = append(id.Certificates, der)
	}
	p.file.Identities = append(p.file.Identities, id)
}

// leaf makes a leaf and its chain without the root.
func (p *pki) leaf(key string, o leafOptions) tls.Certificate {
	if o.issuer == "" {
		o.issuer = "x509-ca"
	}
	if o.from.IsZero() {
		o.from = validFrom
	}
	if o.to.IsZero() {
		o.to = validTo
	}
	if o.name == "" {
		o.name = serverName
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: "expat vectors " + key}, NotBefore: o.from, NotAfter: o.to,
		KeyUsage: x509.KeyUsageDigitalSignature, IsCA: o.isCA, BasicConstraintsValid: true,
	}
	if o.noSig {
		t.KeyUsage = x509.KeyUsageKeyAgreement
	}
	if o.deviceID != "" {
		t.Subject.SerialNumber = o.deviceID
	} else {
		t.DNSNames, t.ExtKeyUsage = []string{o.name}, []x509.ExtKeyUsage{o.usage}
	}
	der := p.sign(t, key, key, o.issuer, o.spki)
	chain := [][]byte{der}
	if _, ok := p.certs[o.issuer]; ok && !slices.ContainsFunc(p.file.Roots, func(r Root) bool { return r.Name == o.issuer }) {
		chain = append(chain, p.certs[o.issuer])
	}
	return tls.Certificate{Certificate: chain, PrivateKey: p.key(key)}
}

// sign issues a certificate, deterministically: fixed serial numbers, key
// identifiers and signatures (RFC 6979).
func (p *pki) sign(t *x509.Certificate, name, key, issuer string, spki func([]byte) []byte) []byte {
	p.serial++
	t.SerialNumber = big.NewInt(p.serial + 0x5eed00)
	signer := p.key(issuer)
	subject := p.key(key)
	if p.firstErr != nil {
		return nil
	}
	t.SubjectKeyId = p.keyID(key)
	parent := t
	if issuer != name {
		parsed, err := x509.ParseCertificate(p.certs[issuer])
		if err != nil {
			p.note(name, err)
			return nil
		}
		parent = parsed
	}
	der, err := x509.CreateCertificate(nil, t, parent, subject.Public(), signer)
	p.note(name, err)
	if spki != nil && err == nil {
		der, err = resign(der, signer, spki)
		p.note(name, err)
	}
	return der
}

func (p *pki) keyID(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:20]
}

// resign replaces the SubjectPublicKeyInfo of a certificate by an ECDSA P-256
// issuer.
func resign(der []byte, issuer crypto.Signer, spki func([]byte) []byte) ([]byte, error) {
	var cert struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		return nil, err
	}
	var fields []asn1.RawValue
	if _, err := asn1.Unmarshal(cert.TBS.FullBytes, &fields); err != nil {
		return nil, err
	}
	const spkiField = 6 // version, serial, signature, issuer, validity, subject, SPKI
	fields[spkiField] = asn1.RawValue{FullBytes: spki(fields[spkiField].FullBytes)}
	tbs, err := asn1.Marshal(fields)
	if err != nil {
		return nil, err
	}
	signature, err := signHash(issuer, crypto.SHA256, 0, tbs)
	if err != nil {
		return nil, err
	}
	cert.TBS = asn1.RawValue{FullBytes: tbs}
	cert.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	return asn1.Marshal(cert)
}

// pssKey turns an rsaEncryption key into an id-RSASSA-PSS key without parameters.
func pssKey(spki []byte) []byte {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		return nil
	}
	info.Algorithm = asn1.RawValue{FullBytes: unhex("300b06092a864886f70d01010a")}
	out, err := asn1.Marshal(info)
	if err != nil {
		return nil
	}
	return out
}
