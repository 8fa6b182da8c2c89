package vectors

func writeExporter(_ *pki, w *writer) {
	const anchored = "derived from the exporter_master_secret of RFC 8448, Section 3"
	golden := func(id, label string, context []byte, length int, value string) {
		in := exporterInput{Connection: rfc8448, Label: label, Context: hexPtr(context), Length: length}
		w.valid(id, anchored, in, exporterExpected{unhex(value)})
	}
	none := []byte{}
	golden("rfc8448-client-handshake-context", "EXPORTER-client authenticator handshake context", none, 32, "3ce40ddfb5a8566480bb683fa63f43f1d6d52ab962854a98a3c080d81ed5631f")
	golden("rfc8448-server-handshake-context", "EXPORTER-server authenticator handshake context", none, 32, "b5920228102885ce3bbc879252d7c4ae80f47616cdc91456338427e7890941b0")
	golden("rfc8448-client-finished-key", "EXPORTER-client authenticator finished key", none, 32, "34db53a0d817c518dc905f36e253a11271904ea43778358aaeb85d377a4fe0fb")
	golden("rfc8448-server-finished-key", "EXPORTER-server authenticator finished key", none, 32, "d7571ccc1577b04277765da1c875d933be15717b3ecf45d0708431fa077df54d")
	golden("rfc8448-cmw-attestation", "EXPORTER-cmw-attestation", count(32), 32, "d1bdbe5bff7774441c4178731ebab0ed02e8512fe9e3e047d58a9b4d6f22ffe8")
	golden("rfc8448-attestation", "Attestation", count(32), 32, "de6655915cadff0d4fe781e255b3cc28cf8cc5c647de58a1e38a59e40bc4ee39")
	golden("rfc8448-attestation-binding", "Attestation Binding", count(32), 32, "6e8ad2ee1b8518ca980c01fa45a763ba5232af047a70ef3bceea8786cc74eedb")
	golden("rfc8448-attestation-binding-64", "Attestation Binding", count(32), 64, "129a0a5242df0927d1c3cf894293f7c9b692c4fca054d90b5ab801999e76a9652b32d2b4356faad61e698eed41fd68a2015cf41cfc8a13fdb73a5bdcca63920e")
	golden("rfc8448-channel-binding", "EXPORTER-Channel-Binding", none, 32, "e3b0946bf2f4668144f22872e0afd51dc9608638c6f9b2584b98c6cd3a4affad")

	computed := func(id, comment string, c Connection, label string, context []byte, length int) {
		out, err := c.ExportKeyingMaterial(label, context, length)
		w.fail(id, err)
		w.valid(id, comment, exporterInput{c, label, hexPtr(context), length}, exporterExpected{out})
	}
	for _, c := range []struct {
		name string
		conn Connection
	}{{"tls13-sha384", conn384}, {"tls12-sha256", conn12}, {"tls12-sha384", conn12SHA384}} {
		size := c.conn.Hash().Size()
		computed(c.name+"-client-handshake-context", "length is that of the hash", c.conn, "EXPORTER-client authenticator handshake context", none, size)
		computed(c.name+"-server-handshake-context", "length is that of the hash", c.conn, "EXPORTER-server authenticator handshake context", none, size)
		computed(c.name+"-client-finished-key", "length is that of the hash", c.conn, "EXPORTER-client authenticator finished key", none, size)
		computed(c.name+"-server-finished-key", "length is that of the hash", c.conn, "EXPORTER-server authenticator finished key", none, size)
	}
	computed("tls13-sha384-cmw-attestation", "exported_value has 32 bytes whatever the hash", conn384, "EXPORTER-cmw-attestation", count(32), 32)
	computed("tls13-absent-context", "TLS 1.3: equal to rfc8448-server-handshake-context, whose context is empty", rfc8448, "EXPORTER-server authenticator handshake context", nil, 32)
	computed("tls12-sha256-absent-context", "TLS 1.2: differs from tls12-sha256-server-handshake-context, whose context is empty", conn12, "EXPORTER-server authenticator handshake context", nil, 32)
	computed("tls12-sha384-absent-context", "TLS 1.2: differs from tls12-sha384-server-handshake-context, whose context is empty", conn12SHA384, "EXPORTER-server authenticator handshake context", nil, 48)
	computed("tls13-sha256-long", "longer than one HKDF block", rfc8448, "EXPERIMENTAL-long", []byte("context"), 100)
	computed("tls13-sha384-long", "longer than one HKDF block", conn384, "EXPERIMENTAL-long", []byte("context"), 100)
	computed("tls12-sha256-long", "longer than one block of P_hash", conn12, "EXPERIMENTAL-long", []byte("context"), 100)
	computed("tls12-sha384-long", "longer than one block of P_hash", conn12SHA384, "EXPERIMENTAL-long", []byte("context"), 100)
	computed("tls13-context-255", "the longest certificate_request_context", rfc8448, "EXPORTER-cmw-attestation", count(255), 32)
	computed("tls12-context-255", "the longest certificate_request_context", conn12, "EXPORTER-cmw-attestation", count(255), 32)
}
