package vectors

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
)

// transcriptWriter adds exchanges.
type transcriptWriter struct {
	*writer
	p *pki
}

// valid adds an exchange as both sides saw it. opens says with which frame each
// opens for application data.
func (w transcriptWriter) valid(id, comment string, s *scene, frames []sentFrame, clientOpens, serverOpens int) {
	w.fail(id, s.err)
	for _, side := range []struct {
		name  string
		opens int
	}{{sideClient, clientOpens}, {sideServer, serverOpens}} {
		out := transcriptExpected{OpensAfter: side.opens}
		for _, seconds := range s.lifetime {
			if out.Lifetime == nil || int64(seconds) < *out.Lifetime {
				out.Lifetime = ptr(int64(seconds))
			}
		}
		if s.asks[side.name] {
			b := s.bound[otherSide(side.name)]
			out.Peer = &provedPeer{s.context(side.name), b.Binder, b.KeyHash, b.SPKI}
		}
		w.writer.valid(id+"-"+side.name, comment+", seen by the "+side.name, s.seen(side.name, frames[:side.opens+1]), out)
	}
}

func (w transcriptWriter) invalid(id, reason, comment, observer string, s *scene, frames []sentFrame, at int) {
	w.fail(id, s.err)
	if !slices.ContainsFunc(frames, func(f sentFrame) bool { return f.From == observer && f.Frame[0] == frameHello }) {
		begin := []sentFrame{s.hello(observer)}
		if s.asks[observer] {
			begin = append(begin, s.ask(observer))
		}
		frames, at = append(begin, frames...), at+len(begin)
	}
	w.add(Case{ID: id, Comment: comment, Result: resultInvalid, Reason: reason}, s.seen(observer, frames), transcriptFailed{at})
}

func writeTranscript(p *pki, plain *writer) {
	w := transcriptWriter{plain, p}
	writeRightTranscripts(w)
	writeWrongFrames(w)
	writeWrongOrder(w)
	writeWrongAuthenticators(w)
}

func writeRightTranscripts(w transcriptWriter) {
	s := w.p.newScene("server", &rfc8448, sideServer)
	w.valid("server-attests", "the server attests", s, s.play(), 4, 4)
	s = w.p.newScene("client", &rfc8448, sideClient)
	w.valid("client-attests", "the client attests", s, s.play(), 4, 4)
	s = w.p.newScene("mutual", &rfc8448, sideServer, sideClient)
	w.valid("mutual", "both attest, the client after it accepted the server", s, s.play(), 7, 7)
	s = w.p.newScene("mutual-sha384", &conn384, sideServer, sideClient)
	w.valid("mutual-sha384", "both attest on a SHA-384 connection", s, s.play(), 7, 7)
	s = w.p.newScene("lifetime", &rfc8448, sideServer, sideClient)
	s.lifetime = map[string]uint64{sideClient: 3600, sideServer: 86400}
	w.valid("mutual-lifetimes", "the shorter of two lifetimes counts", s, s.play(), 7, 7)
	s = w.p.newScene("lifetime-one", &rfc8448, sideServer)
	s.lifetime = map[string]uint64{sideClient: 600}
	w.valid("server-lifetime", "a verdict that ends", s, s.play(), 4, 4)
	s = w.p.newScene("client-first", &rfc8448, sideServer, sideClient)
	f := []sentFrame{
		s.hello(sideClient), s.ask(sideClient), s.hello(sideServer), s.ask(sideServer),
		s.authenticate(sideClient), s.result(sideServer, 0), s.authenticate(sideServer), s.result(sideClient, 0),
	}
	w.valid("mutual-client-first", "the server shows its Evidence after it accepted the client's", s, f, 7, 7)
	s = w.p.newScene("answer-first", &rfc8448, sideServer, sideClient)
	f = s.play()
	f[3], f[4] = f[4], f[3]
	w.valid("mutual-answer-before-request", "the server's AUTHENTICATOR before its REQUEST", s, f, 7, 7)
	s = w.p.newScene("crossing", &rfc8448, sideServer, sideClient)
	f = s.play()
	f = []sentFrame{f[0], f[1], f[2], f[3], f[4], f[6], f[5], f[7]}
	w.valid("mutual-crossing", "both AUTHENTICATORs before the first RESULT", s, f, 7, 7)
	s = w.p.newScene("server-hello-first", &rfc8448, sideServer)
	f = s.play()
	f[0], f[1], f[2] = f[2], f[0], f[1]
	w.valid("server-hello-first", "the server's HELLO is the first frame of all", s, f, 4, 4)
}

