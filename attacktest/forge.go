package attacktest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
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

// exported is one of the two exporter values of RFC 9261, Section 5.1.
func (p *peer) exported(what string) ([]byte, error) {
	label := fmt.Sprintf("EXPORTER-%s authenticator %s", strings.ToLower(p.role.String()), what)
	return p.session.Export(label, nil, p.session.Hash().Size())
}

// hashOf hashes a transcript: the Handshake Context, the request and more.
func (p *peer) hashOf(more ...[]byte) ([]byte, error) {
	handshake, err := p.exported("handshake context")
	if err != nil {
		return nil, err
	}
	h := p.session.Hash().New()
	h.Write(handshake)
	h.Write(p.asking)
	for _, m := range more {
		h.Write(m)
	}
	return h.Sum(nil), nil
}

// unproved is a good authenticator but for CertificateVerify, which is signed
// with a key that is not the leaf's. Finished, for which no private key is
// needed, is right.
func unproved(ctx context.Context, p *peer) ([]byte, error) {
	good, err := p.answer(ctx, p.id, p.party.Attester)
	if err != nil {
		return nil, err
	}
	m, err := split(good)
	if err != nil {
		return nil, err
	}
	if m.verify, err = p.signed(m.certificate); err != nil {
		return nil, err
	}
	return p.finish(m)
}

// signed makes CertificateVerify with a fresh P-256 key (RFC 9261, Section 5.2.2).
func (p *peer) signed(certificate []byte) ([]byte, error) {
	sum, err := p.hashOf(certificate)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	h := crypto.SHA256.New()
	fmt.Fprintf(h, "%sExported Authenticator\x00%s", strings.Repeat(" ", 64), sum)
	signature, err := key.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return message(15, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(tls.ECDSAWithP256AndSHA256))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	})
}

// finish makes Finished anew (RFC 9261, Section 5.2.3).
func (p *peer) finish(m messages) ([]byte, error) {
	sum, err := p.hashOf(m.certificate, m.verify)
	if err != nil {
		return nil, err
	}
	key, err := p.exported("finished key")
	if err != nil {
		return nil, err
	}
	mac := hmac.New(p.session.Hash().New, key)
	mac.Write(sum)
	m.finished, err = message(20, func(b *cryptobyte.Builder) { b.AddBytes(mac.Sum(nil)) })
	return join(m), err
}

func join(m messages) []byte {
	return append(append(append([]byte{}, m.certificate...), m.verify...), m.finished...)
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
