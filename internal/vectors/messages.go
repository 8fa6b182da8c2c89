package vectors

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// Extension is a TLS extension.
type Extension struct {
	Type uint16 `json:"type"`
	Data Bytes  `json:"data"`
}

// Handshake message types.
const (
	msgCertificate              = 11
	msgCertificateRequest       = 13
	msgCertificateVerify        = 15
	msgClientCertificateRequest = 17
	msgFinished                 = 20
)

// Extension types.
const (
	extServerName             = 0
	extStatusRequest          = 5
	extSignatureAlgorithms    = 13
	extSCT                    = 18
	extCertificateAuthorities = 47
	extOIDFilters             = 48
	extSignatureSchemesCert   = 50
	extCMW                    = 0xff00
)

// The two sides of a connection.
const (
	sideClient = "client"
	sideServer = "server"
)

func otherSide(side string) string {
	if side == sideClient {
		return sideServer
	}
	return sideClient
}

func u8(b []byte) []byte  { return append([]byte{byte(len(b))}, b...) }
func u16(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }
func u24(b []byte) []byte {
	return append([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
}

// handshake frames a handshake message.
func handshake(typ byte, body []byte) []byte { return append([]byte{typ}, u24(body)...) }

func encodeExtensions(list []Extension) []byte {
	var b []byte
	for _, e := range list {
		b = append(b, byte(e.Type>>8), byte(e.Type))
		b = append(b, u16(e.Data)...)
	}
	return u16(b)
}

// encodeRequest is RFC 9261, Section 4.
func encodeRequest(typ byte, context []byte, list ...Extension) []byte {
	return handshake(typ, concat(u8(context), encodeExtensions(list)))
}

// requestType is the type of the request that a side sends.
func requestType(from string) byte {
	if from == sideClient {
		return msgClientCertificateRequest
	}
	return msgCertificateRequest
}

// encodeCertificate is RFC 8446, Section 4.4.2.
func encodeCertificate(context []byte, certificates [][]byte, extensions [][]Extension) []byte {
	var list []byte
	for i, der := range certificates {
		var e []Extension
		if i < len(extensions) {
			e = extensions[i]
		}
		list = append(list, u24(der)...)
		list = append(list, encodeExtensions(e)...)
	}
	return handshake(msgCertificate, concat(u8(context), u24(list)))
}

func encodeVerify(scheme uint16, signature []byte) []byte {
	return handshake(msgCertificateVerify, append([]byte{byte(scheme >> 8), byte(scheme)}, u16(signature)...))
}

// signatureAlgorithms encodes signature_algorithms.
func signatureAlgorithms(schemes ...uint16) Extension {
	var list []byte
	for _, s := range schemes {
		list = append(list, byte(s>>8), byte(s))
	}
	return Extension{extSignatureAlgorithms, u16(list)}
}

var errStructure = errors.New("the vector's message does not have the structure its case needs")

// cutMessages splits handshake messages.
func cutMessages(b []byte) ([][]byte, error) {
	var out [][]byte
	for s := cryptobyte.String(b); !s.Empty(); {
		whole := []byte(s)
		var body cryptobyte.String
		if !s.Skip(1) || !s.ReadUint24LengthPrefixed(&body) {
			return nil, errStructure
		}
		out = append(out, whole[:4+len(body)])
	}
	return out, nil
}

// parsedRequest is a request taken apart without package authenticator.
type parsedRequest struct {
	typ        uint8
	context    Bytes
	extensions []Extension
	schemes    []uint16
}

func cutRequest(b []byte) (*parsedRequest, error) {
	r := &parsedRequest{extensions: []Extension{}, schemes: []uint16{}}
	s := cryptobyte.String(b)
	var body, context, block cryptobyte.String
	if !s.ReadUint8(&r.typ) || !s.ReadUint24LengthPrefixed(&body) || !s.Empty() ||
		!body.ReadUint8LengthPrefixed(&context) || !body.ReadUint16LengthPrefixed(&block) || !body.Empty() {
		return nil, errStructure
	}
	r.context = Bytes(context)
	for !block.Empty() {
		var typ uint16
		var data cryptobyte.String
		if !block.ReadUint16(&typ) || !block.ReadUint16LengthPrefixed(&data) {
			return nil, errStructure
		}
		r.extensions = append(r.extensions, Extension{typ, Bytes(data)})
		if typ != extSignatureAlgorithms || !data.Skip(2) {
			continue
		}
		var scheme uint16
		for data.ReadUint16(&scheme) {
			r.schemes = append(r.schemes, scheme)
		}
	}
	return r, nil
}