func writeWrongFrames(w transcriptWriter) {
	s := w.p.newScene("frames", &rfc8448, sideServer, sideClient)
	right := s.play()
	at := func(id, reason, comment string, i int, wrong []byte) {
		f := slices.Clone(right[:i+1])
		f[i] = sentFrame{f[i].From, wrong}
		w.invalid(id, reason, comment, otherSide(f[i].From), s, f, i)
	}
	at("frame-truncated", "truncated", "the stream ends inside HELLO", 0, right[0].Frame[:len(right[0].Frame)-1])
	at("frame-unknown-type", "unknown-type", "type 9", 2, unhex("0900000100"))
	at("frame-application-data", "unknown-type", "application data in place of AUTHENTICATOR", 4, []byte("HTTP/1.1 200 OK\r\n"))
	at("frame-large-request", "too-large", "a REQUEST of 16385 bytes", 1, frame(frameRequest, make([]byte, 16385)))
	at("frame-large-authenticator", "too-large", "262145 bytes announced", 4, unhex("03040001"))
	at("frame-malformed-hello", "malformed", "HELLO with version 2", 0, unhex("01000007a3000201f402f5"))
	at("frame-malformed-result", "malformed", "RESULT without a code", 5, unhex("04000003a10101"))
	at("frame-malformed-alert", "malformed", "ALERT of one byte", 2, unhex("050000010d"))
	at("alert-protocol", "alert", "the peer reports a protocol error", 2, s.alert(sideServer, 13).Frame)
	at("alert-unknown-code", "alert", "a code that is not in the table", 4, s.alert(sideServer, 99).Frame)
	at("alert-zero", "alert-zero", "ALERT with the code of acceptance", 2, s.alert(sideServer, 0).Frame)
	at("result-rejected", "rejected", "the client rejects the server's attestation", 5, s.result(sideClient, 7).Frame)
	at("result-unknown-code", "rejected", "a code that is not in the table", 5, s.result(sideClient, 99).Frame)
	for _, cut := range []struct {
		id, comment, observer string
		n                     int
	}{
		{"incomplete-nothing", "no frame", sideClient, 0},
		{"incomplete-hello", "the peer's HELLO alone", sideServer, 1},
		{"incomplete-request", "the peer's HELLO and REQUEST alone", sideServer, 2},
		{"incomplete-no-authenticator", "the server never answers", sideClient, 4},
		{"incomplete-one-way", "the client accepted and does not answer", sideServer, 6},
		{"incomplete-no-result", "the server gives no verdict on the client", sideClient, 7},
	} {
		w.invalid(cut.id, reasonIncomplete, cut.comment, cut.observer, s, slices.Clone(right[:cut.n]), cut.n)
	}
}

