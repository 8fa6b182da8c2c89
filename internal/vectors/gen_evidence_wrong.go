package vectors

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

func writeWrongEnvelopes(w evidenceWriter) {
	w.changed("media-type-other", "media-type", "without eat_profile", func(in *evidenceInput) { in.MediaType = "application/eat+cwt" })
	w.changed("media-type-profile", "media-type", "another eat_profile", func(in *evidenceInput) {
		in.MediaType = `application/eat+cwt; eat_profile="https://example.com/"`
	})
	w.changed("media-type-jwt", "media-type", "a JWT's type", func(in *evidenceInput) { in.MediaType = "application/eat+jwt" })
	w.changed("size-empty", "size", "zero bytes", func(in *evidenceInput) { in.Evidence = Bytes{} })
	w.invalid("size-16385", "size", "16385 bytes, by a long signature", func(e *eat) {
		small, err := e.build()
		w.fail("size-16385", err)
		sign := e.sign
		e.sign = func(key crypto.Signer, message []byte) ([]byte, error) {
			s, err := sign(key, message)
			return concat(s, make([]byte, 16385-len(small)-1)), err
		}
	})

	envelope := func(id, comment string, assemble func(protected, payload, signature []byte) ([]byte, error)) {
		w.invalid(id, "envelope", comment, func(e *eat) { e.assemble = assemble })
	}
	tagged := func(number uint64, content any) ([]byte, error) {
		return coreDet.Marshal(cbor.Tag{Number: number, Content: content})
	}
	envelope("envelope-no-tag", "COSE_Sign1 without its tag", func(h, p, s []byte) ([]byte, error) {
		return coreDet.Marshal([]any{h, map[int]any{}, p, s})
	})
	envelope("envelope-cwt-tag", "a CWT tag (61) around it", func(h, p, s []byte) ([]byte, error) {
		return tagged(61, cbor.Tag{Number: coseSign1, Content: []any{h, map[int]any{}, p, s}})
	})
	envelope("envelope-mac0", "the tag of COSE_Mac0 (17)", func(h, p, s []byte) ([]byte, error) {
		return tagged(17, []any{h, map[int]any{}, p, s})
	})
	envelope("envelope-three", "three elements", func(h, p, _ []byte) ([]byte, error) { return tagged(coseSign1, []any{h, map[int]any{}, p}) })
	envelope("envelope-unprotected", "an unprotected header", func(h, p, s []byte) ([]byte, error) {
		return tagged(coseSign1, []any{h, map[int]any{4: []byte("kid")}, p, s})
	})
	envelope("envelope-null-header", "null in place of the protected header", func(_, p, s []byte) ([]byte, error) {
		return tagged(coseSign1, []any{nil, map[int]any{}, p, s})
	})
	envelope("envelope-detached", "null in place of the payload, as if detached", func(h, _, s []byte) ([]byte, error) {
		return tagged(coseSign1, []any{h, map[int]any{}, nil, s})
	})
	envelope("envelope-null-signature", "null in place of the signature", func(h, p, _ []byte) ([]byte, error) {
		return tagged(coseSign1, []any{h, map[int]any{}, p, nil})
	})
	after := func(id, comment string, change func([]byte) []byte) {
		w.changed(id, "envelope", comment, func(in *evidenceInput) { in.Evidence = change(in.Evidence) })
	}
	after("envelope-trailing", "a byte follows", func(b []byte) []byte { return concat(b, []byte{0}) })
	after("envelope-truncated", "the last byte is missing", func(b []byte) []byte { return b[:len(b)-1] })
	after("envelope-indefinite", "an array of indefinite length", func(b []byte) []byte { return concat([]byte{b[0], 0x9f}, b[2:], []byte{0xff}) })
	after("envelope-long-head", "an array whose length is wider than needed", func(b []byte) []byte { return concat([]byte{b[0], 0x98, 0x04}, b[2:]) })

	header := func(id, comment string, change func(*eat)) { w.invalid(id, "header", comment, change) }
	header("header-algorithm", "ES384 is named", func(e *eat) { e.header[1] = -35 })
	header("header-no-algorithm", "no algorithm", func(e *eat) { delete(e.header, 1) })
	header("header-unknown", "a label that the profile does not have", func(e *eat) { e.header[4] = []byte("kid") })
	header("header-twice", "the algorithm twice", func(e *eat) {
		e.protected = func(h []byte) []byte { return concat([]byte{h[0] + 1, 1, 0x26}, h[1:]) }
	})
	header("header-trailing", "a byte follows the header's map", func(e *eat) {
		e.protected = func(h []byte) []byte { return concat(h, []byte{0}) }
	})
	header("header-empty", "no header", func(e *eat) { e.protected = func([]byte) []byte { return []byte{} } })

	chain := func(id, comment string, change func(chain [][]byte) [][]byte) {
		w.invalid(id, "x5chain", comment, func(e *eat) { e.header[33] = change(e.header[33].([][]byte)) })
	}
	chain("x5chain-one", "the device's certificate alone", func(c [][]byte) [][]byte { return c[:1] })
	chain("x5chain-five", "five certificates", func(c [][]byte) [][]byte { return [][]byte{c[0], c[1], c[1], c[1], c[1]} })
	chain("x5chain-garbage", "a certificate that is no DER", func(c [][]byte) [][]byte { return [][]byte{c[0], []byte("certificate")} })
	chain("x5chain-large", "a certificate of 4097 bytes", func(c [][]byte) [][]byte { return [][]byte{c[0], make([]byte, 4097)} })

	signature := func(id, comment string, change func(s []byte) []byte) {
		w.invalid(id, "signature-size", comment, func(e *eat) {
			sign := e.sign
			e.sign = func(key crypto.Signer, message []byte) ([]byte, error) {
				s, err := sign(key, message)
				return change(s), err
			}
		})
	}
	signature("signature-63", "one byte too few", func(s []byte) []byte { return s[:63] })
	signature("signature-none", "no signature", func([]byte) []byte { return []byte{} })
	signature("signature-der", "in DER", func(s []byte) []byte {
		return concat([]byte{0x30, 0x46, 2, 33, 0}, s[:32], []byte{2, 33, 0}, s[32:])
	})
}

