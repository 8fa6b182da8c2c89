package attacktest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/wire"
)

// shown is an authenticator, taken apart.
type shown struct {
	certificate, verify, finished []byte // messages, with their headers
	context                       []byte
	chain                         []*x509.Certificate
	cmw                           []byte // nil if there is none
}

// judge goes through the checks, each of which a flaw can leave out, and sends
// RESULT.
func (l *lax) judge(payload []byte) int {
	code := l.check(payload)
	b, err := wire.ResultMap{Code: uint16(code), Lifetime: laxLifetime}.Encode()
	if err != nil {
		return 12
	}
	l.send(wire.Result, b)
	if code != 0 {
		return silently
	}
	l.judged = true
	if !l.is(noLifetime) {
		l.shorten(laxLifetime)
	}
	return 0
}

// laxLifetime is longer than an attack waits for the end of its own verdict.
const laxLifetime = 9 * time.Second

func (l *lax) check(payload []byte) int {
	if len(payload) > 0 && payload[0] == 20 { // an empty authenticator
		return l.or(emptySuccess, 9)
	}
	s, err := parse(payload)
	if err != nil {
		return 1
	}
	if !bytes.Equal(s.context, l.request.Context()) && !l.is(noContext) {
		return 3
	}
	peer := authenticator.Client + authenticator.Server - l.role
	if !l.proved(s, peer) && !(l.is(noRole) && l.proved(s, l.role)) {
		return 4
	}
	if !l.certified(s.chain) && !l.is(noX509) {
		return 5
	}
	if s.chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(l.id.Leaf().PublicKey) && !l.is(noOwnKey) {
		return 4
	}
	if s.cmw == nil {
		return l.or(noEvidence, 6)
	}
	return l.appraise(s)
}

func (l *lax) or(f flaw, code int) int {
	if l.is(f) {
		return 0
	}
	return code
}