func writeWrongOrder(w transcriptWriter) {
	s := w.p.newScene("order", &rfc8448, sideServer, sideClient)
	r := s.play() // 0, 1 client HELLO, REQUEST; 2, 3, 4 server HELLO, REQUEST, AUTHENTICATOR; 5 RESULT; 6, 7 the client's
	order := func(id, comment, observer string, frames ...sentFrame) {
		w.invalid(id, reasonOrder, comment, observer, s, frames, len(frames)-1)
	}
	order("order-request-first", "REQUEST before HELLO", sideServer, r[2], r[3], r[1])
	order("order-authenticator-first", "AUTHENTICATOR before HELLO", sideClient, r[0], r[1], r[4])
	order("order-result-first", "RESULT before HELLO", sideServer, r[2], r[3], r[5])
	order("order-data-first", "DATA, though mux was not agreed", sideServer, r[2], r[3], sentFrame{sideClient, frame(frameData, []byte("hello"))})
	order("order-data-later", "DATA before the exchange is done", sideClient, r[0], r[1], r[2], sentFrame{sideServer, frame(frameData, []byte("hello"))})
	order("order-second-hello", "HELLO twice", sideServer, r[2], r[3], r[0], r[0])
	order("order-second-request", "REQUEST twice, the second with another context", sideServer, r[2], r[3], r[0], r[1],
		sentFrame{sideClient, frame(frameRequest, encodeRequest(msgClientCertificateRequest, requestContext("second"), signatureAlgorithms(schemeP256)))})
	order("order-second-authenticator", "AUTHENTICATOR twice", sideClient, r[0], r[1], r[2], r[4], r[4])
	order("order-result-early", "RESULT before the authenticator it judges", sideServer, r[2], r[3], r[0], r[1], r[5])
	order("order-second-result", "RESULT twice", sideServer, r[0], r[1], r[2], r[3], r[4], r[5], r[5])

	one := w.p.newScene("order-one", &rfc8448, sideServer)
	f := one.play()
	invalid := func(id, reason, comment, observer string, s *scene, frames ...sentFrame) {
		w.invalid(id, reason, comment, observer, s, frames, len(frames)-1)
	}
	invalid("order-request-unannounced", reasonOrder, "REQUEST though HELLO said no", sideClient, one, f[0], f[1], f[2], r[3])
	invalid("order-authenticator-unasked", reasonOrder, "AUTHENTICATOR though nobody asked", sideServer, one, f[2], f[0], f[1], r[6])
	invalid("order-result-unasked", reasonOrder, "RESULT from a side that did not ask", sideClient, one, f[0], f[1], f[2], one.result(sideServer, 0))

	nobody := w.p.newScene("nobody", &rfc8448)
	nobody.identity[sideServer] = "server-p256"
	invalid("nobody-asks", "nobody-asks", "neither side asks", sideServer, nobody, nobody.hello(sideServer), nobody.hello(sideClient))
	mute := w.p.newScene("mute", &rfc8448, sideServer)
	asked := mute.play()
	mute.identity = map[string]string{}
	invalid("cannot-attest", "cannot-attest", "the client asks, the server cannot attest", sideClient, mute, asked[0], asked[1], mute.hello(sideServer))

	bad := func(id, reason, comment string, request []byte) {
		invalid(id, reason, comment, sideServer, s, r[2], r[3], r[0], sentFrame{sideClient, frame(frameRequest, request)})
	}
	algorithms := signatureAlgorithms(allSchemes...)
	bad("request-empty", "request", "a REQUEST of 0 bytes", []byte{})
	bad("request-type", "request", "a CertificateRequest from a client", encodeRequest(msgCertificateRequest, requestContext("type"), algorithms))
	bad("request-no-algorithms", "request", "signature_algorithms is missing", encodeRequest(msgClientCertificateRequest, requestContext("none"), Extension{Type: extCMW}))
	bad("request-context-of-observer", "context-reuse", "the client asks with the context of the server's own REQUEST: a reflection",
		encodeRequest(msgClientCertificateRequest, s.context(sideServer), algorithms, Extension{Type: extCMW}))
}

