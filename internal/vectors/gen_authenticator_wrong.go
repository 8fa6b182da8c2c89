package vectors

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"time"
)

func writeWrongCertificates(w authnWriter) {
	const certificate, chain = "certificate", reasonChain
	s := authnSetup{conn: &rfc8448, identity: "server-p256"}
	replace := func(id, comment string, i int, change func(der []byte) []byte) {
		w.invalid(id, certificate, comment, s, func(a *authn) {
			a.certificates = slices.Clone(a.certificates)
			a.certificates[i] = change(a.certificates[i])
		})
	}
	replace("certificate-truncated", "the leaf lacks its last byte", 0, func(der []byte) []byte { return der[:len(der)-1] })
	replace("certificate-der-trailing", "a byte follows the leaf's DER", 0, func(der []byte) []byte { return concat(der, []byte{0}) })
	replace("certificate-garbage", "the leaf is no DER", 0, func([]byte) []byte { return []byte("certificate") })
	replace("certificate-raw-key", "a raw public key (RFC 7250) in place of the leaf", 0, spkiOf)
	replace("certificate-pem", "the leaf in PEM", 0, func([]byte) []byte { return []byte("-----BEGIN CERTIFICATE-----\n") })
	replace("certificate-intermediate-garbage", "the second certificate is no DER", 1, func([]byte) []byte { return []byte("certificate") })
	leaf := func(id, reason, comment, key string, o leafOptions, change func(*authn)) {
		if o.usage == 0 {
			o.usage = x509.ExtKeyUsageServerAuth
		}
		made := w.p.leaf(key, o)
		s := s
		s.chain = &made
		w.fail(id, w.p.firstErr)
		w.invalid(id, reason, comment, s, change)
	}
	leaf("certificate-rsa-1024", certificate, "an RSA key of 1024 bits", "rsa-1024", leafOptions{}, func(a *authn) { a.scheme = schemePSSRSAE })
	leaf("certificate-p224", certificate, "an ECDSA key on P-224", "p224", leafOptions{}, func(a *authn) {
		key := w.p.key("p224")
		a.sign = func(content []byte) ([]byte, error) { return signHash(key, crypto.SHA256, 0, content) }
	})

	leaf("chain-expired", chain, "the leaf ended a second before", "server-p256", leafOptions{to: checkTime.Add(-time.Second)}, nil)
	leaf("chain-not-yet-valid", chain, "the leaf begins a second later", "server-p256", leafOptions{from: checkTime.Add(time.Second)}, nil)
	leaf("chain-other-name", chain, "the leaf is for other.example", "server-p256", leafOptions{name: "other.example"}, nil)
	leaf("chain-usage", chain, "the server's leaf is for client authentication", "server-p256", leafOptions{usage: x509.ExtKeyUsageClientAuth}, nil)
	leaf("chain-other-root", chain, "the leaf is issued by a root that is not trusted", "server-p256", leafOptions{issuer: "x509-other-root"}, nil)
	leaf("chain-evidence-ca", chain, "the leaf is issued by a CA for Evidence", "server-p256", leafOptions{issuer: "evidence-ca"}, nil)
	w.invalid("chain-no-intermediate", chain, "the intermediate is missing", s, func(a *authn) { a.certificates = a.certificates[:1] })
	w.invalid("chain-other-intermediate", chain, "another certificate in place of the intermediate", s, func(a *authn) {
		a.certificates = [][]byte{a.certificates[0], w.p.certs["evidence-ca"]}
	})
	untrusted := s
	untrusted.roots = []string{"x509-other-root"}
	w.invalid("chain-root-not-trusted", chain, "another root is trusted", untrusted, nil)
	none := s
	none.roots = []string{}
	w.invalid("chain-no-root", chain, "no root is trusted", none, nil)
	named := s
	named.name = "elsewhere.example"
	w.invalid("chain-name-asked", chain, "the server should have another name", named, nil)
	wrongUsage := w.p.chains["server-p256"]
	w.invalid("chain-client-usage", chain, "the client's leaf is for server authentication", authnSetup{conn: &rfc8448, identity: "client-p256", chain: &wrongUsage}, nil)
	w.invalid("chain-leaf-changed", chain, "the leaf's own signature has a bit flipped", s, func(a *authn) {
		a.certificates = [][]byte{flip(a.certificates[0], -1), a.certificates[1]}
	})
}

