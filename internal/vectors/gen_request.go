package vectors

import "bytes"

// allSchemes is signature_algorithms of requests that take any identity.
var allSchemes = []uint16{
	schemeP256, schemeEd25519, schemeP384, schemeP521,
	schemePSSRSAE, schemePSSRSAE + 1, schemePSSRSAE + 2,
	schemePSSPSS, schemePSSPSS + 1, schemePSSPSS + 2,
}

// hostName encodes server_name in a request.
func hostName(name string) Extension {
	return Extension{extServerName, u16(append([]byte{0}, u16([]byte(name))...))}
}

// names encodes a list of distinguished names, or of timestamps.
func names(list ...[]byte) []byte {
	var b []byte
	for _, n := range list {
		b = append(b, u16(n)...)
	}
	return u16(b)
}

// commonName is the DER of a distinguished name with one common name.
func commonName(cn string) []byte {
	attribute := append([]byte{0x0c, byte(len(cn))}, cn...)
	pair := concat(unhex("0603550403"), attribute)
	set := concat([]byte{0x31, byte(len(pair) + 2), 0x30, byte(len(pair))}, pair)
	return concat([]byte{0x30, byte(len(set))}, set)
}

// requestWriter adds requests; the context is derived from the id.
type requestWriter struct{ *writer }

func requestContext(id string) []byte { return derived("context of "+id, 32) }

func (w requestWriter) valid(id, comment, from string, context []byte, list ...Extension) {
	if context == nil {
		context = requestContext(id)
	}
	out := requestExpected{Type: requestType(from), Context: context, Extensions: list}
	for _, e := range list {
		if e.Type == extSignatureAlgorithms {
			for i := 2; i < len(e.Data); i += 2 {
				out.SignatureSchemes = append(out.SignatureSchemes, uint16(e.Data[i])<<8|uint16(e.Data[i+1]))
			}
		}
		if e.Type == extServerName {
			out.ServerName = ptr(string(e.Data[5:]))
		}
	}
	message := encodeRequest(out.Type, context, list...)
	w.writer.valid(id, comment, requestInput{otherSide(from), message, []Bytes{}}, out)
}

// invalid adds a message to a server, or to a client if it is of type 13.
func (w requestWriter) invalid(id, reason, comment string, message []byte, used ...Bytes) {
	to := sideServer
	if len(message) > 0 && message[0] == msgCertificateRequest {
		to = sideClient
	}
	w.writer.invalid(id, reason, comment, requestInput{to, message, append([]Bytes{}, used...)})
}