// parse reads an authenticator (RFC 9261, Section 5.2; RFC 8446, Section 4.4).
func parse(b []byte) (*shown, error) {
	s := new(shown)
	in := cryptobyte.String(b)
	for _, out := range []*[]byte{&s.certificate, &s.verify, &s.finished} {
		rest := in
		var body cryptobyte.String
		if !in.Skip(1) || !in.ReadUint24LengthPrefixed(&body) {
			return nil, errors.New("short")
		}
		*out = rest[:4+len(body)]
	}
	body := cryptobyte.String(s.certificate[4:])
	var context, list cryptobyte.String
	if !body.ReadUint8LengthPrefixed(&context) || !body.ReadUint24LengthPrefixed(&list) {
		return nil, errors.New("short")
	}
	s.context = context
	for !list.Empty() {
		var der, extensions cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || !list.ReadUint16LengthPrefixed(&extensions) {
			return nil, errors.New("short")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		s.chain = append(s.chain, cert)
		for !extensions.Empty() {
			var typ uint16
			var data, message cryptobyte.String
			if !extensions.ReadUint16(&typ) || !extensions.ReadUint16LengthPrefixed(&data) {
				return nil, errors.New("short")
			}
			if typ == attestation.Expat04().Offer().Type && data.ReadUint16LengthPrefixed(&message) {
				s.cmw = message
			}
		}
	}
	if len(s.chain) == 0 {
		return nil, errors.New("no certificate")
	}
	return s, nil
}

// proved checks CertificateVerify and Finished of a sender.
func (l *lax) proved(s *shown, sender authenticator.Role) bool {
	export := func(what string) []byte {
		label := fmt.Sprintf("EXPORTER-%s authenticator %s", strings.ToLower(sender.String()), what)
		b, err := l.session.Export(label, nil, l.session.Hash().Size())
		if err != nil {
			panic(err)
		}
		return b
	}
	hash := func(more ...[]byte) []byte {
		h := l.session.Hash().New()
		for _, b := range append([][]byte{export("handshake context"), l.request.Bytes()}, more...) {
			h.Write(b)
		}
		return h.Sum(nil)
	}
	content := fmt.Appendf(nil, "%sExported Authenticator\x00%s", strings.Repeat(" ", 64), hash(s.certificate))
	signed := s.chain[0].CheckSignature(x509.ECDSAWithSHA256, content, s.verify[8:]) == nil
	mac := hmac.New(l.session.Hash().New, export("finished key"))
	mac.Write(hash(s.certificate, s.verify))
	finished := hmac.Equal(mac.Sum(nil), s.finished[4:])
	return (signed || l.is(noSignature)) && (finished || l.is(noFinished))
}

func (l *lax) certified(chain []*x509.Certificate) bool {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: l.ca.Pool(), Intermediates: between, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err == nil
}

// appraise judges the Evidence.
func (l *lax) appraise(s *shown) int {
	value, candidates, code := l.unwrap(s.cmw)
	if code != 0 || value == nil {
		return code
	}
	var outer []byte
	if l.is(envelope) {
		value, outer = undress(value)
	}
	claims, err := simulated.Extractor{}.Extract(context.Background(), simulated.MediaType, value, l.vendor.Roots(), time.Now())
	switch {
	case errors.Is(err, evidence.ErrSignature):
		return l.or(noEvidenceSig, 7)
	case errors.Is(err, evidence.ErrChain):
		return l.or(noChain, 7)
	case err != nil:
		return 1
	}
	exported, err := l.session.Export("EXPORTER-cmw-attestation", l.request.Context(), 32)
	if err != nil {
		return 12
	}
	spki := s.chain[0].RawSubjectPublicKeyInfo
	binder, keyHash := l.hash(spki, exported), l.hash(spki)
	candidates = append(candidates, claims.Binder, outer)
	match := false
	for _, c := range candidates {
		match = match || bytes.Equal(c, binder)
	}
	known := bytes.Equal(claims.Instance, l.server.device.Instance()) || bytes.Equal(claims.Instance, l.client.device.Instance())
	switch {
	case !match && !l.is(noBinder),
		!bytes.Equal(claims.KeyHash, keyHash) && !l.is(noKeyHash),
		claims.Key != evidence.KeyBornInside && !l.is(noProvenance),
		!known && !l.is(noInstance):
		return 7
	}
	return 0
}

func (l *lax) hash(parts ...[]byte) []byte {
	h := l.session.Hash().New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// unwrap finds the Evidence in a CMW. With a flaw it also returns what else could
// be the binder; a nil value with code 0 is accepted as it is.
func (l *lax) unwrap(b []byte) (value []byte, candidates [][]byte, code int) {
	if l.is(noLimits) {
		for bytes.HasPrefix(b, []byte("\xa1\x61a")) {
			b = b[3:]
		}
		if len(b) > 3 && b[0]>>5 == 5 { // a collection: its first item
			var item cbor.RawMessage
			if _, err := cbor.UnmarshalFirst(b[3:], &item); err != nil {
				return nil, nil, 1
			}
			b = item
		}
	}
	m, err := cmw.Decode(b)
	if err != nil {
		return nil, nil, 1
	}
	leaves := m.Leaves()
	if len(leaves) > 1 && !l.is(collection) {
		return nil, nil, 7
	}
	for _, leaf := range leaves {
		if cmw.SameMediaType(leaf.MediaType, simulated.MediaType) {
			value = leaf.Value
		} else {
			candidates = append(candidates, leaf.Value)
		}
	}
	if value == nil {
		return nil, nil, l.or(anyFormat, 7)
	}
	return value, candidates, 0
}

// undress takes the binder out of the unprotected header of a COSE_Sign1.
func undress(value []byte) (plain, binder []byte) {
	var token cbor.RawTag
	var parts []cbor.RawMessage
	var header map[int][]byte
	if cbor.Unmarshal(value, &token) != nil || cbor.Unmarshal(token.Content, &parts) != nil || len(parts) != 4 ||
		cbor.Unmarshal(parts[1], &header) != nil || header[10] == nil {
		return value, nil
	}
	parts[1] = []byte{0xa0}
	var err error
	if token.Content, err = cbor.Marshal(parts); err != nil {
		return value, nil
	}
	if plain, err = cbor.Marshal(token); err != nil {
		return value, nil
	}
	return plain, header[10]
}
