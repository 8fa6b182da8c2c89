package vectors

import (
	"crypto"
	"slices"
)

// writeWrongForm has what cannot be parsed, and messages in the wrong place.
func writeWrongForm(w authnWriter) {
	s := authnSetup{conn: &rfc8448, identity: "server-p256", offer: []Extension{{Type: extSCT}, {Type: extStatusRequest}}}
	form := func(id, reason, comment string, assemble func(c, v, f []byte) []byte) {
		w.invalid(id, reason, comment, s, func(a *authn) { a.assemble = assemble })
	}
	form("empty", "malformed", "zero bytes", func(_, _, _ []byte) []byte { return []byte{} })
	form("truncated", "malformed", "the last byte is missing", func(c, v, f []byte) []byte { return concat(c, v, f[:len(f)-1]) })
	form("trailing-byte", "malformed", "a byte follows Finished", func(c, v, f []byte) []byte { return concat(c, v, f, []byte{0}) })
	form("trailing-message", "malformed", "a second Finished", func(c, v, f []byte) []byte { return concat(c, v, f, f) })
	form("no-finished", "malformed", "Finished is missing", func(c, v, _ []byte) []byte { return concat(c, v) })
	form("certificate-only", "malformed", "Certificate alone", func(c, _, _ []byte) []byte { return c })
	w.invalid("no-entries", "malformed", "Certificate without an entry, with a signature over it", s, func(a *authn) { a.certificates = nil })
	w.invalid("empty-certificate", "malformed", "a certificate of 0 bytes", s, func(a *authn) { a.certificates = [][]byte{a.certificates[0], {}} })
	w.invalid("status-request-form", "malformed", "CertificateStatus of type 2", s, func(a *authn) {
		a.extensions = [][]Extension{{{extStatusRequest, unhex("0200000100")}}}
	})
	w.invalid("sct-empty", "malformed", "an empty list of timestamps", s, func(a *authn) { a.extensions = [][]Extension{{{extSCT, u16(nil)}}} })
	w.invalid("certificate-trailing", "malformed", "a byte inside Certificate follows the list", s, func(a *authn) {
		w.rewrite(a, func(c, v []byte) ([]byte, []byte) { return handshake(msgCertificate, concat(c[4:], []byte{0})), v })
	})
	w.invalid("verify-trailing", "malformed", "a byte inside CertificateVerify follows the signature", s, func(a *authn) {
		w.rewrite(a, func(c, v []byte) ([]byte, []byte) {
			return c, handshake(msgCertificateVerify, concat(v[4:], []byte{0}))
		})
	})
	w.invalid("verify-length", "malformed", "the signature is longer than CertificateVerify", s, func(a *authn) {
		w.rewrite(a, func(c, v []byte) ([]byte, []byte) { return c, flip(v, 6) })
	})

	const unexpected = "unexpected-message"
	form("starts-with-verify", unexpected, "CertificateVerify comes first", func(c, v, f []byte) []byte { return concat(v, c, f) })
	form("finished-before-verify", unexpected, "Finished before CertificateVerify", func(c, v, f []byte) []byte { return concat(c, f, v) })
	form("two-certificates", unexpected, "Certificate twice", func(c, v, f []byte) []byte { return concat(c, c, v, f) })
	form("two-verifies", unexpected, "CertificateVerify in place of Finished", func(c, v, _ []byte) []byte { return concat(c, v, v) })
	form("two-finished", unexpected, "a Finished that is not alone begins no authenticator", func(_, _, f []byte) []byte { return concat(f, f) })
	form("no-verify", unexpected, "Certificate and Finished alone", func(c, _, f []byte) []byte { return concat(c, f) })
	form("compressed-certificate", unexpected, "CompressedCertificate (25) in place of Certificate", func(c, v, f []byte) []byte { return concat([]byte{25}, c[1:], v, f) })
	w.invalid("request-returned", unexpected, "the request comes back", s, func(a *authn) {
		a.assemble = func(_, _, _ []byte) []byte { return a.request }
	})
	w.invalid("eleven-certificates", "limit", "11 certificates", s, func(a *authn) {
		for len(a.certificates) < 11 {
			a.certificates = append(slices.Clone(a.certificates), w.p.certs["x509-ca"])
		}
	})
}

// rewrite changes messages before Finished covers them.
func (authnWriter) rewrite(a *authn, change func(certificate, verify []byte) ([]byte, []byte)) {
	a.assemble = func(certificate, verify, _ []byte) []byte {
		certificate, verify = change(certificate, verify)
		return concat(certificate, verify, handshake(msgFinished, a.finish(a.maced(certificate, verify))))
	}
}