func writeWrongSignatures(w authnWriter) {
	const reason = reasonSignature
	s := authnSetup{conn: &rfc8448, identity: "server-p256"}
	content := func(id, comment string, spaces int, label string) {
		w.invalid(id, reason, comment, s, func(a *authn) {
			a.content = func(hash []byte) []byte { return signedContent(spaces, label, hash) }
		})
	}
	content("signed-server-handshake", "the context string of a server in the TLS 1.3 handshake", 64, "TLS 1.3, server CertificateVerify\x00")
	content("signed-client-handshake", "the context string of a client in the TLS 1.3 handshake", 64, "TLS 1.3, client CertificateVerify\x00")
	content("signed-no-spaces", "without the 64 spaces", 0, "Exported Authenticator\x00")
	content("signed-63-spaces", "63 spaces", 63, "Exported Authenticator\x00")
	content("signed-65-spaces", "65 spaces", 65, "Exported Authenticator\x00")
	content("signed-no-zero", "without the zero byte", 64, "Exported Authenticator")
	content("signed-lower-case", "the context string in lower case", 64, "exported authenticator\x00")
	content("signed-hash-only", "the hash alone", 0, "")

	transcript := func(id, comment string, s authnSetup, signed func(a *authn, certificate []byte) []byte) {
		w.invalid(id, reason, comment, s, func(a *authn) {
			a.signed = func(certificate []byte) []byte { return signed(a, certificate) }
		})
	}
	transcript("signed-bare-request", "the request without its header", s, func(a *authn, c []byte) []byte { return concat(a.handshakeContext, a.request[4:], c) })
	transcript("signed-no-request", "without the request, as if spontaneous", s, func(a *authn, c []byte) []byte { return concat(a.handshakeContext, c) })
	transcript("signed-other-request-type", "the request's type is that of the other side", s, func(a *authn, c []byte) []byte {
		return concat(a.handshakeContext, []byte{msgCertificateRequest}, a.request[1:], c)
	})
	transcript("signed-other-request", "another request with the same context", s, func(a *authn, c []byte) []byte {
		return concat(a.handshakeContext, encodeRequest(a.request[0], a.context, signatureAlgorithms(schemeP256)), c)
	})
	transcript("signed-no-handshake-context", "without the Handshake Context", s, func(a *authn, c []byte) []byte { return concat(a.request, c) })
	transcript("signed-bare-certificate", "Certificate without its header", s, func(a *authn, c []byte) []byte { return concat(a.handshakeContext, a.request, c[4:]) })
	transcript("signed-no-certificate", "without Certificate", s, func(a *authn, _ []byte) []byte { return concat(a.handshakeContext, a.request) })
	transcript("signed-replay", "signed for an earlier request", s, func(a *authn, _ []byte) []byte {
		context := requestContext("an earlier request")
		request := encodeRequest(a.request[0], context, signatureAlgorithms(allSchemes...))
		return concat(a.handshakeContext, request, encodeCertificate(context, a.certificates, nil))
	})
	handshakeContext := func(id, comment string, s authnSetup, export func(a *authn) ([]byte, error)) {
		w.invalid(id, reason, comment, s, func(a *authn) {
			hc, err := export(a)
			w.fail(id, err)
			a.signed = func(certificate []byte) []byte { return concat(hc, a.request, certificate) }
		})
	}
	const label = "EXPORTER-server authenticator handshake context"
	handshakeContext("signed-own-side", "the Handshake Context of the other side: a reflection", s, func(a *authn) ([]byte, error) {
		hc, _, err := a.conn.roleSecrets(sideClient)
		return hc, err
	})
	handshakeContext("signed-other-connection", "the Handshake Context of another connection: a relay", s, func(*authn) ([]byte, error) {
		hc, _, err := connOther.roleSecrets(sideServer)
		return hc, err
	})
	handshakeContext("signed-exporter-context", "exported with certificate_request_context as context", s, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, a.context, 32)
	})
	handshakeContext("signed-64-bytes", "a Handshake Context of 64 bytes", s, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, []byte{}, 64)
	})
	handshakeContext("signed-sha384-32-bytes", "SHA-384: a Handshake Context of 32 bytes", authnSetup{conn: &conn384, identity: "server-p384"}, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, []byte{}, 32)
	})
	handshakeContext("signed-tls12-absent", "TLS 1.2: exported with an absent context", authnSetup{conn: &conn12, identity: "server-p256"}, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, nil, 32)
	})
	w.invalid("signed-transcript", reason, "the transcript itself, not its hash", s, func(a *authn) {
		a.content = func([]byte) []byte {
			return signedContent(64, "Exported Authenticator\x00", a.signed(a.certificate))
		}
	})
	w.invalid("signed-sha256-on-sha384", reason, "the transcript is hashed with the scheme's hash, not the connection's", authnSetup{conn: &conn384, identity: "server-p256"}, func(a *authn) {
		a.content = func([]byte) []byte {
			return signedContent(64, "Exported Authenticator\x00", rfc8448.digest(a.signed(a.certificate)))
		}
	})
	writeWrongSignatureBytes(w, s)
}

