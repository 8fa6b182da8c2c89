package vectors

import "strings"

// Frame types.
const (
	frameHello         = 1
	frameRequest       = 2
	frameAuthenticator = 3
	frameResult        = 4
	frameAlert         = 5
	frameData          = 6
)

const defaultMaxAuthenticator = 256 << 10

// frame encodes a frame without checking anything.
func frame(typ byte, payload []byte) []byte { return append([]byte{typ}, u24(payload)...) }

func writeFrames(_ *pki, w *writer) {
	right := func(id, comment string, typ byte, payload []byte, detail any) {
		out := frameExpected{Type: typ, Payload: payload}
		switch d := detail.(type) {
		case helloFrame:
			out.Hello = &d
		case resultFrame:
			out.Result = &d
		case alertFrame:
			out.Alert = &d
		}
		w.valid(id, comment, frameInput{frame(typ, payload), defaultMaxAuthenticator}, out)
	}
	none := []string{}
	right("hello-asks", "will request, accepts one media type", frameHello, unhex("a5000101f502f40381"+"63612f62"+"0401"),
		helloFrame{true, false, []string{"a/b"}, 1, false, defaultMaxAuthenticator})
	right("hello-attests", "can attest", frameHello, unhex("a3000101f402f5"), helloFrame{false, true, none, 0, false, defaultMaxAuthenticator})
	right("hello-neither", "neither asks nor attests: a frame in itself", frameHello, unhex("a3000101f402f4"), helloFrame{false, false, none, 0, false, defaultMaxAuthenticator})
	right("hello-all", "all keys", frameHello, unhex("a7000101f502f50382"+"63612f62"+"63612f63"+"040305f5061a00010000"),
		helloFrame{true, true, []string{"a/b", "a/c"}, 3, true, 65536})
	right("hello-unknown-key", "unknown keys are ignored", frameHello, unhex("a5000101f402f507a16161f60afb3ff0000000000000"), helloFrame{false, true, none, 0, false, defaultMaxAuthenticator})
	right("hello-unknown-text-key", "unknown keys may be of any type", frameHello, unhex("a4000101f402f5"+"6178"+"00"), helloFrame{false, true, none, 0, false, defaultMaxAuthenticator})
	right("request", "the payload is opaque here", frameRequest, encodeRequest(msgClientCertificateRequest, count(32), signatureAlgorithms(schemeP256)), nil)
	right("request-empty", "an empty payload is a frame", frameRequest, []byte{}, nil)
	right("authenticator", "the payload is opaque here", frameAuthenticator, unhex("14000000"), nil)
	right("result-accepted", "accepted, as long as the connection", frameResult, unhex("a10000"), resultFrame{0, nil})
	right("result-lifetime", "accepted, for a day", frameResult, unhex("a20000011a00015180"), resultFrame{0, ptr(int64(86400))})
	right("result-rejected", "attestation rejected", frameResult, unhex("a10007"), resultFrame{7, nil})
	right("result-unknown-key", "unknown keys are ignored", frameResult, unhex("a200000261"+"78"), resultFrame{0, nil})
	right("result-unknown-code", "codes up to 65535", frameResult, unhex("a10019ffff"), resultFrame{65535, nil})
	right("alert", "protocol", frameAlert, unhex("000d"), alertFrame{13})
	right("alert-zero", "a frame in itself; no exchange has a place for it", frameAlert, unhex("0000"), alertFrame{0})
	right("data", "a frame in itself", frameData, []byte("hello"), nil)

	wrong := func(id, reason, comment string, stream []byte) {
		w.invalid(id, reason, comment, frameInput{stream, defaultMaxAuthenticator})
	}
	wrong("truncated-empty", "truncated", "zero bytes", []byte{})
	wrong("truncated-header", "truncated", "three bytes of the header", unhex("010000"))
	wrong("truncated-payload", "truncated", "the last byte is missing", unhex("0500000200"))
	wrong("truncated-no-payload", "truncated", "a header without its payload", unhex("01000007"))
	wrong("type-0", "unknown-type", "type 0", unhex("0000000100"))
	wrong("type-7", "unknown-type", "type 7", unhex("0700000100"))
	wrong("type-22", "unknown-type", "a TLS record", unhex("1603010001"))
	wrong("type-http", "unknown-type", "application data before the exchange is done", []byte("GET / HTTP/1.1\r\n"))
	large := func(id, comment string, typ byte, most int) {
		wrong(id, "too-large", comment, []byte{typ, byte((most + 1) >> 16), byte((most + 1) >> 8), byte(most + 1)})
	}
	large("large-hello", "4097 bytes announced", frameHello, 4096)
	large("large-request", "16385 bytes announced", frameRequest, 16384)
	large("large-authenticator", "one byte above the receiver's cap announced", frameAuthenticator, defaultMaxAuthenticator)
	large("large-result", "257 bytes announced", frameResult, 256)
	large("large-alert", "3 bytes announced", frameAlert, 2)
	large("large-data", "16381 bytes announced", frameData, 16380)
	wrong("large-all", "too-large", "the longest length", unhex("03ffffff"))
	wrong("large-present", "too-large", "the payload follows", frame(frameResult, make([]byte, 257)))
	w.invalid("large-small-cap", "too-large", "above a cap that was lowered", frameInput{frame(frameAuthenticator, make([]byte, 65)), 64})

	malformed := func(id, comment string, typ byte, hex string) {
		wrong(id, "malformed", comment, frame(typ, unhex(strings.ReplaceAll(hex, " ", ""))))
	}
	hello := func(id, comment, hex string) { malformed(id, comment, frameHello, hex) }
	hello("hello-no-bytes", "an empty payload", "")
	hello("hello-array", "an array", "83 01 f4 f5")
	hello("hello-truncated", "the map ends early", "a3 0001 01f4")
	hello("hello-trailing", "a byte follows the map", "a3 0001 01f4 02f5 00")
	hello("hello-indefinite", "a map of indefinite length", "bf 0001 01f4 02f5 ff")
	hello("hello-duplicate", "a key twice", "a4 0001 01f4 02f5 02f5")
	hello("hello-duplicate-unknown", "an unknown key twice", "a5 0001 01f4 02f5 0a00 0a00")
	hello("hello-tag", "a tagged value", "a3 0001 01f4 02c0f5")
	hello("hello-tag-unknown", "a tagged value under an unknown key", "a4 0001 01f4 02f5 0ac000")
	hello("hello-no-version", "no version", "a2 01f4 02f5")
	hello("hello-version-2", "version 2", "a3 0002 01f4 02f5")
	hello("hello-version-text", "the version is text", "a3 006131 01f4 02f5")
	hello("hello-no-will-request", "key 1 is missing", "a2 0001 02f5")
	hello("hello-no-can-attest", "key 2 is missing", "a2 0001 01f4")
	hello("hello-bool-integer", "1 in place of true", "a3 0001 01f4 0201")
	hello("hello-null", "null in place of a bool", "a3 0001 01f4 02f6")
	hello("hello-models-null", "null in place of a number", "a4 0001 01f4 02f5 04f6")
	hello("hello-models-negative", "a negative number", "a4 0001 01f4 02f5 0420")
	hello("hello-no-media-types", "asks and accepts nothing", "a3 0001 01f5 02f5")
	hello("hello-media-types-unasked", "media types without a request", "a4 0001 01f4 02f5 038163612f62")
	hello("hello-media-types-empty", "an empty list", "a4 0001 01f5 02f5 0380")
	hello("hello-media-type-empty", "an empty media type", "a4 0001 01f5 02f5 038160")
	hello("hello-media-type-bytes", "a media type in bytes", "a4 0001 01f5 02f5 038143612f62")
	hello("hello-media-type-long", "a media type of 256 bytes", "a4 0001 01f5 02f5 0381 790100"+strings.Repeat("61", 256))
	hello("hello-17-media-types", "17 media types", "a4 0001 01f5 02f5 0391"+strings.Repeat("63612f62", 17))
	result := func(id, comment, hex string) { malformed(id, comment, frameResult, hex) }
	result("result-no-bytes", "an empty payload", "")
	result("result-no-code", "no code", "a1 0101")
	result("result-code-65536", "a code above 65535", "a1 001a00010000")
	result("result-code-bool", "the code is a bool", "a1 00f4")
	result("result-lifetime-0", "a lifetime of 0", "a2 0000 0100")
	result("result-lifetime-negative", "a negative lifetime", "a2 0000 0120")
	result("result-lifetime-float", "a lifetime of 1.5", "a2 0000 01f93e00")
	result("result-duplicate", "a key twice", "a2 0000 0000")
	result("result-trailing", "a byte follows the map", "a1 0000 00")
	malformed("alert-one-byte", "one byte", frameAlert, "0d")
	malformed("alert-empty", "an empty payload", frameAlert, "")
}
