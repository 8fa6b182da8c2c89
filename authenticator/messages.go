package authenticator

import (
	"crypto/tls"

	"golang.org/x/crypto/cryptobyte"
)

// Handshake message types (RFC 8446, Section 4; RFC 9261, Section 8.3). In an
// authenticator they mean what they mean in the handshake.
const (
	typeCertificate              uint8 = 11
	typeCertificateRequest       uint8 = 13
	typeCertificateVerify        uint8 = 15
	typeClientCertificateRequest uint8 = 17
	typeFinished                 uint8 = 20
)

// Limits on what is sent and taken. They are checked before memory is.
const (
	// MaxRequest is the size of a request in bytes, its header included.
	MaxRequest = 16 << 10
	// MaxAuthenticator is the size of an authenticator in bytes.
	MaxAuthenticator = 1 << 20
	// MaxChain is the number of certificates in an authenticator.
	MaxChain = 10
)

const headerLen = 4 // msg_type(1) and length(3), as in TLS also on DTLS (RFC 9261, Section 4)

// readMessage takes one framed handshake message off s. raw is the message with
// its header, body without.
func readMessage(s *cryptobyte.String) (typ uint8, raw, body []byte, ok bool) {
	whole := []byte(*s)
	var b cryptobyte.String
	if !s.ReadUint8(&typ) || !s.ReadUint24LengthPrefixed(&b) {
		return 0, nil, nil, false
	}
	return typ, whole[:headerLen+len(b)], b, true
}

// appendRequest encodes
//
//	struct {
//	   opaque certificate_request_context<0..2^8-1>;
//	   Extension extensions<2..2^16-1>;
//	} ClientCertificateRequest;
//
// of RFC 9261, Section 4, whose body a CertificateRequest shares.
func appendRequest(typ uint8, context []byte, list []Extension) []byte {
	n := 1 + len(context) + 2 + extensionsSize(list)
	b := make([]byte, 0, headerLen+n)
	b = appendUint24(append(b, typ), n)
	b = append(append(b, byte(len(context))), context...)
	return appendExtensions(b, list)
}

// parsedRequest is a request as it arrived; its slices share raw.
type parsedRequest struct {
	typ        uint8
	raw        []byte
	context    []byte
	extensions []Extension
}

func parseRequest(b []byte) (*parsedRequest, error) {
	if len(b) > MaxRequest {
		return nil, reason(ErrLimit, "request of %d bytes, at most %d are read", len(b), MaxRequest)
	}
	s := cryptobyte.String(b)
	typ, raw, body, ok := readMessage(&s)
	if !ok || !s.Empty() {
		return nil, ErrDecode
	}
	if typ != typeCertificateRequest && typ != typeClientCertificateRequest {
		return nil, reason(ErrUnexpectedMessage, "message type %d is no request", typ)
	}
	r := &parsedRequest{typ: typ, raw: raw}
	in := cryptobyte.String(body)
	var context cryptobyte.String
	if !in.ReadUint8LengthPrefixed(&context) {
		return nil, ErrDecode
	}
	r.context = context
	var err error
	if r.extensions, err = readExtensions(&in); err != nil {
		return nil, err
	}
	if !in.Empty() {
		return nil, ErrDecode
	}
	return r, nil
}

// Entry is one CertificateEntry as it arrived (RFC 8446, Section 4.4.2).
type Entry struct {
	Certificate []byte // DER
	Extensions  []Extension
}

// parsedAuthenticator is an authenticator as it arrived; its slices share the
// bytes given. certificate, verify are the framed messages that enter the
// transcript.
type parsedAuthenticator struct {
	certificate []byte
	verify      []byte
	context     []byte
	entries     []Entry
	scheme      tls.SignatureScheme
	signature   []byte
	verifyData  []byte
	empty       bool // only Finished (RFC 9261, Section 6)
}