func writeWrongAuthenticators(w transcriptWriter) {
	wrong := func(id, reason, comment string, change func(*scene)) {
		s := w.p.newScene(id, &rfc8448, sideServer)
		change(s)
		w.invalid(id, reason, comment, sideClient, s, s.play()[:4], 3)
	}
	onAuthn := func(change func(a *authn)) func(*scene) {
		return func(s *scene) { s.authn = func(_ string, a *authn) { change(a) } }
	}
	onEAT := func(change func(e *eat)) func(*scene) {
		return func(s *scene) { s.eat = func(_ string, e *eat) { change(e) } }
	}
	const authenticator = "authenticator"
	wrong("authenticator-context", authenticator, "the context of another request", onAuthn(func(a *authn) { a.context = requestContext("another") }))
	wrong("authenticator-signature", authenticator, "signed for another connection: a relay", onAuthn(func(a *authn) {
		hc, _, err := connOther.roleSecrets(sideServer)
		w.fail("authenticator-signature", err)
		a.signed = func(certificate []byte) []byte { return concat(hc, a.request, certificate) }
	}))
	wrong("authenticator-finished", authenticator, "Finished is wrong", onAuthn(func(a *authn) {
		finish := a.finish
		a.finish = func(t []byte) []byte { return flip(finish(t), 0) }
	}))
	wrong("authenticator-chain", authenticator, "no path to a trusted root", onAuthn(func(a *authn) { a.certificates = a.certificates[:1] }))

	const attestation, evidence, binding = "attestation", "evidence", "binding"
	wrong("attestation-missing", attestation, "an authenticator without cmw_attestation", func(s *scene) {
		s.sent = func([]byte) []Extension { return nil }
	})
	wrong("attestation-no-length", attestation, "the CMW without a length", func(s *scene) {
		s.sent = func(b []byte) []Extension { return []Extension{{extCMW, b}} }
	})
	wrong("attestation-not-cmw", attestation, "the token without a CMW around it", func(s *scene) {
		s.sent = func(b []byte) []Extension { return []Extension{{extCMW, u16(unhex("d28440a0404100"))}} }
	})
	wrong("attestation-media-type", attestation, "a media type that HELLO did not name", func(s *scene) {
		s.sent = func([]byte) []Extension { return []Extension{{extCMW, u16(unhex("8363612f62410104"))}} }
	})
	wrong("evidence-signature", evidence, "Evidence signed by another key", onEAT(func(e *eat) { e.key = "evidence-stranger" }))
	wrong("evidence-oemid", evidence, "Evidence with another vendor's oemid", onEAT(func(e *eat) {
		other := sha256.Sum256(spkiOf(w.p.certs["evidence-other-root"]))
		e.claims[claimOEMID] = other[:16]
	}))
	wrong("evidence-claims", evidence, "Evidence without a key hash", onEAT(func(e *eat) { delete(e.claims, claimKeyHash) }))
	wrong("binding-other-connection", binding, "Evidence made for another connection: a relay", func(s *scene) {
		s.eat = func(_ string, e *eat) {
			b, err := bind(&connOther, "expat-04", s.context(sideClient), w.p.chains["server-p256"].Certificate[0])
			s.note(err)
			e.claims[claimNonce] = []byte(b.Binder)
		}
	})
	wrong("binding-other-request", binding, "Evidence made for another request: a replay", func(s *scene) {
		s.eat = func(_ string, e *eat) {
			b, err := bind(s.conn, "expat-04", requestContext("another"), w.p.chains["server-p256"].Certificate[0])
			s.note(err)
			e.claims[claimNonce] = []byte(b.Binder)
		}
	})
	wrong("binding-other-key", binding, "Evidence that names another key: a key substitution", onEAT(func(e *eat) {
		e.claims[claimKeyHash] = rfc8448.digest(spkiOf(w.p.chains["client-p256"].Certificate[0]))
	}))

	s := w.p.newScene("refused", &rfc8448, sideServer)
	f := s.play()
	refusal := s.refuse(sideServer)
	w.invalid("refused", reasonRefused, "an empty authenticator: the server does not attest after all", sideClient, s, []sentFrame{f[0], f[1], f[2], refusal}, 3)
	w.invalid("accepted-refusal", "accepted-refusal", "the client accepts an empty authenticator", sideServer, s, []sentFrame{f[0], f[1], f[2], refusal, f[4]}, 4)
	s = w.p.newScene("refused-wrong", &rfc8448, sideServer)
	f = s.play()
	broken := s.refuse(sideServer)
	broken.Frame = flip(broken.Frame, -1)
	w.invalid("refused-wrong", authenticator, "an empty authenticator with a wrong Finished", sideClient, s, []sentFrame{f[0], f[1], f[2], broken}, 3)
	s = w.p.newScene("reflected", &rfc8448, sideServer, sideClient)
	s.identity[sideServer] = "client-p256"
	made := w.p.leaf("client-p256", leafOptions{usage: x509.ExtKeyUsageServerAuth})
	w.fail("reflected", w.p.firstErr)
	s.authn = func(side string, a *authn) {
		if side == sideServer {
			a.certificates = made.Certificate
		}
	}
	w.invalid("reflected", "reflected", "the server authenticates with the client's own key", sideClient, s, s.play()[:5], 4)
}