// writeWrongSignatureBytes signs the right content in a wrong way.
func writeWrongSignatureBytes(w authnWriter, s authnSetup) {
	signed := func(id, comment, identity string, sign func(key crypto.Signer, content, right []byte) ([]byte, error)) {
		s := s
		s.identity = identity
		w.invalid(id, reasonSignature, comment, s, func(a *authn) {
			rightSign := a.sign
			key := w.p.chains[identity].PrivateKey.(crypto.Signer)
			a.sign = func(content []byte) ([]byte, error) {
				right, err := rightSign(content)
				w.fail(id, err)
				return sign(key, content, right)
			}
		})
	}
	flipped := func(_ crypto.Signer, _, right []byte) ([]byte, error) { return flip(right, -1), nil }
	signed("signature-other-key", "by another key than the leaf's", "server-p256", func(_ crypto.Signer, content, _ []byte) ([]byte, error) {
		return sign(w.p.key("stranger-p256"), schemeP256, content)
	})
	signed("signature-flipped-p256", "one bit differs", "server-p256", flipped)
	signed("signature-flipped-ed25519", "one bit differs", "server-ed25519", flipped)
	signed("signature-flipped-rsa", "one bit differs", "server-rsa", flipped)
	signed("signature-empty", "zero bytes", "server-ed25519", func(crypto.Signer, []byte, []byte) ([]byte, error) { return nil, nil })
	signed("signature-raw", "r and s concatenated, not in DER", "server-p256", func(_ crypto.Signer, _, right []byte) ([]byte, error) { return rawSignature(right) })
	signed("signature-der-trailing", "a byte follows the DER", "server-p256", func(_ crypto.Signer, _, right []byte) ([]byte, error) {
		return concat(right, []byte{0}), nil
	})
	signed("signature-zero", "r and s are 0", "server-p256", func(crypto.Signer, []byte, []byte) ([]byte, error) { return unhex("3006020100020100"), nil })
	signed("signature-sha384", "over SHA-384 of the content under a SHA-256 scheme", "server-p256", func(key crypto.Signer, content, _ []byte) ([]byte, error) {
		return signHash(key, crypto.SHA384, 0, content)
	})
	signed("signature-ed25519-hashed", "Ed25519 over SHA-512 of the content", "server-ed25519", func(key crypto.Signer, content, _ []byte) ([]byte, error) {
		d := crypto.SHA512.New()
		d.Write(content)
		return key.Sign(nil, d.Sum(nil), crypto.Hash(0))
	})
	signed("signature-pss-long-salt", "RSASSA-PSS with the longest salt that fits", "server-rsa", func(key crypto.Signer, content, _ []byte) ([]byte, error) {
		return key.Sign(bytes.NewReader(count(255)), crypto256(content), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256})
	})
	signed("signature-pss-salt-20", "RSASSA-PSS with a salt of 20 bytes", "server-rsa", func(key crypto.Signer, content, _ []byte) ([]byte, error) {
		return signHash(key, crypto.SHA256, 20, content)
	})
	signed("signature-pkcs1", "RSASSA-PKCS1-v1_5 under rsa_pss_rsae_sha256", "server-rsa", func(key crypto.Signer, content, _ []byte) ([]byte, error) {
		return key.Sign(nil, crypto256(content), crypto.SHA256)
	})
	w.invalid("signature-key-substituted", reasonSignature, "the leaf is another's: its key did not sign", s, func(a *authn) {
		a.certificates = w.p.leaf("stranger-p256", leafOptions{usage: x509.ExtKeyUsageServerAuth}).Certificate
	})
	w.invalid("signature-extensions-changed", reasonSignature, "an extension was added after signing",
		authnSetup{conn: &rfc8448, identity: "server-p256", offer: []Extension{{Type: extCMW}}}, func(a *authn) {
			a.extensions = [][]Extension{{{extCMW, u16(unhex("8219fde7442347da55"))}}}
			a.signed = func([]byte) []byte {
				return concat(a.handshakeContext, a.request, encodeCertificate(a.context, a.certificates, nil))
			}
		})
}

// rawSignature turns an ECDSA P-256 signature in DER into r ‖ s.
func rawSignature(der []byte) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, err
	}
	return concat(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))), nil
}

