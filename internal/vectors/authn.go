package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
)

// Signature schemes (RFC 8446, Section 4.2.3).
const (
	schemeP256      = 0x0403
	schemeP384      = 0x0503
	schemeP521      = 0x0603
	schemePSSRSAE   = 0x0804 // SHA-256; 384 and 512 follow
	schemeEd25519   = 0x0807
	schemePSSPSS    = 0x0809 // SHA-256; 384 and 512 follow
	schemePKCS1     = 0x0401
	schemeECDSASHA1 = 0x0203
	schemeEd448     = 0x0808
)

// authn is an authenticator in the making. newAuthn sets everything right; a case
// changes one thing, and build computes the rest anew.
type authn struct {
	conn         *Connection
	sender       string
	request      []byte
	context      []byte
	certificates [][]byte
	extensions   [][]Extension // by entry
	scheme       uint16

	handshakeContext []byte
	finishedKey      []byte

	// signed is what is hashed for the signature, given the Certificate message.
	signed func(certificate []byte) []byte
	// content is what the key signs, given that hash.
	content func(hash []byte) []byte
	// sign makes the signature.
	sign func(content []byte) ([]byte, error)
	// maced is what is hashed for Finished.
	maced func(certificate, verify []byte) []byte
	// finish makes verify_data of it.
	finish func(transcript []byte) []byte
	// assemble puts the framed messages together.
	assemble func(certificate, verify, finished []byte) []byte

	certificate, verify, finished []byte // framed, once built
}

func newAuthn(conn *Connection, sender string, request, context []byte, id tls.Certificate) *authn {
	a := &authn{
		conn: conn, sender: sender, request: request, context: context,
		certificates: id.Certificate, scheme: schemeOf(id.PrivateKey),
	}
	a.signed = func(certificate []byte) []byte { return concat(a.handshakeContext, a.request, certificate) }
	a.content = func(hash []byte) []byte { return signedContent(64, "Exported Authenticator\x00", hash) }
	a.sign = func(content []byte) ([]byte, error) {
		return sign(id.PrivateKey.(crypto.Signer), a.scheme, content)
	}
	a.maced = func(certificate, verify []byte) []byte {
		return concat(a.handshakeContext, a.request, certificate, verify)
	}
	a.finish = func(transcript []byte) []byte { return a.conn.mac(a.finishedKey, a.conn.digest(transcript)) }
	a.assemble = func(certificate, verify, finished []byte) []byte { return concat(certificate, verify, finished) }
	return a
}

// schemeOf is the scheme a key signs with if its identity does not say otherwise.
func schemeOf(key crypto.PrivateKey) uint16 {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return map[int]uint16{256: schemeP256, 384: schemeP384, 521: schemeP521}[key.Params().BitSize]
	case ed25519.PrivateKey:
		return schemeEd25519
	}
	return schemePSSRSAE
}

// signedContent is RFC 9261, Section 5.2.2.
func signedContent(spaces int, label string, hash []byte) []byte {
	return concat(bytes.Repeat([]byte{0x20}, spaces), []byte(label), hash)
}

// exporters derives the two values of the sender, unless a case has set them.
func (a *authn) exporters() error {
	hc, fk, err := a.conn.roleSecrets(a.sender)
	if a.handshakeContext == nil {
		a.handshakeContext = hc
	}
	if a.finishedKey == nil {
		a.finishedKey = fk
	}
	return err
}

func (a *authn) build() ([]byte, error) {
	if err := a.exporters(); err != nil {
		return nil, err
	}
	a.certificate = encodeCertificate(a.context, a.certificates, a.extensions)
	signature, err := a.sign(a.content(a.conn.digest(a.signed(a.certificate))))
	if err != nil {
		return nil, err
	}
	a.verify = encodeVerify(a.scheme, signature)
	a.finished = handshake(msgFinished, a.finish(a.maced(a.certificate, a.verify)))
	return a.assemble(a.certificate, a.verify, a.finished), nil
}

// sign signs deterministically: RFC 6979 for ECDSA, a salt derived from the
// message for RSASSA-PSS.
func sign(key crypto.Signer, scheme uint16, content []byte) ([]byte, error) {
	if scheme == schemeEd25519 {
		return key.Sign(nil, content, crypto.Hash(0))
	}
	h, ok := map[uint16]crypto.Hash{
		schemeP256: crypto.SHA256, schemeP384: crypto.SHA384, schemeP521: crypto.SHA512,
		schemePSSRSAE: crypto.SHA256, schemePSSRSAE + 1: crypto.SHA384, schemePSSRSAE + 2: crypto.SHA512,
		schemePSSPSS: crypto.SHA256, schemePSSPSS + 1: crypto.SHA384, schemePSSPSS + 2: crypto.SHA512,
	}[scheme]
	if !ok {
		return nil, fmt.Errorf("scheme %#x", scheme)
	}
	return signHash(key, h, h.Size(), content)
}

// signHash signs the hash of content; saltLength is for RSA alone.
func signHash(key crypto.Signer, h crypto.Hash, saltLength int, content []byte) ([]byte, error) {
	d := h.New()
	d.Write(content)
	if _, isRSA := key.(*rsa.PrivateKey); !isRSA {
		return key.Sign(nil, d.Sum(nil), h)
	}
	salt := sha512.Sum512(append([]byte("expat test vector salt"), content...))
	return key.Sign(bytes.NewReader(salt[:]), d.Sum(nil), &rsa.PSSOptions{SaltLength: saltLength, Hash: h})
}