// parseAuthenticator reads Certificate, CertificateVerify and Finished, or a
// single Finished, and nothing after it (RFC 9261, Section 5.2 and Section 6).
func parseAuthenticator(b []byte) (*parsedAuthenticator, error) {
	if len(b) > MaxAuthenticator {
		return nil, reason(ErrLimit, "authenticator of %d bytes, at most %d are read", len(b), MaxAuthenticator)
	}
	p := &parsedAuthenticator{}
	s := cryptobyte.String(b)
	typ, raw, body, ok := readMessage(&s)
	if ok && typ == typeFinished && s.Empty() {
		p.empty, p.verifyData = true, body
		return p, nil
	}
	if !ok {
		return nil, ErrDecode
	}
	if typ != typeCertificate {
		return nil, reason(ErrUnexpectedMessage, "message type %d begins no authenticator", typ)
	}
	p.certificate = raw
	if err := p.readCertificate(body); err != nil {
		return nil, err
	}
	if typ, raw, body, ok = readMessage(&s); !ok {
		return nil, ErrDecode
	}
	if typ != typeCertificateVerify {
		return nil, reason(ErrUnexpectedMessage, "message type %d follows Certificate", typ)
	}
	p.verify = raw
	if !p.readVerify(body) {
		return nil, ErrDecode
	}
	if typ, _, body, ok = readMessage(&s); !ok || !s.Empty() {
		return nil, ErrDecode
	}
	if typ != typeFinished {
		return nil, reason(ErrUnexpectedMessage, "message type %d follows CertificateVerify", typ)
	}
	p.verifyData = body
	return p, nil
}

func (p *parsedAuthenticator) readCertificate(body []byte) error {
	s := cryptobyte.String(body)
	var context, list cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&context) || !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return ErrDecode
	}
	if list.Empty() {
		return reason(ErrDecode, "Certificate without an entry before CertificateVerify")
	}
	p.context = context
	for !list.Empty() {
		if len(p.entries) == MaxChain {
			return reason(ErrLimit, "more than %d certificates", MaxChain)
		}
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || der.Empty() {
			return ErrDecode
		}
		extensions, err := readExtensions(&list)
		if err != nil {
			return err
		}
		p.entries = append(p.entries, Entry{Certificate: der, Extensions: extensions})
	}
	return nil
}

func (p *parsedAuthenticator) readVerify(body []byte) bool {
	s := cryptobyte.String(body)
	var scheme uint16
	var signature cryptobyte.String
	if !s.ReadUint16(&scheme) || !s.ReadUint16LengthPrefixed(&signature) || !s.Empty() {
		return false
	}
	p.scheme, p.signature = tls.SignatureScheme(scheme), signature
	return true
}

// appendCertificate encodes a Certificate message.
func appendCertificate(b, context []byte, entries []Entry) []byte {
	list := 0
	for _, e := range entries {
		list += 3 + len(e.Certificate) + 2 + extensionsSize(e.Extensions)
	}
	b = appendUint24(append(b, typeCertificate), 1+len(context)+3+list)
	b = append(append(b, byte(len(context))), context...)
	b = appendUint24(b, list)
	for _, e := range entries {
		b = appendUint24(b, len(e.Certificate))
		b = append(b, e.Certificate...)
		b = appendExtensions(b, e.Extensions)
	}
	return b
}

func appendVerify(b []byte, scheme tls.SignatureScheme, signature []byte) []byte {
	b = appendUint24(append(b, typeCertificateVerify), 4+len(signature))
	b = appendUint16(b, int(scheme))
	b = appendUint16(b, len(signature))
	return append(b, signature...)
}

func appendFinished(b, verifyData []byte) []byte {
	b = appendUint24(append(b, typeFinished), len(verifyData))
	return append(b, verifyData...)
}

// Context returns the certificate_request_context of a request or an
// authenticator (RFC 9261, Section 7.2). An empty authenticator has none: the
// error is [ErrNoContext].
func Context(msg []byte) ([]byte, error) {
	s := cryptobyte.String(msg)
	var typ uint8
	if !s.ReadUint8(&typ) {
		return nil, fail(OpContext, FaultPeer, ErrDecode)
	}
	if typ == typeCertificateRequest || typ == typeClientCertificateRequest {
		r, err := parseRequest(msg)
		if err != nil {
			return nil, fail(OpContext, FaultPeer, err)
		}
		return append([]byte{}, r.context...), nil
	}
	a, err := parseAuthenticator(msg)
	if err == nil && a.empty {
		err = ErrNoContext
	}
	if err != nil {
		return nil, fail(OpContext, FaultPeer, err)
	}
	return append([]byte{}, a.context...), nil
}