func writeWrongFinished(w authnWriter) {
	const reason = "finished"
	s := authnSetup{conn: &rfc8448, identity: "server-p256"}
	maced := func(id, comment string, maced func(a *authn, c, v []byte) []byte) {
		w.invalid(id, reason, comment, s, func(a *authn) {
			a.maced = func(c, v []byte) []byte { return maced(a, c, v) }
		})
	}
	maced("finished-no-verify", "the transcript lacks CertificateVerify", func(a *authn, c, _ []byte) []byte { return concat(a.handshakeContext, a.request, c) })
	maced("finished-no-request", "the transcript lacks the request", func(a *authn, c, v []byte) []byte { return concat(a.handshakeContext, c, v) })
	maced("finished-bare-request", "the request without its header", func(a *authn, c, v []byte) []byte { return concat(a.handshakeContext, a.request[4:], c, v) })
	maced("finished-bare-verify", "CertificateVerify without its header", func(a *authn, c, v []byte) []byte { return concat(a.handshakeContext, a.request, c, v[4:]) })
	maced("finished-no-handshake-context", "the transcript lacks the Handshake Context", func(a *authn, c, v []byte) []byte { return concat(a.request, c, v) })
	maced("finished-empty-certificate", "made as for an empty authenticator", func(a *authn, _, _ []byte) []byte {
		return concat(a.handshakeContext, a.request, encodeCertificate(a.context, nil, nil))
	})
	maced("finished-own-side-context", "the Handshake Context of the other side", func(a *authn, c, v []byte) []byte {
		hc, _, err := a.conn.roleSecrets(sideClient)
		w.fail("finished-own-side-context", err)
		return concat(hc, a.request, c, v)
	})

	key := func(id, comment string, s authnSetup, export func(a *authn) ([]byte, error)) {
		w.invalid(id, reason, comment, s, func(a *authn) {
			fk, err := export(a)
			w.fail(id, err)
			a.finishedKey = fk
		})
	}
	const label = "EXPORTER-server authenticator finished key"
	key("finished-own-side", "the finished key of the other side", s, func(a *authn) ([]byte, error) {
		_, fk, err := a.conn.roleSecrets(sideClient)
		return fk, err
	})
	key("finished-other-connection", "the finished key of another connection", s, func(*authn) ([]byte, error) {
		_, fk, err := connOther.roleSecrets(sideServer)
		return fk, err
	})
	key("finished-exporter-context", "exported with certificate_request_context as context", s, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, a.context, 32)
	})
	key("finished-handshake-context-key", "the Handshake Context as key", s, func(a *authn) ([]byte, error) { return a.handshakeContext, nil })
	key("finished-sha384-32-bytes", "SHA-384: a finished key of 32 bytes", authnSetup{conn: &conn384, identity: "server-p384"}, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, []byte{}, 32)
	})
	key("finished-tls12-absent", "TLS 1.2: exported with an absent context", authnSetup{conn: &conn12, identity: "server-p256"}, func(a *authn) ([]byte, error) {
		return a.conn.ExportKeyingMaterial(label, nil, 32)
	})
	key("finished-expanded", "the key expanded once more, as in the TLS 1.3 handshake", s, func(a *authn) ([]byte, error) {
		return a.conn.expandLabel(a.finishedKey, "finished", nil, 32)
	})

	finish := func(id, comment string, s authnSetup, finish func(a *authn, transcript, right []byte) []byte) {
		w.invalid(id, reason, comment, s, func(a *authn) {
			rightFinish := a.finish
			a.finish = func(t []byte) []byte { return finish(a, t, rightFinish(t)) }
		})
	}
	finish("finished-over-concatenation", "HMAC over the transcript itself, not its hash", s, func(a *authn, t, _ []byte) []byte { return a.conn.mac(a.finishedKey, t) })
	finish("finished-hash-only", "the hash without HMAC", s, func(a *authn, t, _ []byte) []byte { return a.conn.digest(t) })
	finish("finished-sha256-on-sha384", "HMAC-SHA-256 on a SHA-384 connection", authnSetup{conn: &conn384, identity: "server-p384"}, func(a *authn, t, _ []byte) []byte {
		return rfc8448.mac(a.finishedKey, rfc8448.digest(t))
	})
	finish("finished-flipped-first", "the first byte differs in one bit", s, func(_ *authn, _, right []byte) []byte { return flip(right, 0) })
	finish("finished-flipped-last", "the last byte differs in one bit", s, func(_ *authn, _, right []byte) []byte { return flip(right, -1) })
	finish("finished-truncated", "verify_data of 12 bytes, as in TLS 1.2", authnSetup{conn: &conn12, identity: "server-p256"}, func(_ *authn, _, right []byte) []byte { return right[:12] })
	finish("finished-extended", "verify_data of 33 bytes", s, func(_ *authn, _, right []byte) []byte { return concat(right, []byte{0}) })
	finish("finished-empty", "verify_data of 0 bytes", s, func(*authn, []byte, []byte) []byte { return nil })

	spontaneous := authnSetup{conn: &rfc8448, identity: "server-p256", hello: helloOf(schemeP256)}
	finish("spontaneous-finished-flipped", "one bit differs", spontaneous, func(_ *authn, _, right []byte) []byte { return flip(right, 7) })
}