// writeWrongContent has what is parsed and does not fit the request.
func writeWrongContent(w authnWriter) {
	s := authnSetup{conn: &rfc8448, identity: "server-p256", offer: []Extension{hostName(serverName), {Type: extSCT}}}
	context := func(id, comment string, change func([]byte) []byte) {
		w.invalid(id, "context-mismatch", comment, s, func(a *authn) { a.context = change(a.context) })
	}
	context("context-other", "the context of another request", func([]byte) []byte { return requestContext("another") })
	context("context-flipped", "one bit differs", func(c []byte) []byte { return flip(c, 31) })
	context("context-truncated", "one byte too few", func(c []byte) []byte { return c[:31] })
	context("context-extended", "one byte too many", func(c []byte) []byte { return concat(c, []byte{0}) })
	context("context-missing", "no context", func([]byte) []byte { return nil })

	spontaneous := authnSetup{conn: &rfc8448, identity: "server-p256", hello: helloOf(schemeP256)}
	reused := spontaneous
	reused.context, reused.used = requestContext("reused"), []Bytes{requestContext("reused")}
	w.invalid("spontaneous-context-reused", "context-reuse", "the context of an earlier authenticator", reused, nil)
	client := authnSetup{conn: &rfc8448, identity: "client-p256", hello: helloOf(schemeP256)}
	w.invalid("client-unsolicited", "unsolicited", "a client answers requests only", client, nil)

	sct := Extension{extSCT, names(unhex("0011"))}
	entries := func(id, reason, comment string, s authnSetup, e ...[]Extension) {
		w.invalid(id, reason, comment, s, func(a *authn) { a.extensions = e })
	}
	entries("extension-twice", "illegal-extension", "signed_certificate_timestamp twice in the leaf's entry", s, []Extension{sct, sct})
	entries("extension-twice-intermediate", "illegal-extension", "signed_certificate_timestamp twice in the second entry", s, nil, []Extension{sct, sct})
	entries("extension-server-name", "illegal-extension", "server_name was offered and is not for certificates", s, []Extension{{Type: extServerName}})
	entries("extension-algorithms", "illegal-extension", "signature_algorithms is not for certificates", s, []Extension{signatureAlgorithms(schemeP256)})
	entries("extension-not-offered", "unsupported-extension", "status_request was not offered", s, []Extension{{extStatusRequest, unhex("0100000100")}})
	entries("extension-attestation-not-offered", "unsupported-extension", "cmw_attestation was not offered", s, []Extension{{extCMW, u16([]byte{0xa0})}})
	entries("extension-not-offered-intermediate", "unsupported-extension", "an unknown type, not offered, in the second entry", s, nil, []Extension{{0xfafa, nil}})
	entries("spontaneous-extension", "unsupported-extension", "cmw_attestation was not in the ClientHello", spontaneous, []Extension{{extCMW, u16([]byte{0xa0})}})

	scheme := func(id, comment string, s authnSetup, scheme uint16, sign func(a *authn, key crypto.Signer, content []byte) ([]byte, error)) {
		w.invalid(id, "scheme", comment, s, func(a *authn) {
			key := w.p.chains[s.identity].PrivateKey.(crypto.Signer)
			a.scheme = scheme
			if sign != nil {
				a.sign = func(content []byte) ([]byte, error) { return sign(a, key, content) }
			}
		})
	}
	hashed := func(h crypto.Hash) func(*authn, crypto.Signer, []byte) ([]byte, error) {
		return func(_ *authn, key crypto.Signer, content []byte) ([]byte, error) {
			return signHash(key, h, h.Size(), content)
		}
	}
	pkcs1 := func(_ *authn, key crypto.Signer, content []byte) ([]byte, error) {
		return key.Sign(nil, crypto256(content), crypto.SHA256)
	}
	offering := func(identity string, schemes ...uint16) authnSetup {
		return authnSetup{conn: &rfc8448, identity: identity, schemes: schemes}
	}
	scheme("scheme-not-offered", "ecdsa_secp256r1_sha256 was not offered", offering("server-p256", schemeEd25519), schemeP256, nil)
	scheme("scheme-not-offered-ed25519", "ed25519 was not offered", offering("client-ed25519", schemeP256, schemeP384), schemeEd25519, nil)
	scheme("scheme-pkcs1", "rsa_pkcs1_sha256, offered, is not for TLS 1.3", offering("server-rsa", schemePKCS1, schemePSSRSAE), schemePKCS1, pkcs1)
	scheme("scheme-sha1", "ecdsa_sha1, offered, is not for TLS 1.3", offering("server-p256", schemeECDSASHA1, schemeP256), schemeECDSASHA1, hashed(crypto.SHA256))
	scheme("scheme-p256-sha384", "0x0503 is for P-384: the key is on P-256", offering("server-p256", schemeP384, schemeP256), schemeP384, hashed(crypto.SHA384))
	scheme("scheme-p384-sha256", "0x0403 is for P-256: the key is on P-384", offering("server-p384", schemeP384, schemeP256), schemeP256, hashed(crypto.SHA256))
	scheme("scheme-rsae-for-pss-key", "rsa_pss_rsae_sha256 with an id-RSASSA-PSS key", offering("server-rsa-pss", schemePSSRSAE, schemePSSPSS), schemePSSRSAE, nil)
	scheme("scheme-pss-for-rsae-key", "rsa_pss_pss_sha256 with an rsaEncryption key", offering("server-rsa", schemePSSRSAE, schemePSSPSS), schemePSSPSS, nil)
	scheme("scheme-ed25519-for-p256", "ed25519 with a P-256 key", offering("server-p256", schemeEd25519, schemeP256), schemeEd25519, hashed(crypto.SHA256))
	scheme("scheme-unknown", "an unknown scheme, offered", offering("server-p256", 0xfafa, schemeP256), 0xfafa, hashed(crypto.SHA256))
	scheme("scheme-ed448", "ed448, offered, with an Ed25519 key", offering("server-ed25519", schemeEd448, schemeEd25519), schemeEd448,
		func(_ *authn, key crypto.Signer, content []byte) ([]byte, error) {
			return key.Sign(nil, content, crypto.Hash(0))
		})
	certOnly := offering("server-p256", schemeEd25519)
	certOnly.offer = []Extension{{extSignatureSchemesCert, signatureAlgorithms(schemeP256).Data}}
	scheme("scheme-cert-only", "offered in signature_algorithms_cert alone", certOnly, schemeP256, nil)
	scheme("spontaneous-scheme", "not in the ClientHello", authnSetup{conn: &rfc8448, identity: "server-p256", hello: helloOf(schemeEd25519)}, schemeP256, nil)
}

func crypto256(content []byte) []byte {
	d := crypto.SHA256.New()
	d.Write(content)
	return d.Sum(nil)
}
