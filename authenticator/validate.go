package authenticator

import (
	"bytes"
	"crypto/hmac"
	"crypto/x509"
	"errors"
	"slices"
)

// Peer is what a validated authenticator proved: that the other side of the
// connection holds the key of the leaf certificate and answered this request.
// Only [Session.Validate] and [Session.ValidateSpontaneous] make one.
type Peer struct {
	session     *Session
	context     []byte
	spontaneous bool
	entries     []Entry
	chain       Chain
}

// Session is the connection on which the authenticator was validated.
func (p *Peer) Session() *Session { return p.session }

// Context is the certificate_request_context. The caller must not modify it.
func (p *Peer) Context() []byte { return p.context }

// Spontaneous tells that no request was answered.
func (p *Peer) Spontaneous() bool { return p.spontaneous }

// Chain holds the certificates, leaf first, with what was stapled to the leaf.
func (p *Peer) Chain() Chain { return p.chain }

// Leaf is the end-entity certificate.
func (p *Peer) Leaf() *x509.Certificate { return p.chain.Certificates[0] }

// SPKI is the SubjectPublicKeyInfo of the leaf in DER, as it stands there.
func (p *Peer) SPKI() []byte { return p.Leaf().RawSubjectPublicKeyInfo }

// Entries are the certificate entries as received, leaf first. The caller must
// not modify them.
func (p *Peer) Entries() []Entry { return p.entries }

// ValidateOptions say how the certificate chain is judged.
type ValidateOptions struct {
	// VerifyChain judges the chain after the proof of possession. It is
	// required: [VerifyServerChain] and [VerifyClientChain] make the usual
	// ones, and [AcceptAnyChain] names what its use gives up.
	VerifyChain ChainVerifier
}

// Validate checks an authenticator that answers r (RFC 9261, Section 7.4). It
// returns nil unless every check passed; a valid empty authenticator is
// [ErrRefused]. Whatever comes back, r is spent.
//
// The checks, in order: form, context, entries and their extensions, leaf key
// and scheme, CertificateVerify, Finished, chain.
func (s *Session) Validate(r *Request, b []byte, o ValidateOptions) (*Peer, error) {
	if r == nil || r.session != s || o.VerifyChain == nil {
		return nil, fail(OpValidate, FaultLocal, reason(ErrMisuse, "%w", errors.New("the request must be one this Session made, VerifyChain not nil")))
	}
	if err := s.once(&r.done); err != nil {
		return nil, fail(OpValidate, FaultLocal, err)
	}
	a, err := receiveAuthenticator(b)
	if err != nil {
		return nil, fail(OpValidate, FaultPeer, err)
	}
	if a.empty {
		if !hmac.Equal(a.verifyData, s.refusal(s.self.peer(), r.raw, r.context)) {
			return nil, fail(OpValidate, FaultPeer, ErrFinished)
		}
		return nil, fail(OpValidate, FaultPeer, ErrRefused)
	}
	if !bytes.Equal(a.context, r.context) {
		return nil, fail(OpValidate, FaultPeer, ErrContextMismatch)
	}
	p, err := s.validate(r.offer, r.raw, a, o)
	if err != nil {
		return nil, fail(OpValidate, FaultPeer, err)
	}
	return p, nil
}

// ValidateSpontaneous checks an authenticator that answers no request; clients
// only. hello is what this client sent in its handshake. Whatever comes back, the
// context of a well-formed authenticator is spent.
func (s *Session) ValidateSpontaneous(hello ClientHello, b []byte, o ValidateOptions) (*Peer, error) {
	if s.self != Client || o.VerifyChain == nil {
		return nil, fail(OpValidate, FaultLocal, reason(ErrMisuse, "%w", errors.New("only servers send spontaneous authenticators, and VerifyChain must not be nil")))
	}
	offer, err := hello.offer()
	if err != nil {
		return nil, fail(OpValidate, FaultLocal, err)
	}
	a, err := receiveAuthenticator(b)
	if err == nil && a.empty {
		err = reason(ErrUnexpectedMessage, "%w", errors.New("an empty authenticator answers requests only"))
	}
	if err == nil {
		err = s.claim(a.context)
	}
	if err != nil {
		return nil, fail(OpValidate, FaultPeer, err)
	}
	p, err := s.validate(offer, nil, a, o)
	if err != nil {
		return nil, fail(OpValidate, FaultPeer, err)
	}
	p.spontaneous = true
	return p, nil
}

// receiveAuthenticator parses a copy, which the Peer keeps.
func receiveAuthenticator(b []byte) (*parsedAuthenticator, error) {
	if len(b) > MaxAuthenticator {
		return nil, reason(ErrLimit, "authenticator of %d bytes, at most %d are read", len(b), MaxAuthenticator)
	}
	return parseAuthenticator(bytes.Clone(b))
}

// validate is the one list of checks that both kinds of authenticator pass.
func (s *Session) validate(o *offer, request []byte, a *parsedAuthenticator, opts ValidateOptions) (*Peer, error) {
	for i, e := range a.entries {
		for _, x := range e.Extensions {
			if !o.has(x.Type) { // RFC 9261, Section 5.2.1
				return nil, reason(ErrUnsupportedExtension, "extension %d in entry %d", x.Type, i)
			}
			if slices.Contains(notInCertificate, x.Type) {
				return nil, reason(ErrIllegalExtension, "extension %d in entry %d", x.Type, i)
			}
		}
	}
	chain, err := s.parseChain(a.entries)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(chain.Certificates[0])
	if err != nil {
		return nil, err
	}
	// Section 5.2.2: a scheme of TLS 1.3, offered, and fit for the key.
	scheme, err := o.verifyScheme(a.scheme, key)
	if err != nil {
		return nil, err
	}
	t := s.transcript(s.self.peer(), request)
	t.add(a.certificate)
	if !scheme.verify(key.key, signedContent(t.sum()), a.signature) {
		return nil, ErrSignature
	}
	// Section 5.2.3: Finished covers CertificateVerify.
	t.add(a.verify)
	if !hmac.Equal(a.verifyData, t.finished()) {
		return nil, ErrFinished
	}
	if err := opts.VerifyChain(chain); err != nil {
		return nil, reason(ErrCertificate, "%w", err)
	}
	return &Peer{session: s, context: a.context, entries: a.entries, chain: chain}, nil
}
