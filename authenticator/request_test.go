package authenticator

import (
	"bytes"
	"crypto/tls"
	"encoding/asn1"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// schemesExtension is signature_algorithms with ECDSA P-256.
var schemesExtension = Extension{extSignatureAlgorithms, []byte{0, 2, 4, 3}}

// what options become.
func TestNewRequest(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	filter := OIDFilter{OID: asn1.ObjectIdentifier{2, 5, 29, 15}, Values: []byte{3, 2, 7, 128}}
	r, received := ask(t, p.client, p.server, RequestOptions{
		Nonce:                []byte("nonce of a verifier"),
		SignatureSchemes:     []tls.SignatureScheme{tls.Ed25519},
		SignatureSchemesCert: []tls.SignatureScheme{tls.PKCS1WithSHA256},
		ServerName:           "server.test",
		Authorities:          [][]byte{{0x30, 0}},
		OIDFilters:           []OIDFilter{filter},
		OCSP:                 true,
		SCT:                  true,
		Extensions:           []Extension{{Type: 0xff00}},
	})
	require.Equal(t, typeClientCertificateRequest, r.Bytes()[0])
	require.Len(t, r.Context(), 32+19)
	require.True(t, bytes.HasSuffix(r.Context(), []byte("nonce of a verifier")))
	require.Equal(t, []Extension{
		{13, []byte{0, 2, 8, 7}},
		{50, []byte{0, 2, 4, 1}},
		{0, append([]byte{0, 14, 0, 0, 11}, "server.test"...)},
		{47, []byte{0, 4, 0, 2, 0x30, 0}},
		{48, []byte{0, 12, 5, 6, 3, 0x55, 0x1d, 0x0f, 0, 4, 3, 2, 7, 128}},
		{5, []byte{}},
		{18, []byte{}},
		{0xff00, []byte{}},
	}, received.extensions)
	require.Equal(t, "server.test", received.ServerName())
	require.Same(t, p.server, received.Session())
	data, ok := received.Extension(13)
	require.True(t, ok)
	require.Equal(t, []byte{0, 2, 8, 7}, data)
	_, ok = received.Extension(0xff01)
	require.False(t, ok)

	fromServer, err := p.server.NewRequest(RequestOptions{})
	require.NoError(t, err)
	require.Equal(t, typeCertificateRequest, fromServer.Bytes()[0])
	require.Len(t, fromServer.Context(), 32)
	require.Equal(t, SignatureSchemes(), fromServer.offer.schemes)
	require.Equal(t, append(SignatureSchemes(), tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512), fromServer.offer.schemesCert)
	another, err := p.server.NewRequest(RequestOptions{})
	require.NoError(t, err)
	require.NotEqual(t, fromServer.Context(), another.Context())

	restricted, err := p.client.NewRequest(RequestOptions{SignatureSchemes: []tls.SignatureScheme{tls.Ed25519}})
	require.NoError(t, err)
	require.Nil(t, restricted.offer.schemesCert) // RFC 8446, Section 4.2.3: schemes govern
}

// options that make no request, and both sides
// of every size.
func TestNewRequestLimits(t *testing.T) {
	t.Parallel()
	long := func(n int) []byte { return bytes.Repeat([]byte{7}, n) }
	extension := func(n int) RequestOptions {
		return RequestOptions{Extensions: []Extension{{0xff00, long(n)}}}
	}
	empty, err := exporterPair(t).client.NewRequest(extension(0))
	require.NoError(t, err)
	room := MaxRequest - len(empty.Bytes())
	for _, tc := range []struct {
		name string
		from Role
		o    RequestOptions
		want error // nil: accepted
	}{
		{"A-40 empty context", Client, RequestOptions{Context: []byte{}}, nil},
		{"A-40 longest context", Client, RequestOptions{Context: long(255)}, nil},
		{"A-40 context too long", Client, RequestOptions{Context: long(256)}, ErrLimit},
		{"longest nonce", Client, RequestOptions{Nonce: long(MaxNonce)}, nil},
		{"nonce too long", Client, RequestOptions{Nonce: long(MaxNonce + 1)}, ErrLimit},
		{"context and nonce", Client, RequestOptions{Context: long(32), Nonce: long(8)}, ErrMisuse},
		{"A-17 server_name to a client", Server, RequestOptions{ServerName: "client.test"}, ErrIllegalExtension},
		{"A-17 key_share", Client, RequestOptions{Extensions: []Extension{{51, nil}}}, ErrIllegalExtension},
		{"A-17 pre_shared_key", Client, RequestOptions{Extensions: []Extension{{41, nil}}}, ErrIllegalExtension},
		{"A-19 twice", Client, RequestOptions{Extensions: []Extension{{0xff00, nil}, {0xff00, nil}}}, ErrIllegalExtension},
		{"A-19 signature_algorithms twice", Client, RequestOptions{Extensions: []Extension{schemesExtension}}, ErrIllegalExtension},
		{"no scheme", Client, RequestOptions{SignatureSchemes: []tls.SignatureScheme{}}, ErrDecode},
		{"no scheme for certificates", Client, RequestOptions{SignatureSchemesCert: []tls.SignatureScheme{}}, ErrDecode},
		{"empty authority", Client, RequestOptions{Authorities: [][]byte{{}}}, ErrDecode},
		{"OID of one arc", Client, RequestOptions{OIDFilters: []OIDFilter{{OID: asn1.ObjectIdentifier{1}}}}, ErrIllegalExtension},
		{"OID twice", Client, RequestOptions{OIDFilters: []OIDFilter{{OID: oidKeyUsage}, {OID: oidKeyUsage}}}, ErrDecode},
		{"extension too large", Client, extension(65536), ErrLimit},
		{"extensions together too large", Client, extension(65500), ErrLimit},
		{"server name too long", Client, RequestOptions{ServerName: strings.Repeat("a", 65533)}, ErrLimit},
		{"authority too long", Client, RequestOptions{Authorities: [][]byte{long(65536)}}, ErrLimit},
		{"largest request", Client, extension(room), nil},
		{"request too large", Client, extension(room + 1), ErrLimit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			from, to := p.client, p.server
			if tc.from == Server {
				from, to = to, from
			}
			r, err := from.NewRequest(tc.o)
			if tc.want != nil {
				requireError(t, err, tc.want, OpRequest, FaultLocal)
				require.Nil(t, r)
				require.Empty(t, from.used) // a request that was not made uses no context
				return
			}
			require.NoError(t, err)
			_, err = to.ReceiveRequest(r.Bytes())
			require.NoError(t, err)
		})
	}
}

