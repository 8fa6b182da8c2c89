package vectors

import (
	"crypto"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
)

// fizzLeaf is the certificate of a published exporter-authenticator test.
const (
	fizzSource = "certificate: facebookincubator/fizz @545cd6d4, fizz/extensions/exportedauth/test/ExportedAuthenticatorTest.cpp (BSD-3-Clause); values computed for this project"
	fizzLeaf   = "308201ee30820195a003020102020900c569eec901ce86d9300a06082a8648ce3d0403023054310b3009060355040613025553310b300906035504080c024e59310b300906035504070c024e59310d300b060355040a0c0446697a7a310d300b060355040b0c0446697a7a310d300b06035504030c0446697a7a301e170d3137303430343138323930395a170d3431313132343138323930395a3054310b3009060355040613025553310b300906035504080c024e59310b300906035504070c024e59310d300b060355040a0c0446697a7a310d300b060355040b0c0446697a7a310d300b06035504030c0446697a7a3059301306072a8648ce3d020106082a8648ce3d030107034200049d87bcaddb65d8dcf6df8b148a9679b5b710db19c95a9badfff13468cb358b4e21d24a5c826112658ebb96d64e2985dfb41c1948334391a4aa81b67837e2dbf0a350304e301d0603551d0e041604143c5b8ba954d9752faf3c8ad6d1a62449dccaa850301f0603551d230418301680143c5b8ba954d9752faf3c8ad6d1a62449dccaa850300c0603551d13040530030101ff300a06082a8648ce3d04030203470030440220349b7d34d7132fb2756576e0bfa36cbe1723337a7a6f5ef9c8d3bf1aa7efa4a5022025c50a91e0aa4272f1f52c3d5583a7d7cee14b178835273a0bd814303e62d714"
)

// spkiOf takes the SubjectPublicKeyInfo out of a certificate.
func spkiOf(der []byte) []byte {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil // the checker refuses what comes of it
	}
	return c.RawSubjectPublicKeyInfo
}

// bind computes what bindingOf takes from the packages.
func bind(c *Connection, profile string, context, certificate []byte) (bindingExpected, error) {
	out := bindingExpected{Label: "EXPORTER-cmw-attestation", SPKI: spkiOf(certificate)}
	if profile == "expat-03" {
		out.Label = "Attestation"
	}
	exported, err := c.ExportKeyingMaterial(out.Label, context, 32)
	out.ExportedValue = exported
	out.Binder = c.digest(out.SPKI, exported)
	out.KeyHash = c.digest(out.SPKI)
	report := sha512.Sum512(concat([]byte("expat-report-data-v1\x00"), out.Binder, out.KeyHash))
	out.ReportData = report[:]
	return out, err
}