func writeWrongClaims(w evidenceWriter) {
	claim := func(id, comment string, key int, value any) {
		w.invalid(id, "claims", comment, func(e *eat) {
			e.claims[key] = value
			if value == nil {
				delete(e.claims, key)
			}
		})
	}
	claim("claims-no-nonce", "no eat_nonce", claimNonce, nil)
	claim("claims-nonce-short", "eat_nonce of 7 bytes", claimNonce, count(7))
	claim("claims-nonce-long", "eat_nonce of 65 bytes", claimNonce, count(65))
	claim("claims-nonce-text", "eat_nonce is text", claimNonce, "0123456789abcdef")
	claim("claims-nonce-two", "two nonces", claimNonce, []any{count(32), count(32)})
	claim("claims-no-ueid", "no ueid", claimUEID, nil)
	claim("claims-ueid-type", "ueid of an unknown type", claimUEID, concat([]byte{4}, count(16)))
	claim("claims-ueid-short", "ueid of type RAND with 8 bytes", claimUEID, concat([]byte{1}, count(8)))
	claim("claims-no-oemid", "no oemid", claimOEMID, nil)
	claim("claims-oemid-integer", "oemid is a Private Enterprise Number", claimOEMID, 76543)
	claim("claims-hwmodel-long", "hwmodel of 33 bytes", claimHWModel, count(33))
	claim("claims-hwmodel-empty", "hwmodel of 0 bytes", claimHWModel, []byte{})
	claim("claims-debug-5", "dbgstat 5", claimDebug, 5)
	claim("claims-profile", "another eat_profile", claimProfile, "https://example.com/")
	claim("claims-no-profile", "no eat_profile", claimProfile, nil)
	claim("claims-version-alone", "swversion without swname", claimSWVersion, []any{"1"})
	claim("claims-key-hash-size", "a key hash of 31 bytes", claimKeyHash, count(31))
	claim("claims-no-key-hash", "no key hash", claimKeyHash, nil)
	claim("claims-provenance-0", "key provenance 0", claimProvenance, 0)
	claim("claims-provenance-3", "key provenance 3", claimProvenance, 3)
	claim("claims-provenance-5", "key provenance 5", claimProvenance, 5)
	claim("claims-provenance-text", "key provenance as text", claimProvenance, "4")
	claim("claims-no-provenance", "no key provenance", claimProvenance, nil)
	claim("claims-null", "null in place of oemid", claimOEMID, cbor.RawMessage{0xf6})
	claim("claims-unknown", "a claim that the profile does not have (exp)", 4, 2000000000)
	claim("claims-submods", "a claim that the profile does not have (submods)", 266, map[string]any{})
	digest := derived("measurement", 64)
	claim("claims-measurement-format", "another Content-Format", claimMeasurements, []any{append([]any{296}, component("app", "", 1, digest[:32])[1])})
	claim("claims-measurement-digest", "a digest of the wrong length", claimMeasurements, []any{component("app", "", 1, digest[:31])})
	claim("claims-measurement-algorithm", "an unknown algorithm", claimMeasurements, []any{component("app", "", 2, digest[:32])})
	claim("claims-measurement-name", "an empty name", claimMeasurements, []any{component("", "", 1, digest[:32])})
	claim("claims-measurement-twice", "two measurements of one name", claimMeasurements, []any{component("app", "", 1, digest[:32]), component("app", "", 1, digest[32:])})
	claim("claims-measurements-empty", "an empty list", claimMeasurements, []any{})

	payload := func(id, comment string, change func([]byte) []byte) {
		w.invalid(id, "claims", comment, func(e *eat) { e.payload = change })
	}
	payload("claims-empty", "no payload", func([]byte) []byte { return []byte{} })
	payload("claims-trailing", "a byte follows the claims", func(b []byte) []byte { return concat(b, []byte{0}) })
	payload("claims-twice", "eat_nonce twice", func(b []byte) []byte {
		return concat([]byte{b[0] + 1, claimNonce, 0x58, 32}, count(32), b[1:])
	})
	payload("claims-order", "keys not in deterministic order", func(b []byte) []byte {
		nonce := b[1 : 1+3+32]
		return concat(b[:1], b[1+len(nonce):], nonce)
	})
	payload("claims-long-integer", "an integer wider than needed", func(b []byte) []byte { return concat(b[:len(b)-1], []byte{0x18, 1}) })
}