func writeRequest(_ *pki, plain *writer) {
	w := requestWriter{plain}
	all := signatureAlgorithms(allSchemes...)
	one := signatureAlgorithms(schemeP256)
	w.valid("client-minimal", "ClientCertificateRequest with signature_algorithms alone", sideClient, nil, one)
	w.valid("server-minimal", "CertificateRequest with signature_algorithms alone", sideServer, nil, one)
	w.valid("client-attestation", "offers cmw_attestation, empty", sideClient, nil, all, Extension{Type: extCMW})
	w.valid("server-attestation", "offers cmw_attestation, empty", sideServer, nil, all, Extension{Type: extCMW})
	w.valid("client-server-name", "server_name is allowed in ClientCertificateRequest", sideClient, nil, all, hostName(serverName))
	w.valid("extensions-before-algorithms", "signature_algorithms need not come first", sideClient, nil, hostName(serverName), Extension{Type: extStatusRequest}, one)
	w.valid("context-empty", "RFC 9261 allows a context of 0 bytes", sideClient, []byte{}, one)
	w.valid("context-255", "the longest context", sideServer, count(255), one)
	w.valid("staples", "status_request and signed_certificate_timestamp are empty in requests", sideClient, nil, all, Extension{Type: extStatusRequest}, Extension{Type: extSCT})
	w.valid("algorithms-cert", "signature_algorithms_cert may hold PKCS#1", sideServer, nil, all, Extension{extSignatureSchemesCert, signatureAlgorithms(schemePKCS1, schemeP256).Data})
	w.valid("authorities", "certificate_authorities", sideServer, nil, all, Extension{extCertificateAuthorities, names(commonName("a"), commonName("b"))})
	w.valid("oid-filters", "oid_filters: key usage digitalSignature", sideServer, nil, all, Extension{extOIDFilters, u16(concat(u8(unhex("0603551d0f")), u16(unhex("03020780"))))})
	w.valid("oid-filters-empty", "oid_filters may be an empty list (RFC 8446, Section 4.2.5)", sideServer, nil, all, Extension{extOIDFilters, u16(nil)})
	w.valid("unknown-extension", "an unknown type is ignored, and stays in the transcript", sideClient, nil, one, Extension{0xfafa, unhex("00112233")})
	w.valid("unknown-scheme", "unknown schemes are ignored", sideClient, nil, signatureAlgorithms(0xfafa, schemeP256))

	context := requestContext("negatives")
	right := encodeRequest(msgClientCertificateRequest, context, one)
	with := func(list ...Extension) []byte { return encodeRequest(msgClientCertificateRequest, context, list...) }
	fromServer := func(list ...Extension) []byte { return encodeRequest(msgCertificateRequest, context, list...) }
	body := func(b ...[]byte) []byte { return handshake(msgClientCertificateRequest, concat(b...)) }

	w.invalid("limit-16385", "limit", "16385 bytes", with(one, Extension{0xfafa, make([]byte, 16385-len(right)-4)}))
	w.invalid("empty", "malformed", "zero bytes", []byte{})
	w.invalid("header-only", "malformed", "a header without its body", right[:4])
	w.invalid("truncated", "malformed", "the last byte is missing", right[:len(right)-1])
	w.invalid("trailing-byte", "malformed", "a byte follows the message", concat(right, []byte{0}))
	w.invalid("two-messages", "malformed", "two requests", concat(right, with(one, Extension{Type: extStatusRequest})))
	w.invalid("trailing-in-body", "malformed", "a byte follows the extensions inside the message", body(u8(context), encodeExtensions([]Extension{one}), []byte{0}))
	w.invalid("context-length", "malformed", "the context is longer than the body", body(append([]byte{255}, context...)))
	w.invalid("no-extensions-block", "malformed", "nothing follows the context", body(u8(context)))
	w.invalid("extensions-length", "malformed", "the extension block is longer than the body", body(u8(context), []byte{0, 200}, right[4+33+2:]))
	w.invalid("extension-truncated", "malformed", "the last extension ends early", body(u8(context), u16(concat(encodeExtensions([]Extension{one})[2:], []byte{0xfa, 0xfa, 0, 2, 0}))))
	w.invalid("algorithms-empty", "malformed", "signature_algorithms without a scheme", with(signatureAlgorithms()))
	w.invalid("algorithms-no-data", "malformed", "signature_algorithms without a list", with(Extension{Type: extSignatureAlgorithms}))
	w.invalid("algorithms-odd", "malformed", "half a scheme", with(Extension{extSignatureAlgorithms, u16(unhex("040304"))}))
	w.invalid("algorithms-trailing", "malformed", "a byte follows the list", with(Extension{extSignatureAlgorithms, concat(one.Data, []byte{0})}))
	w.invalid("algorithms-cert-empty", "malformed", "signature_algorithms_cert without a scheme", with(one, Extension{extSignatureSchemesCert, u16(nil)}))
	w.invalid("server-name-empty", "malformed", "server_name as a server sends it in the handshake", with(one, Extension{Type: extServerName}))
	w.invalid("server-name-type", "malformed", "name_type 1", with(one, Extension{extServerName, u16(append([]byte{1}, u16([]byte(serverName))...))}))
	w.invalid("server-name-no-host", "malformed", "a host_name of 0 bytes", with(one, hostName("")))
	w.invalid("server-name-two", "malformed", "two names", with(one, Extension{extServerName, u16(bytes.Repeat(hostName("a").Data[2:], 2))}))
	w.invalid("status-request-body", "malformed", "status_request as in a ClientHello", with(one, Extension{extStatusRequest, unhex("0100000000")}))
	w.invalid("sct-body", "malformed", "signed_certificate_timestamp with data", with(one, Extension{extSCT, unhex("00")}))
	w.invalid("authorities-empty", "malformed", "certificate_authorities without a name", with(one, Extension{extCertificateAuthorities, u16(nil)}))
	w.invalid("authorities-empty-name", "malformed", "a name of 0 bytes", with(one, Extension{extCertificateAuthorities, names([]byte{})}))
	w.invalid("oid-filters-twice", "malformed", "an OID twice", with(one, Extension{extOIDFilters, u16(bytes.Repeat(concat(u8(unhex("0603551d0f")), u16(unhex("03020780"))), 2))}))
	w.invalid("oid-filters-no-oid", "malformed", "an OID that is an INTEGER", with(one, Extension{extOIDFilters, u16(concat(u8(unhex("020101")), u16(nil)))}))

	w.invalid("type-client-hello", "unexpected-message", "a ClientHello's type", handshake(1, right[4:]))
	w.invalid("type-certificate", "unexpected-message", "a Certificate's type", handshake(msgCertificate, right[4:]))
	plain.invalid("client-sends-13", "unexpected-message", "a client sends CertificateRequest", requestInput{sideServer, fromServer(one), []Bytes{}})
	plain.invalid("server-sends-17", "unexpected-message", "a server sends ClientCertificateRequest", requestInput{sideClient, right, []Bytes{}})

	w.invalid("twice-algorithms", "illegal-extension", "signature_algorithms twice", with(one, one))
	w.invalid("twice-unknown", "illegal-extension", "an unknown type twice", with(one, Extension{0xfafa, []byte{1}}, Extension{0xfafa, []byte{2}}))
	w.invalid("twice-attestation", "illegal-extension", "cmw_attestation twice", with(one, Extension{Type: extCMW}, Extension{Type: extCMW}))
	w.invalid("server-name-from-server", "illegal-extension", "server_name in CertificateRequest", fromServer(one, hostName(serverName)))
	w.invalid("key-share", "illegal-extension", "key_share has no place in a CertificateRequest", with(one, Extension{51, unhex("0017")}))
	w.invalid("supported-versions", "illegal-extension", "supported_versions has no place in a CertificateRequest", with(one, Extension{43, unhex("0304")}))
	w.invalid("alpn", "illegal-extension", "application_layer_protocol_negotiation has no place in a CertificateRequest", fromServer(one, Extension{16, unhex("0003026832")}))
	w.invalid("supported-groups", "illegal-extension", "supported_groups has no place in a CertificateRequest", with(one, Extension{10, unhex("0002001d")}))

	w.invalid("unknown-alone", "missing-extension", "an unknown extension alone", with(Extension{0xfafa, nil}))
	w.invalid("no-algorithms", "missing-extension", "cmw_attestation alone", with(Extension{Type: extCMW}))
	w.invalid("only-algorithms-cert", "missing-extension", "signature_algorithms_cert does not stand in for signature_algorithms", fromServer(Extension{extSignatureSchemesCert, one.Data}))

	w.invalid("context-reused", "context-reuse", "the context was used before, in either direction", right, context)
	w.invalid("context-reused-13", "context-reuse", "the client itself used it in a ClientCertificateRequest", fromServer(one), requestContext("another"), context)
	w.invalid("context-reused-empty", "context-reuse", "the empty context can be used once", encodeRequest(msgClientCertificateRequest, nil, one), Bytes{})
}
