package authenticator

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"slices"
)

// contextLen is the number of random bytes in a context we make: unpredictable
// to the peer (RFC 9261, Section 4) and beyond collision.
const contextLen = 32

// MaxNonce is the largest [RequestOptions.Nonce] in bytes: a context is at most
// 255 bytes, 32 of them random.
const MaxNonce = 255 - contextLen

// RequestOptions say what a request asks for. The zero value asks for any
// identity that signs with a scheme of [SignatureSchemes].
type RequestOptions struct {
	// Context is the certificate_request_context, 0 to 255 bytes, unique on
	// the connection. Nil, the usual choice, takes 32 random bytes; a context
	// given here should be unpredictable to the peer.
	Context []byte
	// Nonce, at most [MaxNonce] bytes, follows 32 random bytes in the context:
	// a Verifier's nonce. It excludes Context.
	Nonce []byte
	// SignatureSchemes is the signature_algorithms extension, in order of
	// preference. Nil: all of [SignatureSchemes].
	SignatureSchemes []tls.SignatureScheme
	// SignatureSchemesCert is the signature_algorithms_cert extension, for the
	// signatures in the chain. Nil: SignatureSchemes if that is set, else all
	// of [SignatureSchemes] and RSASSA-PKCS1-v1_5 with SHA-2.
	SignatureSchemesCert []tls.SignatureScheme
	// ServerName asks a server for the identity of that name; clients only.
	ServerName string
	// Authorities holds the DER distinguished names of acceptable issuers.
	Authorities [][]byte
	// OIDFilters asks for certificate extensions.
	OIDFilters []OIDFilter
	// OCSP and SCT offer status_request and signed_certificate_timestamp.
	OCSP, SCT bool
	// Extensions are sent as they are, after the others.
	Extensions []Extension
}

// Request is a request that this side sent. It is answered once: one call of
// [Session.Validate] spends it.
type Request struct {
	parsedRequest
	offer   *offer
	session *Session
	done    bool // guarded by session.mu
}

// Bytes is the framed message to send. The caller must not modify it.
func (r *Request) Bytes() []byte { return r.raw }

// Context is the certificate_request_context. The caller must not modify it.
func (r *Request) Context() []byte { return r.context }

// NewRequest makes an authenticator request (RFC 9261, Section 7.1): a
// ClientCertificateRequest from a client, a CertificateRequest from a server.
func (s *Session) NewRequest(o RequestOptions) (*Request, error) {
	r, err := s.newRequest(o)
	if err != nil {
		return nil, fail(OpRequest, FaultLocal, err)
	}
	return r, nil
}

func (s *Session) newRequest(o RequestOptions) (*Request, error) {
	context, err := o.context()
	if err != nil {
		return nil, err
	}
	list, err := o.extensions(s.self)
	if err != nil {
		return nil, err
	}
	typ := typeClientCertificateRequest
	if s.self == Server {
		typ = typeCertificateRequest
	}
	raw := appendRequest(typ, context, list)
	// What we send must pass what we would do with it on arrival.
	parsed, err := parseRequest(raw)
	if err != nil {
		return nil, err
	}
	off, err := parseOffer(parsed.extensions, typ)
	if err != nil {
		return nil, err
	}
	if err := s.claim(context); err != nil {
		return nil, err
	}
	return &Request{parsedRequest: *parsed, offer: off, session: s}, nil
}

func (o *RequestOptions) context() ([]byte, error) {
	switch {
	case o.Context != nil && o.Nonce != nil:
		return nil, reason(ErrMisuse, "%w", errors.New("set Context or Nonce, not both"))
	case len(o.Context) > 255:
		return nil, reason(ErrLimit, "context of %d bytes, at most 255 fit", len(o.Context))
	case len(o.Nonce) > MaxNonce:
		return nil, reason(ErrLimit, "nonce of %d bytes, at most %d fit", len(o.Nonce), MaxNonce)
	case o.Context != nil:
		return bytes.Clone(o.Context), nil
	}
	context := make([]byte, contextLen, contextLen+len(o.Nonce))
	rand.Read(context) // never fails: crypto/rand
	return append(context, o.Nonce...), nil
}