func writeBinding(p *pki, w *writer) {
	right := func(id, comment string, c Connection, profile string, context, certificate []byte) bindingExpected {
		out, err := bind(&c, profile, context, certificate)
		w.fail(id, err)
		carried := evidenceBind{hexPtr(out.Binder), hexPtr(out.KeyHash), hexPtr(out.ReportData)}
		w.valid(id, comment, bindingInput{c, profile, context, certificate, carried}, out)
		return out
	}
	fizz := unhex(fizzLeaf)
	right("rfc8448-fizz-leaf", "binder 3ef27304…, key hash 4f62bbba…", rfc8448, "expat-04", count(32), fizz)
	w.from(fizzSource)
	leaf := p.chains["server-p256"].Certificate[0]
	base := right("expat-04-sha256", "the default profile", rfc8448, "expat-04", count(32), leaf)
	right("expat-03-sha256", "revision 03 of the draft: another label", rfc8448, "expat-03", count(32), leaf)
	right("expat-04-sha384", "binder and key hash of 48 bytes, exported_value of 32", conn384, "expat-04", count(32), p.chains["server-p384"].Certificate[0])
	right("expat-03-sha384", "binder and key hash of 48 bytes, exported_value of 32", conn384, "expat-03", count(32), leaf)
	right("ed25519-key", "SPKI of an Ed25519 key", rfc8448, "expat-04", count(32), p.chains["client-ed25519"].Certificate[0])
	right("rsa-key", "SPKI of an RSA key", rfc8448, "expat-04", count(32), p.chains["server-rsa"].Certificate[0])
	right("p521-key", "SPKI of a P-521 key", conn384, "expat-04", count(32), p.chains["server-p521"].Certificate[0])
	right("context-16", "the shortest context that attests anything", rfc8448, "expat-04", count(16), leaf)
	right("context-255", "a context with a Verifier's nonce", rfc8448, "expat-04", count(255), leaf)
	right("same-key-other-context", "binder and report data change, the key hash does not", rfc8448, "expat-04", requestContext("binding"), leaf)
	right("same-key-other-connection", "binder and report data change, the key hash does not", connOther, "expat-04", count(32), leaf)

	in := bindingInput{rfc8448, "expat-04", count(32), leaf, evidenceBind{hexPtr(base.Binder), hexPtr(base.KeyHash), hexPtr(base.ReportData)}}
	short := func(id, comment string, n int) {
		out, err := bind(&rfc8448, "expat-04", count(n), leaf)
		w.fail(id, err)
		in := in
		in.Context = count(n)
		in.Evidence = evidenceBind{hexPtr(out.Binder), hexPtr(out.KeyHash), hexPtr(out.ReportData)}
		w.invalid(id, "short-context", comment, in)
	}
	short("context-15", "one byte too few", 15)
	short("context-empty", "RFC 9261 allows it, attestation does not", 0)

	binder := func(id, comment string, value []byte) {
		in := in
		in.Evidence = evidenceBind{Binder: hexPtr(value)}
		w.invalid(id, reasonBinder, comment, in)
	}
	export := func(label string, context []byte, n int) []byte {
		out, err := rfc8448.ExportKeyingMaterial(label, context, n)
		w.fail(label, err)
		return out
	}
	c := rfc8448
	binder("binder-exported-value", "the exporter value itself, as revision 01 had it", base.ExportedValue)
	binder("binder-other-profile", "the label of expat-03", c.digest(base.SPKI, export("Attestation", count(32), 32)))
	binder("binder-other-label", "the label of Section 4 of revision 03", c.digest(base.SPKI, export("Attestation Binding", count(32), 32)))
	binder("binder-bit-string", "the contents of subjectPublicKey in place of the SubjectPublicKeyInfo", c.digest(bitString(base.SPKI), base.ExportedValue))
	binder("binder-order", "exported_value before the key", c.digest(base.ExportedValue, base.SPKI))
	binder("binder-no-key", "a hash of the exporter value alone", c.digest(base.ExportedValue))
	binder("binder-no-context", "exported without the context", c.digest(base.SPKI, export("EXPORTER-cmw-attestation", []byte{}, 32)))
	binder("binder-64", "exported with 64 bytes", c.digest(base.SPKI, export("EXPORTER-cmw-attestation", count(32), 64)))
	binder("binder-certificate", "the whole certificate in place of the key", c.digest(leaf, base.ExportedValue))
	binder("binder-sha384", "SHA-384 on a SHA-256 connection", conn384.digest(base.SPKI, base.ExportedValue))
	binder("binder-padded", "zero-padded to 64 bytes", concat(base.Binder, make([]byte, 32)))
	binder("binder-truncated", "its first 31 bytes", base.Binder[:31])
	binder("binder-empty", "zero bytes", []byte{})
	binder("binder-flipped", "one bit differs", flip(base.Binder, -1))
	other, err := bind(&connOther, "expat-04", count(32), leaf)
	w.fail("binder-other-connection", err)
	binder("binder-other-connection", "that of another connection, as in a relay", other.Binder)
	other, err = bind(&rfc8448, "expat-04", requestContext("binding"), leaf)
	w.fail("binder-other-context", err)
	binder("binder-other-context", "that of another request, as in a replay", other.Binder)
	other, err = bind(&rfc8448, "expat-04", count(32), fizz)
	w.fail("binder-other-key", err)
	binder("binder-other-key", "that of another key", other.Binder)

	keyHash := func(id, comment string, value []byte) {
		in := in
		in.Evidence = evidenceBind{Binder: in.Evidence.Binder, KeyHash: hexPtr(value)}
		w.invalid(id, reasonKeyHash, comment, in)
	}
	keyHash("key-hash-other-key", "that of another key", other.KeyHash)
	keyHash("key-hash-bit-string", "the contents of subjectPublicKey in place of the SubjectPublicKeyInfo", c.digest(bitString(base.SPKI)))
	keyHash("key-hash-certificate", "the certificate's fingerprint", c.digest(leaf))
	keyHash("key-hash-sha384", "SHA-384 on a SHA-256 connection", conn384.digest(base.SPKI))
	keyHash("key-hash-binder", "the binder in its place", base.Binder)
	keyHash("key-hash-empty", "zero bytes", []byte{})

	report := func(id, comment string, value []byte) {
		in := in
		in.Evidence = evidenceBind{ReportData: hexPtr(value)}
		w.invalid(id, reasonReportData, comment, in)
	}
	sha512sum := func(parts ...[]byte) []byte {
		d := crypto.SHA512.New()
		d.Write(concat(parts...))
		return d.Sum(nil)
	}
	report("report-data-no-tag", "without the tag", sha512sum(base.Binder, base.KeyHash))
	report("report-data-no-zero", "without the zero byte after the tag", sha512sum([]byte("expat-report-data-v1"), base.Binder, base.KeyHash))
	report("report-data-order", "key hash before binder", sha512sum([]byte("expat-report-data-v1\x00"), base.KeyHash, base.Binder))
	report("report-data-binder-only", "SHA-512 of the binder", sha512sum(base.Binder))
	report("report-data-concatenated", "binder and key hash themselves", concat(base.Binder, base.KeyHash))
	report("report-data-padded", "the binder, zero-padded", concat(base.Binder, make([]byte, 32)))
	report("report-data-truncated", "its first 63 bytes", base.ReportData[:63])
}

// bitString is the contents of subjectPublicKey.
func bitString(spki []byte) []byte {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		return nil
	}
	return info.Key.Bytes
}
