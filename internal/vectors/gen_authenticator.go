package vectors

import (
	"crypto/tls"
	"slices"
	"strings"
)

// authnWriter adds authenticators. Each starts from a right one; change is what
// the case is about.
type authnWriter struct {
	*writer
	p *pki
}

// authnSetup says who answers what.
type authnSetup struct {
	conn     *Connection
	identity string
	chain    *tls.Certificate // in place of the identity's
	context  []byte           // nil: derived from the id
	schemes  []uint16         // nil: all
	offer    []Extension      // beside signature_algorithms
	hello    *clientHello     // spontaneous
	used     []Bytes
	name     string // "": server.example
	roots    []string
}

func (w authnWriter) make(id string, s authnSetup, change func(*authn)) (authenticatorInput, *authn) {
	chain := w.p.chains[s.identity]
	if s.chain != nil {
		chain = *s.chain
	}
	sender, _, _ := strings.Cut(s.identity, "-")
	in := authenticatorInput{
		Connection: *s.conn, Sender: sender, ClientHello: s.hello, UsedContexts: append([]Bytes{}, s.used...),
		Roots: []string{"x509-root"}, Time: checkTime,
	}
	if s.roots != nil {
		in.Roots = s.roots
	}
	if sender == sideServer {
		in.ServerName = ptr(serverName)
		if s.name != "" {
			in.ServerName = &s.name
		}
	}
	if s.context == nil {
		s.context = requestContext("authenticator " + id)
	}
	if s.schemes == nil {
		s.schemes = allSchemes
	}
	if s.hello == nil {
		list := append([]Extension{signatureAlgorithms(s.schemes...)}, s.offer...)
		in.Request = hexPtr(encodeRequest(requestType(otherSide(sender)), s.context, list...))
	}
	a := newAuthn(s.conn, sender, in.request(), s.context, chain)
	for _, known := range w.p.file.Identities {
		if known.Name == s.identity {
			a.scheme = known.Scheme
		}
	}
	w.fail(id, a.exporters())
	if change != nil {
		change(a)
	}
	message, err := a.build()
	w.fail(id, err)
	in.Authenticator = message
	return in, a
}

func (w authnWriter) valid(id, comment string, s authnSetup, change func(*authn)) {
	in, a := w.make(id, s, change)
	out := authenticatorExpected{
		Identity: s.identity, Context: a.context, Scheme: a.scheme, LeafExtensions: []Extension{},
		HandshakeContext: a.handshakeContext, FinishedKey: a.finishedKey,
		CertificateVerifyHash: a.conn.digest(a.signed(a.certificate)),
		FinishedHash:          a.conn.digest(a.maced(a.certificate, a.verify)),
		VerifyData:            a.finished[4:],
	}
	for _, der := range a.certificates {
		out.Certificates = append(out.Certificates, der)
	}
	if len(a.extensions) > 0 {
		out.LeafExtensions = a.extensions[0]
	}
	w.writer.valid(id, comment, in, out)
}

func (w authnWriter) invalid(id, reason, comment string, s authnSetup, change func(*authn)) {
	in, _ := w.make(id, s, change)
	w.writer.invalid(id, reason, comment, in)
}

// refusal adds an empty authenticator; transcript and mac are nil for right ones.
func (w authnWriter) refusal(id, reason, comment string, s authnSetup, change func(*authn)) {
	empty := func(a *authn) {
		a.certificates, a.extensions = nil, nil
		a.maced = func(certificate, _ []byte) []byte { return concat(a.handshakeContext, a.request, certificate) }
		a.assemble = func(_, _, finished []byte) []byte { return finished }
		if change != nil {
			change(a)
		}
	}
	in, a := w.make(id, s, empty)
	if reason != reasonRefused {
		w.writer.invalid(id, reason, comment, in)
		return
	}
	w.add(Case{ID: id, Comment: comment, Result: resultInvalid, Reason: reason}, in, refusalExpected{
		HandshakeContext: a.handshakeContext, FinishedKey: a.finishedKey,
		FinishedHash: a.conn.digest(a.maced(a.certificate, nil)), VerifyData: a.finished[4:],
	})
}

func writeAuthenticator(p *pki, plain *writer) {
	w := authnWriter{plain, p}
	writeRightAuthenticators(w)
	writeRefusals(w)
	writeWrongForm(w)
	writeWrongContent(w)
	writeWrongCertificates(w)
	writeWrongSignatures(w)
	writeWrongFinished(w)
}

// helloOf is a ClientHello that offers what a Go client does.
func helloOf(schemes ...uint16) *clientHello {
	return &clientHello{SignatureSchemes: schemes, Extensions: []uint16{0, 5, 10, 11, 13, 16, 18, 23, 43, 50, 51, 65281}}
}

