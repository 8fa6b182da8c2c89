package attacktest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat/authenticator"
)

// This file takes authenticators apart and signs them anew, which package
// authenticator does not do for anybody without the key.

// messages of an authenticator (RFC 9261, Section 5.2), each with its header.
type messages struct{ certificate, verify, finished []byte }

func split(b []byte) (messages, error) {
	var m messages
	s := cryptobyte.String(b)
	for _, out := range []*[]byte{&m.certificate, &m.verify, &m.finished} {
		rest := s
		var body cryptobyte.String
		if !s.Skip(1) || !s.ReadUint24LengthPrefixed(&body) {
			return m, errors.New("no authenticator of three messages")
		}
		*out = rest[:4+len(body)]
	}
	return m, nil
}

func message(typ uint8, body func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(typ)
	b.AddUint24LengthPrefixed(body)
	return b.Bytes()
}

// exported is one of the two exporter values of a sender's role (RFC 9261,
// Section 5.1).
func (p *peer) exported(sender authenticator.Role, what string) ([]byte, error) {
	label := fmt.Sprintf("EXPORTER-%s authenticator %s", strings.ToLower(sender.String()), what)
	return p.session.Export(label, nil, p.session.Hash().Size())
}

// hashOf hashes a transcript: the Handshake Context, the request and more.
func (p *peer) hashOf(sender authenticator.Role, more ...[]byte) ([]byte, error) {
	handshake, err := p.exported(sender, "handshake context")
	if err != nil {
		return nil, err
	}
	h := p.session.Hash().New()
	for _, m := range append([][]byte{handshake, p.asking}, more...) {
		h.Write(m)
	}
	return h.Sum(nil), nil
}

// unproved is a good authenticator but for CertificateVerify, which is signed
// with a key that is not the leaf's. Finished, for which no private key is
// needed, is right.
func unproved(ctx context.Context, p *peer) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return p.resigned(ctx, p.role, key, uint16(tls.ECDSAWithP256AndSHA256))
}

// otherRole is a good authenticator but for the exporter labels, which are those
// of the victim's role.
func otherRole(ctx context.Context, p *peer) ([]byte, error) {
	key, ok := p.party.Identity.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, inapplicable("the identity's key signs for crypto/tls only")
	}
	return p.resigned(ctx, opposite(p.role), key, 0)
}

// resigned makes a good authenticator and signs it anew, with a key and a scheme
// (0: that of the good one) and the labels of a role.
func (p *peer) resigned(ctx context.Context, sender authenticator.Role, key crypto.Signer, scheme uint16) ([]byte, error) {
	good, err := p.answer(ctx, p.id, p.party.Attester)
	if err != nil {
		return nil, err
	}
	m, err := split(good)
	if err != nil {
		return nil, err
	}
	if scheme == 0 {
		scheme = uint16(m.verify[4])<<8 | uint16(m.verify[5])
	}
	sum, err := p.hashOf(sender, m.certificate)
	if err != nil {
		return nil, err
	}
	signature, err := sign(key, tls.SignatureScheme(scheme), fmt.Appendf(nil, "%sExported Authenticator\x00%s", strings.Repeat(" ", 64), sum))
	if err != nil {
		return nil, err
	}
	if m.verify, err = message(15, func(b *cryptobyte.Builder) {
		b.AddUint16(scheme)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	}); err != nil {
		return nil, err
	}
	return p.finish(sender, m)
}

// sign signs as a scheme of TLS 1.3 says (RFC 8446, Section 4.2.3).
func sign(key crypto.Signer, scheme tls.SignatureScheme, content []byte) ([]byte, error) {
	var opts crypto.SignerOpts
	switch scheme {
	case tls.Ed25519:
		return key.Sign(rand.Reader, content, crypto.Hash(0))
	case tls.ECDSAWithP256AndSHA256:
		opts = crypto.SHA256
	case tls.ECDSAWithP384AndSHA384:
		opts = crypto.SHA384
	case tls.ECDSAWithP521AndSHA512:
		opts = crypto.SHA512
	case tls.PSSWithSHA256:
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	case tls.PSSWithSHA384:
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384}
	case tls.PSSWithSHA512:
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA512}
	default:
		return nil, inapplicable("the identity signs with a scheme that this attack does not know")
	}
	h := opts.HashFunc().New()
	h.Write(content)
	return key.Sign(rand.Reader, h.Sum(nil), opts)
}

// finish makes Finished anew (RFC 9261, Section 5.2.3).
func (p *peer) finish(sender authenticator.Role, m messages) ([]byte, error) {
	sum, err := p.hashOf(sender, m.certificate, m.verify)
	if err != nil {
		return nil, err
	}
	key, err := p.exported(sender, "finished key")
	if err != nil {
		return nil, err
	}
	mac := hmac.New(p.session.Hash().New, key)
	mac.Write(sum)
	m.finished, err = message(20, func(b *cryptobyte.Builder) { b.AddBytes(mac.Sum(nil)) })
	return slices.Concat(m.certificate, m.verify, m.finished), err
}

// unfinished is a good authenticator with a wrong MAC.
func unfinished(ctx context.Context, p *peer) ([]byte, error) {
	b, err := p.answer(ctx, p.id, p.party.Attester)
	if err != nil {
		return nil, err
	}
	b[len(b)-1] ^= 1
	return b, nil
}
