package attacktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// This file makes what attackers show: Evidence for one thing where another is
// asked for, and certificates that no CA has seen.

// anyChain is how an attacker judges certificates.
var anyChain = authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain}

// offer is a request for attestation, as it should be.
func (p *peer) offer() authenticator.RequestOptions {
	return authenticator.RequestOptions{Extensions: []authenticator.Extension{p.target.profile().Offer()}}
}

// elsewhere is a request with the given context that never crossed the wire,
// made and received on two Sessions that know nothing of the victim's.
func (p *peer) elsewhere(context []byte, self authenticator.Role) (*authenticator.Session, *authenticator.ReceivedRequest, error) {
	asking, err := p.fresh(opposite(self))
	if err != nil {
		return nil, nil, err
	}
	answering, err := p.fresh(self)
	if err != nil {
		return nil, nil, err
	}
	o := p.offer()
	o.Context = context
	q, err := asking.NewRequest(o)
	if err != nil {
		return nil, nil, err
	}
	asked, err := answering.ReceiveRequest(q.Bytes())
	return answering, asked, err
}

// fixed is an Attester that shows the same message whatever it is asked.
type fixed struct {
	types   []string
	message *cmw.Message
}

func (f fixed) MediaTypes() []string { return f.types }

func (f fixed) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	return f.message, nil
}

// changed is an Attester that shows what another makes, changed.
type changed struct {
	attestation.Attester
	change func(*cmw.Message) (*cmw.Message, error)
}

func (c changed) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	m, err := c.Attester.Attest(ctx, b, accept)
	if err != nil {
		return nil, err
	}
	return c.change(m)
}

// spy is an Attester that hands on the Binding and stops there.
type spy struct{ binding attestation.Binding }

var errSpied = errors.New("the binding was all that was wanted")

func (s *spy) MediaTypes() []string { return []string{"application/vnd.expat-go.spy"} }

func (s *spy) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	s.binding = b
	return nil, errSpied
}

// bindingOf is what Evidence that answers a request with id is bound to.
func (p *peer) bindingOf(ctx context.Context, asked *authenticator.ReceivedRequest, id *authenticator.Identity) (attestation.Binding, error) {
	s := new(spy)
	_, err := attestation.Attest(ctx, p.target.profile(), asked, id, s, s.MediaTypes())
	if errors.Is(err, errSpied) {
		err = nil
	}
	return s.binding, err
}

// evidence is good Evidence for a Binding.
func (p *peer) evidence(ctx context.Context, b attestation.Binding) (*cmw.Message, error) {
	return p.party.Attester.Attest(ctx, b, p.party.Attester.MediaTypes())
}

// madeFor is an Attester whose Evidence is good for another request or key.
func (p *peer) madeFor(ctx context.Context, asked *authenticator.ReceivedRequest, id *authenticator.Identity) (attestation.Attester, error) {
	b, err := p.bindingOf(ctx, asked, id)
	if err != nil {
		return nil, err
	}
	m, err := p.evidence(ctx, b)
	return fixed{p.party.Attester.MediaTypes(), m}, err
}

// inExtension wraps a message that no Attester would make, encoded.
func (p *peer) inExtension(message []byte) authenticator.Extension {
	data := append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
	return authenticator.Extension{Type: p.target.profile().Offer().Type, Data: data}
}

// answerWith answers with an encoded message.
func (p *peer) answerWith(ctx context.Context, message []byte) ([]byte, error) {
	return p.session.Authenticate(ctx, p.asked, p.id, p.inExtension(message))
}

// tampered changes the last byte of a message's first leaf: where platforms put
// the signature.
func tampered(m *cmw.Message) (*cmw.Message, error) {
	if m.Kind() == cmw.KindCollection {
		items := m.Items()
		var err error
		if items[0].Message, err = tampered(items[0].Message); err != nil {
			return nil, err
		}
		return cmw.NewCollection(m.CollectionType(), items)
	}
	value := bytes.Clone(m.Value())
	value[len(value)-1] ^= 1
	if m.Kind() == cmw.KindTag {
		return cmw.NewTag(m.MediaType(), value)
	}
	return cmw.NewRecord(m.MediaType(), value, m.Indicator())
}

// selfSigned is a certificate for the same key and names that no CA issued.
func selfSigned(c tls.Certificate) (tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	id, err := authenticator.NewIdentity(c)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).Add(leaf.SerialNumber, big.NewInt(1)),
		Subject:      leaf.Subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  leaf.ExtKeyUsage,
		DNSNames:     leaf.DNSNames,
		IPAddresses:  leaf.IPAddresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, id.Leaf().PublicKey, c.PrivateKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.PrivateKey}, nil
}