func writeRightAuthenticators(w authnWriter) {
	by := func(c *Connection, identity string) authnSetup { return authnSetup{conn: c, identity: identity} }
	w.valid("sha256-server-p256", "answers a ClientCertificateRequest", by(&rfc8448, "server-p256"), nil)
	w.valid("sha256-client-p256", "answers a CertificateRequest", by(&rfc8448, "client-p256"), nil)
	w.valid("sha384-server-p384", "a server on a SHA-384 connection", by(&conn384, "server-p384"), nil)
	w.valid("sha384-client-p384", "a client on a SHA-384 connection", by(&conn384, "client-p384"), nil)
	w.valid("sha256-server-p521", "the hash of the scheme is not that of the connection", by(&rfc8448, "server-p521"), nil)
	w.valid("sha384-client-p521", "ecdsa_secp521r1_sha512 on a SHA-384 connection", by(&conn384, "client-p521"), nil)
	w.valid("sha256-server-ed25519", "deterministic: other implementations make the same bytes", by(&rfc8448, "server-ed25519"), nil)
	w.valid("sha384-client-ed25519", "deterministic: other implementations make the same bytes", by(&conn384, "client-ed25519"), nil)
	w.valid("sha256-server-rsa-sha256", "rsa_pss_rsae_sha256", by(&rfc8448, "server-rsa"), nil)
	w.valid("sha256-server-rsa-sha384", "rsa_pss_rsae_sha384", by(&rfc8448, "server-rsa"), func(a *authn) { a.scheme = schemePSSRSAE + 1 })
	w.valid("sha384-server-rsa-sha512", "rsa_pss_rsae_sha512", by(&conn384, "server-rsa"), func(a *authn) { a.scheme = schemePSSRSAE + 2 })
	w.valid("sha256-server-rsa-pss-sha256", "rsa_pss_pss_sha256", by(&rfc8448, "server-rsa-pss"), nil)
	w.valid("sha384-client-rsa-pss-sha384", "rsa_pss_pss_sha384", by(&conn384, "client-rsa-pss"), func(a *authn) { a.scheme = schemePSSPSS + 1 })
	w.valid("sha256-client-rsa-pss-sha512", "rsa_pss_pss_sha512", by(&rfc8448, "client-rsa-pss"), func(a *authn) { a.scheme = schemePSSPSS + 2 })
	w.valid("tls12-sha256-server-p256", "the exporter context is empty, not absent", by(&conn12, "server-p256"), nil)
	w.valid("tls12-sha256-client-ed25519", "a client on TLS 1.2", by(&conn12, "client-ed25519"), nil)
	w.valid("tls12-sha384-server-p384", "PRF hash SHA-384", by(&conn12SHA384, "server-p384"), nil)
	w.valid("tls12-sha384-client-p256", "PRF hash SHA-384, scheme hash SHA-256", by(&conn12SHA384, "client-p256"), nil)

	spontaneous := func(c *Connection, identity string, schemes ...uint16) authnSetup {
		return authnSetup{conn: c, identity: identity, hello: helloOf(schemes...)}
	}
	w.valid("spontaneous-sha256-p256", "no request: the transcript has none, the context is the server's", spontaneous(&rfc8448, "server-p256", schemeP256), nil)
	w.valid("spontaneous-sha384-ed25519", "ed25519 is the client's second choice", spontaneous(&conn384, "server-ed25519", schemeP256, schemeEd25519), nil)
	w.valid("spontaneous-tls12-sha256-rsa", "the ClientHello may offer PKCS#1 too; it is not used", spontaneous(&conn12, "server-rsa", schemePKCS1, schemePSSRSAE), nil)
	w.valid("spontaneous-other-contexts-used", "contexts of earlier authenticators do not matter if they differ",
		authnSetup{conn: &rfc8448, identity: "server-p256", hello: helloOf(schemeP256), used: []Bytes{requestContext("x"), requestContext("y")}}, nil)

	cmwData := unhex("82782b6170706c69636174696f6e2f766e642e6578616d706c652e726174732d636f6e6365707475616c2d6d7367442347da55")
	offer := Extension{Type: extCMW}
	w.valid("attestation-sha256-server-p256", "cmw_attestation in the leaf's entry", authnSetup{conn: &rfc8448, identity: "server-p256", offer: []Extension{offer}},
		func(a *authn) { a.extensions = [][]Extension{{{extCMW, u16(cmwData)}}} })
	w.valid("attestation-sha384-client-ed25519", "cmw_attestation in the leaf's entry", authnSetup{conn: &conn384, identity: "client-ed25519", offer: []Extension{offer}},
		func(a *authn) { a.extensions = [][]Extension{{{extCMW, u16(cmwData)}}} })
	w.valid("offered-not-sent", "what was offered may be left out", authnSetup{conn: &rfc8448, identity: "server-ed25519", offer: []Extension{offer, {Type: extStatusRequest}}}, nil)
	w.valid("sct", "signed_certificate_timestamp, opaque", authnSetup{conn: &rfc8448, identity: "server-ed25519", offer: []Extension{{Type: extSCT}}},
		func(a *authn) { a.extensions = [][]Extension{{{extSCT, names(unhex("0011"), unhex("2233"))}}} })
	w.valid("unknown-extension", "an unknown type that was offered may be answered", authnSetup{conn: &rfc8448, identity: "server-ed25519", offer: []Extension{{0xfafa, unhex("01")}}},
		func(a *authn) { a.extensions = [][]Extension{{{0xfafa, unhex("02")}}} })
	w.valid("server-name", "the request has server_name; it is part of the transcript", authnSetup{conn: &rfc8448, identity: "server-ed25519", offer: []Extension{hostName(serverName)}}, nil)
	w.valid("context-empty", "a context of 0 bytes", authnSetup{conn: &rfc8448, identity: "server-ed25519", context: []byte{}}, nil)
	w.valid("context-255", "a context of 255 bytes", authnSetup{conn: &rfc8448, identity: "client-ed25519", context: count(255)}, nil)
	w.valid("chain-with-root", "the chain may include the root", authnSetup{conn: &rfc8448, identity: "server-ed25519"},
		func(a *authn) { a.certificates = append(slices.Clone(a.certificates), w.p.certs["x509-root"]) })
	w.valid("one-scheme-offered", "signature_algorithms holds the scheme used and no other", authnSetup{conn: &rfc8448, identity: "client-p256", schemes: []uint16{schemeP256}}, nil)
}