// extensions encodes the options; signature_algorithms is always there
// (RFC 9261, Section 7.1).
func (o *RequestOptions) extensions(self Role) ([]Extension, error) {
	if o.ServerName != "" && self != Client {
		return nil, reason(ErrIllegalExtension, "%w", errors.New("server_name in a request to a client"))
	}
	schemes, certSchemes := o.SignatureSchemes, o.SignatureSchemesCert
	if schemes == nil {
		schemes = SignatureSchemes()
		if certSchemes == nil {
			certSchemes = append(SignatureSchemes(), tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512)
		}
	}
	list := []Extension{{extSignatureAlgorithms, encodeSchemes(schemes)}}
	if certSchemes != nil {
		list = append(list, Extension{extSignatureAlgorithmsCert, encodeSchemes(certSchemes)})
	}
	if o.ServerName != "" {
		list = append(list, Extension{extServerName, encodeServerName(o.ServerName)})
	}
	if len(o.Authorities) > 0 {
		list = append(list, Extension{extCertificateAuthorities, encodeAuthorities(o.Authorities)})
	}
	if len(o.OIDFilters) > 0 {
		filters, err := encodeOIDFilters(o.OIDFilters)
		if err != nil {
			return nil, err
		}
		list = append(list, Extension{extOIDFilters, filters})
	}
	if o.OCSP {
		list = append(list, Extension{extStatusRequest, nil})
	}
	if o.SCT {
		list = append(list, Extension{extSCT, nil})
	}
	list = append(list, o.Extensions...)
	return list, checkSizes(list)
}

func encodeSchemes(schemes []tls.SignatureScheme) []byte {
	b := appendUint16(make([]byte, 0, 2+2*len(schemes)), 2*len(schemes))
	for _, s := range schemes {
		b = appendUint16(b, int(s))
	}
	return b
}

func encodeServerName(name string) []byte {
	b := appendUint16(nil, 3+len(name))
	b = appendUint16(append(b, 0), len(name))
	return append(b, name...)
}

func encodeAuthorities(names [][]byte) []byte {
	n := 0
	for _, name := range names {
		n += 2 + len(name)
	}
	b := appendUint16(nil, n)
	for _, name := range names {
		b = append(appendUint16(b, len(name)), name...)
	}
	return b
}

func encodeOIDFilters(filters []OIDFilter) ([]byte, error) {
	var list []byte
	for _, f := range filters {
		der, err := asn1.Marshal(f.OID)
		if err != nil || len(der) > 255 || len(f.Values) > 0xffff {
			return nil, reason(ErrIllegalExtension, "OID filter %v", f.OID)
		}
		list = append(append(list, byte(len(der))), der...)
		list = append(appendUint16(list, len(f.Values)), f.Values...)
	}
	return append(appendUint16(nil, len(list)), list...), nil
}

// ReceivedRequest is a request that the peer sent. It is answered once, by
// [Session.Authenticate] or [Session.Refuse].
type ReceivedRequest struct {
	parsedRequest
	offer   *offer
	session *Session
	done    bool // guarded by session.mu
}

// Context is the certificate_request_context. The caller must not modify it.
func (r *ReceivedRequest) Context() []byte { return r.context }

// Extension returns the data of an extension of the request, and whether it is
// there. The caller must not modify it.
func (r *ReceivedRequest) Extension(typ uint16) ([]byte, bool) {
	if e := find(r.extensions, typ); e != nil {
		return e.Data, true
	}
	return nil, false
}

// Session is the connection on which the request arrived.
func (r *ReceivedRequest) Session() *Session { return r.session }

// ServerName is the name that the request asks for, or "".
func (r *ReceivedRequest) ServerName() string { return r.offer.serverName }

// ReceiveRequest parses a request that the peer sent and takes its context out
// of use. A context that this connection saw before, in either direction, is
// [ErrContextReuse]; a request of the own side's type is [ErrUnexpectedMessage]
// (RFC 9261, Section 4). Extensions that are unknown are ignored.
func (s *Session) ReceiveRequest(b []byte) (*ReceivedRequest, error) {
	r, err := s.receiveRequest(b)
	if err != nil {
		return nil, fail(OpAuthenticate, FaultPeer, err)
	}
	return r, nil
}

func (s *Session) receiveRequest(b []byte) (*ReceivedRequest, error) {
	if len(b) > MaxRequest {
		return nil, reason(ErrLimit, "request of %d bytes, at most %d are read", len(b), MaxRequest)
	}
	parsed, err := parseRequest(slices.Clone(b))
	if err != nil {
		return nil, err
	}
	if want := map[Role]uint8{Client: typeCertificateRequest, Server: typeClientCertificateRequest}[s.self]; parsed.typ != want {
		return nil, reason(ErrUnexpectedMessage, "request of type %d sent to a %v", parsed.typ, s.self)
	}
	off, err := parseOffer(parsed.extensions, parsed.typ)
	if err != nil {
		return nil, err
	}
	if err := s.claim(parsed.context); err != nil {
		return nil, err
	}
	return &ReceivedRequest{parsedRequest: *parsed, offer: off, session: s}, nil
}
