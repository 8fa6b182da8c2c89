package authenticator

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"slices"

	"github.com/expat-go/expat/internal/bounded"
)

// Authenticate makes the authenticator that answers r with id (RFC 9261,
// Section 7.3). leaf are extensions for the end-entity's CertificateEntry; each
// must have been offered in the request (Section 5.2.1). The id must fit the
// request, as [ReceivedRequest.Select] finds it.
//
// A private key outside this process (TPM, HSM, service) is used in a goroutine
// of its own: if it does not answer before ctx ends, Authenticate returns ctx's
// error and the key is left to finish. Whatever comes back, r is spent.
func (s *Session) Authenticate(ctx context.Context, r *ReceivedRequest, id *Identity, leaf ...Extension) ([]byte, error) {
	if r == nil || id == nil || r.session != s {
		return nil, fail(OpAuthenticate, FaultLocal, reason(ErrMisuse, "%w", errors.New("the request must be one this Session received, the identity not nil")))
	}
	if err := s.once(&r.done); err != nil {
		return nil, fail(OpAuthenticate, FaultLocal, err)
	}
	b, err := s.authenticate(ctx, r.offer, r.raw, r.context, id, leaf)
	if err != nil {
		return nil, fail(OpAuthenticate, FaultLocal, err)
	}
	return b, nil
}

func (s *Session) authenticate(ctx context.Context, o *offer, request, certContext []byte, id *Identity, leaf []Extension) ([]byte, error) {
	scheme, err := o.accepts(id)
	if err != nil {
		return nil, reason(ErrNoIdentity, "%w", err)
	}
	entries, err := o.entries(id, leaf)
	if err != nil {
		return nil, err
	}
	size := 512 // CertificateVerify and Finished, but for an RSA signature
	for _, e := range entries {
		size += len(e.Certificate) + extensionsSize(e.Extensions) + 5
	}
	b := appendCertificate(make([]byte, 0, size+len(certContext)), certContext, entries)
	t := s.transcript(s.self, request)
	t.add(b)
	signature, err := signContext(ctx, scheme, id, signedContent(t.sum()))
	if err != nil {
		return nil, err
	}
	end := len(b)
	b = appendVerify(b, scheme.id, signature)
	t.add(b[end:])
	b = appendFinished(b, t.finished())
	if len(b) > MaxAuthenticator {
		return nil, reason(ErrLimit, "authenticator of %d bytes, at most %d are read", len(b), MaxAuthenticator)
	}
	return b, nil
}

// entries puts the extensions into the leaf's entry, offered ones only; a
// staple or timestamps that were not asked for stay home.
func (o *offer) entries(id *Identity, leaf []Extension) ([]Entry, error) {
	var list []Extension
	if len(id.ocsp) > 0 && o.has(extStatusRequest) {
		status := appendUint24([]byte{statusTypeOCSP}, len(id.ocsp))
		list = append(list, Extension{extStatusRequest, append(status, id.ocsp...)})
	}
	if len(id.scts) > 0 && o.has(extSCT) {
		list = append(list, Extension{extSCT, encodeAuthorities(id.scts)}) // same shape: RFC 6962, Section 3.3
	}
	for _, e := range leaf {
		if !o.has(e.Type) {
			return nil, reason(ErrUnsupportedExtension, "extension %d", e.Type)
		}
		if slices.Contains(notInCertificate, e.Type) {
			return nil, reason(ErrIllegalExtension, "extension %d in a certificate entry", e.Type)
		}
		list = append(list, e)
	}
	if t, dup := duplicate(list); dup {
		return nil, reason(ErrIllegalExtension, "extension %d occurs twice", t)
	}
	if err := checkSizes(list); err != nil {
		return nil, err
	}
	entries := append([]Entry(nil), id.entries...)
	entries[0].Extensions = list
	return entries, nil
}

// signContext signs, but waits no longer than ctx: keys in a TPM, an HSM or a
// service can stall, and crypto.Signer knows no context. The private keys of the
// standard library compute in place and are called in place.
func signContext(ctx context.Context, scheme schemeInfo, id *Identity, content []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, reason(ErrSigner, "%w", context.Cause(ctx))
	}
	switch id.signer.(type) {
	case *ecdsa.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey:
		return scheme.sign(id.signer, content)
	}
	signature, err := bounded.Call(ctx, func() ([]byte, error) { return scheme.sign(id.signer, content) })
	if err != nil && !errors.Is(err, ErrSigner) {
		err = reason(ErrSigner, "%w", err)
	}
	return signature, err
}

// Refuse makes the empty authenticator that answers r: a refusal that the peer
// can verify (RFC 9261, Section 6). r is spent.
func (s *Session) Refuse(r *ReceivedRequest) ([]byte, error) {
	if r == nil || r.session != s {
		return nil, fail(OpAuthenticate, FaultLocal, reason(ErrMisuse, "%w", errors.New("the request must be one this Session received")))
	}
	if err := s.once(&r.done); err != nil {
		return nil, fail(OpAuthenticate, FaultLocal, err)
	}
	return appendFinished(nil, s.refusal(s.self, r.raw, r.context)), nil
}

// refusal is the verify_data of an empty authenticator: over the request and a
// Certificate message that echoes the context and has no entry.
func (s *Session) refusal(sender Role, request, certContext []byte) []byte {
	t := s.transcript(sender, request)
	t.add(appendCertificate(nil, certContext, nil))
	return t.finished()
}

// ClientHello is what a spontaneous authenticator answers in place of a
// request: what the client offered in its handshake (RFC 9261, Section 5.2).
type ClientHello struct {
	SignatureSchemes []tls.SignatureScheme // signature_algorithms
	Extensions       []uint16              // types of all extensions
	ServerName       string
}

// HelloFromInfo takes a ClientHello from what crypto/tls shows a server in
// GetConfigForClient. crypto/tls shows types, not bodies: a chain is checked
// against signature_algorithms.
func HelloFromInfo(info *tls.ClientHelloInfo) ClientHello {
	return ClientHello{SignatureSchemes: info.SignatureSchemes, Extensions: info.Extensions, ServerName: info.ServerName}
}

func (h ClientHello) offer() (*offer, error) {
	if len(h.SignatureSchemes) == 0 {
		return nil, ErrMissingExtension
	}
	return &offer{types: h.Extensions, schemes: h.SignatureSchemes, serverName: h.ServerName}, nil
}

// AuthenticateSpontaneous makes an authenticator without a request; servers
// only (RFC 9261, Section 5). Its context is 32 random bytes. Evidence has no
// place in it: that answers requests only.
func (s *Session) AuthenticateSpontaneous(ctx context.Context, hello ClientHello, id *Identity, leaf ...Extension) ([]byte, error) {
	b, err := s.spontaneous(ctx, hello, id, leaf)
	if err != nil {
		return nil, fail(OpAuthenticate, FaultLocal, err)
	}
	return b, nil
}

func (s *Session) spontaneous(ctx context.Context, hello ClientHello, id *Identity, leaf []Extension) ([]byte, error) {
	if s.self != Server {
		return nil, reason(ErrMisuse, "%w", errors.New("a client answers requests only"))
	}
	if id == nil {
		return nil, reason(ErrMisuse, "%w", errors.New("identity is nil"))
	}
	o, err := hello.offer()
	if err != nil {
		return nil, err
	}
	certContext := make([]byte, contextLen)
	rand.Read(certContext) // never fails: crypto/rand
	if err := s.claim(certContext); err != nil {
		return nil, err
	}
	return s.authenticate(ctx, o, nil, certContext, id, leaf)
}