func writeRefusals(w authnWriter) {
	server := authnSetup{conn: &rfc8448, identity: "server-p256"}
	w.refusal("refused-sha256-server", reasonRefused, "a right empty authenticator", server, nil)
	w.refusal("refused-sha256-client", reasonRefused, "a right empty authenticator", authnSetup{conn: &rfc8448, identity: "client-p256"}, nil)
	w.refusal("refused-sha384-server", reasonRefused, "a right empty authenticator", authnSetup{conn: &conn384, identity: "server-p384"}, nil)
	w.refusal("refused-sha384-client", reasonRefused, "a right empty authenticator", authnSetup{conn: &conn384, identity: "client-p384"}, nil)
	w.refusal("refused-tls12", reasonRefused, "a right empty authenticator", authnSetup{conn: &conn12, identity: "server-p256"}, nil)
	w.refusal("refused-context-empty", reasonRefused, "Certificate′ has an empty context too", authnSetup{conn: &rfc8448, identity: "server-p256", context: []byte{}}, nil)

	const finished = "finished"
	w.refusal("refusal-bare-request", finished, "the transcript has the request without its header", server, func(a *authn) {
		a.maced = func(certificate, _ []byte) []byte { return concat(a.handshakeContext, a.request[4:], certificate) }
	})
	w.refusal("refusal-no-certificate", finished, "the transcript lacks Certificate′", server, func(a *authn) {
		a.maced = func(_, _ []byte) []byte { return concat(a.handshakeContext, a.request) }
	})
	w.refusal("refusal-no-request", finished, "the transcript lacks the request", server, func(a *authn) {
		a.maced = func(certificate, _ []byte) []byte { return concat(a.handshakeContext, certificate) }
	})
	w.refusal("refusal-empty-context", finished, "Certificate′ has no context", server, func(a *authn) {
		a.maced = func(_, _ []byte) []byte {
			return concat(a.handshakeContext, a.request, encodeCertificate(nil, nil, nil))
		}
	})
	w.refusal("refusal-bare-certificate", finished, "Certificate′ without its header", server, func(a *authn) {
		a.maced = func(certificate, _ []byte) []byte { return concat(a.handshakeContext, a.request, certificate[4:]) }
	})
	w.refusal("refusal-other-request", finished, "that of another request: a replay", server, func(a *authn) {
		a.maced = func(_, _ []byte) []byte {
			context := requestContext("an earlier request")
			return concat(a.handshakeContext, encodeRequest(a.request[0], context, signatureAlgorithms(allSchemes...)), encodeCertificate(context, nil, nil))
		}
	})
	w.refusal("refusal-own-side", finished, "made with the keys of the other side: a reflection", server, func(a *authn) {
		a.handshakeContext, a.finishedKey, _ = a.conn.roleSecrets(sideClient)
	})
	w.refusal("refusal-other-connection", finished, "made with the keys of another connection", server, func(a *authn) {
		a.handshakeContext, a.finishedKey, _ = connOther.roleSecrets(sideServer)
	})
	w.refusal("refusal-over-concatenation", finished, "HMAC over the transcript itself", server, func(a *authn) {
		a.finish = func(transcript []byte) []byte { return a.conn.mac(a.finishedKey, transcript) }
	})
	w.refusal("refusal-flipped", finished, "one bit differs", server, func(a *authn) {
		finish := a.finish
		a.finish = func(transcript []byte) []byte { return flip(finish(transcript), 0) }
	})
	w.refusal("refusal-truncated", finished, "verify_data of 31 bytes", server, func(a *authn) {
		finish := a.finish
		a.finish = func(transcript []byte) []byte { return finish(transcript)[:31] }
	})
	w.refusal("refusal-no-data", finished, "verify_data of 0 bytes", server, func(a *authn) {
		a.finish = func([]byte) []byte { return nil }
	})
	w.refusal("spontaneous-refusal", "unexpected-message", "an empty authenticator answers requests only",
		authnSetup{conn: &rfc8448, identity: "server-p256", hello: helloOf(schemeP256)}, nil)
}