// request is a framed request with a random context.
func request(typ uint8, list ...Extension) []byte {
	return appendRequest(typ, []byte("a context of more than sixteen bytes"), list)
}

// what a received request may be.
func TestReceiveRequest(t *testing.T) {
	t.Parallel()
	name := Extension{extServerName, encodeServerName("server.test")}
	with := func(typ uint16, data ...byte) []byte {
		return request(typeClientCertificateRequest, schemesExtension, Extension{typ, data})
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want error // nil: accepted
	}{
		{"minimal", request(17, schemesExtension), nil},
		{"A-18 unknown extensions", request(17, Extension{0x1a1a, []byte("grease")}, schemesExtension, Extension{0xfff0, nil}), nil},
		{"A-17 server_name in type 17", request(17, schemesExtension, name), nil},
		{"A-21 type 13 at a server", request(13, schemesExtension), ErrUnexpectedMessage},
		{"a Certificate", request(11, schemesExtension), ErrUnexpectedMessage},
		{"A-16 no signature_algorithms", request(17, name), ErrMissingExtension},
		{"A-13 no extension", request(17), ErrMissingExtension},
		{"A-19 unknown extension twice", request(17, schemesExtension, Extension{9999, nil}, Extension{9999, nil}), ErrIllegalExtension},
		{"A-19 twice among many", request(17, append(manyExtensions(12), Extension{0xf000, nil})...), ErrIllegalExtension},
		{"A-17 supported_groups", with(10, 0, 2, 0, 29), ErrIllegalExtension},
		{"A-17 pre_shared_key", with(41), ErrIllegalExtension},
		{"A-17 key_share", with(51), ErrIllegalExtension},
		{"A-17 ALPN", with(16), ErrIllegalExtension},
		{"A-17 extended_master_secret", with(23), ErrIllegalExtension},
		{"signature_algorithms empty", request(17, Extension{13, []byte{0, 0}}), ErrDecode},
		{"signature_algorithms of odd length", request(17, Extension{13, []byte{0, 3, 4, 3, 5}}), ErrDecode},
		{"signature_algorithms with trailing bytes", request(17, Extension{13, []byte{0, 2, 4, 3, 0}}), ErrDecode},
		{"signature_algorithms_cert empty", with(50, 0, 0), ErrDecode},
		{"server_name empty", with(0), ErrDecode},
		{"server_name of another type", with(0, 0, 4, 1, 0, 1, 'a'), ErrDecode},
		{"server_name without name", with(0, 0, 3, 0, 0, 0), ErrDecode},
		{"two server names", with(0, 0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'), ErrDecode},
		{"status_request not empty", with(5, 1, 0, 0, 0, 0), ErrDecode},
		{"SCT not empty", with(18, 0), ErrDecode},
		{"certificate_authorities empty", with(47, 0, 0), ErrDecode},
		{"certificate_authorities with an empty name", with(47, 0, 2, 0, 0), ErrDecode},
		{"certificate_authorities cut", with(47, 0, 4, 0, 3, 0x30, 0), ErrDecode},
		{"oid_filters empty", with(48, 0, 0), nil},
		{"oid_filters without length", with(48), ErrDecode},
		{"oid_filters not an OID", with(48, 0, 5, 2, 0x04, 0, 0, 0), ErrDecode},
		{"oid_filters with an empty OID", with(48, 0, 5, 2, 0x06, 0, 0, 0), ErrDecode},
		{"oid_filters twice the same", with(48, 0, 12, 3, 6, 1, 42, 0, 0, 3, 6, 1, 42, 0, 0), ErrDecode},
		{"oid_filters with an OID beyond 31 bits", with(48, 0, 12, 9, 6, 7, 0x69, 0x90, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := exporterPair(t).server
			r, err := s.ReceiveRequest(tc.b)
			if tc.want != nil {
				requireError(t, err, tc.want, OpAuthenticate, FaultPeer)
				require.Nil(t, r)
				require.Empty(t, s.used)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.b, r.raw) // unknown extensions stay in the transcript
		})
	}
}

// manyExtensions is signature_algorithms and n unknown extensions from 0xf000.
func manyExtensions(n int) []Extension {
	list := []Extension{schemesExtension}
	for i := range n {
		list = append(list, Extension{Type: uint16(0xf000 + i)})
	}
	return list
}

// the other direction.
func TestReceiveRequestAtClient(t *testing.T) {
	t.Parallel()
	s := exporterPair(t).client
	_, err := s.ReceiveRequest(request(17, schemesExtension))
	requireError(t, err, ErrUnexpectedMessage, OpAuthenticate, FaultPeer)
	_, err = s.ReceiveRequest(request(13, schemesExtension, Extension{extServerName, encodeServerName("client.test")}))
	requireError(t, err, ErrIllegalExtension, OpAuthenticate, FaultPeer)
	_, err = s.ReceiveRequest(request(13, append(manyExtensions(12), Extension{0xffff, nil})...))
	require.NoError(t, err)
}

// I-17: the size is checked before a copy is made. The caller's bytes are copied.
func TestReceiveRequestMemory(t *testing.T) {
	t.Parallel()
	s := exporterPair(t).server
	fixed := len(request(17, schemesExtension, Extension{Type: 0xff00}))
	b := request(17, schemesExtension, Extension{0xff00, make([]byte, MaxRequest-fixed)})
	require.Len(t, b, MaxRequest)
	_, err := s.ReceiveRequest(append(b, 0))
	requireError(t, err, ErrLimit, OpAuthenticate, FaultPeer)
	r, err := s.ReceiveRequest(b)
	require.NoError(t, err)
	want := bytes.Clone(b)
	clear(b)
	require.Equal(t, want, r.raw)
}