func writeUntrustedEvidence(w evidenceWriter) {
	const chain = reasonChain
	w.changed("chain-other-root", chain, "another vendor is trusted", func(in *evidenceInput) { in.Roots = []string{"evidence-other-root"} })
	w.changed("chain-x509-root", chain, "the roots for TLS certificates are not roots for Evidence", func(in *evidenceInput) { in.Roots = []string{"x509-root"} })
	w.changed("chain-expired", chain, "a second after the certificates end", func(in *evidenceInput) { in.Time = validTo.Add(time.Second) })
	w.changed("chain-not-yet-valid", chain, "a second before they begin", func(in *evidenceInput) { in.Time = validFrom.Add(-time.Second) })
	ueid := fmt.Sprintf("%x", deviceUEID)
	device := func(id, comment, key string, o leafOptions) {
		w.invalid(id, chain, comment, func(e *eat) {
			if o.issuer == "" {
				o.issuer = "evidence-ca"
			}
			made := w.p.leaf(key, o)
			w.fail(id, w.p.firstErr)
			ca := w.p.certs["evidence-ca"]
			e.header[33], e.key = [][]byte{made.Certificate[0], ca}, key
		})
	}
	device("chain-other-device", "the certificate of another device", "evidence-device", leafOptions{deviceID: "01" + fmt.Sprintf("%x", derived("other device", 16))})
	device("chain-other-issuer", "the device's certificate is issued by a CA for TLS", "evidence-device", leafOptions{deviceID: ueid, issuer: "x509-ca"})
	device("chain-is-ca", "the device's certificate is a CA's", "evidence-device", leafOptions{deviceID: ueid, isCA: true})
	device("chain-key-usage", "the device's certificate is not for digital signatures", "evidence-device", leafOptions{deviceID: ueid, noSig: true})
	device("chain-device-expired", "the device's certificate has ended", "evidence-device", leafOptions{deviceID: ueid, to: checkTime.Add(-time.Second)})

	const signature = reasonSignature
	w.invalid("signature-other-key", signature, "by another key than the device's", func(e *eat) { e.key = "evidence-stranger" })
	w.invalid("signature-tls-key", signature, "by the attested TLS key", func(e *eat) { e.key = "server-p256" })
	w.invalid("signature-zero", signature, "r and s are 0", func(e *eat) {
		e.sign = func(crypto.Signer, []byte) ([]byte, error) { return make([]byte, 64), nil }
	})
	tampered := func(id, comment string, assemble func(h, p, s []byte) ([]byte, []byte, []byte)) {
		w.invalid(id, signature, comment, func(e *eat) {
			right := e.assemble
			e.assemble = func(h, p, s []byte) ([]byte, error) { return right(assemble(h, p, s)) }
		})
	}
	tampered("signature-flipped", "one bit of the signature differs", func(h, p, s []byte) ([]byte, []byte, []byte) { return h, p, flip(s, 0) })
	tampered("signature-swapped", "s before r", func(h, p, s []byte) ([]byte, []byte, []byte) { return h, p, concat(s[32:], s[:32]) })
	tampered("signature-claims-changed", "key provenance was changed after signing", func(h, p, s []byte) ([]byte, []byte, []byte) {
		return h, concat(p[:len(p)-1], []byte{2}), s
	})
	toSign := func(id, comment string, list func(h, p []byte) []any) {
		w.invalid(id, signature, comment, func(e *eat) { e.toSign = list })
	}
	toSign("signature-no-context", "signed without the context string", func(h, p []byte) []any { return []any{h, []byte{}, p} })
	toSign("signature-cose-sign", "the context string of COSE_Sign", func(h, p []byte) []any { return []any{"Signature", h, []byte{}, p} })
	toSign("signature-aad", "signed with external_aad", func(h, p []byte) []any { return []any{"Signature1", h, []byte("aad"), p} })
	toSign("signature-no-header", "signed without the protected header", func(_, p []byte) []any { return []any{"Signature1", []byte{}, []byte{}, p} })
	w.invalid("signature-sha384", signature, "over SHA-384", func(e *eat) {
		e.sign = func(key crypto.Signer, message []byte) ([]byte, error) {
			der, err := signHash(key, crypto.SHA384, 0, message)
			if err != nil {
				return nil, err
			}
			return rawSignature(der)
		}
	})

	w.invalid("oemid-other", reasonOEMID, "oemid of another vendor", func(e *eat) {
		other := sha256.Sum256(spkiOf(w.p.certs["evidence-other-root"]))
		e.claims[claimOEMID] = other[:16]
	})
	bound := func(id, reason, comment string, change func(in *evidenceInput)) {
		w.changed(id, reason, comment, change)
	}
	bound("binder-other-connection", reasonBinder, "made for another connection: a relay", func(in *evidenceInput) { in.Connection = connOther })
	bound("binder-other-context", reasonBinder, "made for another request: a replay", func(in *evidenceInput) { in.Context = requestContext("another") })
	bound("binder-other-profile", reasonBinder, "made for expat-04, checked for expat-03", func(in *evidenceInput) { in.Profile = "expat-03" })
	w.invalid("binder-flipped", reasonBinder, "one bit differs", func(e *eat) { e.claims[claimNonce] = flip(e.claims[claimNonce].([]byte), 0) })
	w.invalid("binder-truncated", reasonBinder, "its first 16 bytes", func(e *eat) { e.claims[claimNonce] = e.claims[claimNonce].([]byte)[:16] })
	w.invalid("binder-padded", reasonBinder, "zero-padded to 64 bytes", func(e *eat) {
		e.claims[claimNonce] = concat(e.claims[claimNonce].([]byte), make([]byte, 32))
	})
	w.invalid("key-hash-other-key", reasonKeyHash, "the Evidence names another key: a key substitution", func(e *eat) {
		e.claims[claimKeyHash] = rfc8448.digest(spkiOf(w.p.chains["client-p256"].Certificate[0]))
	})
	w.invalid("key-hash-flipped", reasonKeyHash, "one bit differs", func(e *eat) { e.claims[claimKeyHash] = flip(e.claims[claimKeyHash].([]byte), 31) })
	w.invalid("key-hash-extended", reasonKeyHash, "48 bytes that begin with the key hash", func(e *eat) {
		e.claims[claimKeyHash] = concat(e.claims[claimKeyHash].([]byte), make([]byte, 16))
	})
}
