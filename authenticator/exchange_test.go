package authenticator

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/tlspair"
)

// both directions, asked, refused and unasked, sent as
// application data over the connection itself, with every TLS 1.3 suite.
func TestExchangeTLS13(t *testing.T) {
	t.Parallel()
	for suite, h := range map[uint16]crypto.Hash{
		tls.TLS_AES_128_GCM_SHA256:       crypto.SHA256,
		tls.TLS_AES_256_GCM_SHA384:       crypto.SHA384,
		tls.TLS_CHACHA20_POLY1305_SHA256: crypto.SHA256,
	} {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			t.Parallel()
			p := connect(t, suite)
			require.Equal(t, h, p.client.Hash())
			require.Equal(t, h, p.server.Hash())
			testExchanges(t, p)
		})
	}
}

// TLS 1.2 with extended_master_secret, which crypto/tls always negotiates.
func TestExchangeTLS12(t *testing.T) {
	t.Parallel()
	for suite, h := range map[uint16]crypto.Hash{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       crypto.SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       crypto.SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: crypto.SHA256,
	} {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			t.Parallel()
			cc, sc := configs(ownLeaf())
			cc.MaxVersion, cc.CipherSuites = tls.VersionTLS12, []uint16{suite}
			var p pair
			p.clientConn, p.serverConn = tlspair.Connect(t, cc, sc)
			var err error
			p.client, err = NewSessionTLS12(p.clientConn.ConnectionState(), Client)
			require.NoError(t, err)
			p.server, err = NewSessionTLS12(p.serverConn.ConnectionState(), Server)
			require.NoError(t, err)
			require.Equal(t, h, p.server.Hash())
			require.Equal(t, uint16(tls.VersionTLS12), p.client.Version())
			testExchanges(t, p)
		})
	}
}

func testExchanges(t *testing.T, p pair) {
	id := ecdsaIdentity(t)
	for _, d := range []struct {
		name         string
		asker, other *Session
		out, in      *tls.Conn
		typ          byte
		chain        ValidateOptions
	}{
		{"server authenticates", p.client, p.server, p.clientConn, p.serverConn, 17, serverChain()},
		{"client authenticates", p.server, p.client, p.serverConn, p.clientConn, 13, clientChain()},
	} {
		for _, refuse := range []bool{false, true} {
			name := d.name + map[bool]string{true: ": refused"}[refuse]
			r, err := d.asker.NewRequest(RequestOptions{})
			require.NoError(t, err, name)
			require.Equal(t, d.typ, r.Bytes()[0], name)
			received, err := d.other.ReceiveRequest(send(t, d.out, d.in, r.Bytes()))
			require.NoError(t, err, name)
			require.Equal(t, r.Context(), received.Context(), name)
			if refuse {
				b, err := d.other.Refuse(received)
				require.NoError(t, err, name)
				require.Len(t, b, 4+p.client.Hash().Size(), name)
				peer, err := d.asker.Validate(r, send(t, d.in, d.out, b), d.chain)
				requireError(t, err, ErrRefused, OpValidate, FaultPeer)
				require.Nil(t, peer, name)
				continue
			}
			b, err := d.other.Authenticate(context.Background(), received, id)
			require.NoError(t, err, name)
			peer, err := d.asker.Validate(r, send(t, d.in, d.out, b), d.chain)
			require.NoError(t, err, name)
			require.Equal(t, r.Context(), peer.Context(), name)
			requirePeer(t, peer, d.asker, id, false)
		}
	}
	b, err := p.server.AuthenticateSpontaneous(context.Background(), hello(), id)
	require.NoError(t, err)
	peer, err := p.client.ValidateSpontaneous(hello(), send(t, p.serverConn, p.clientConn, b), serverChain())
	require.NoError(t, err)
	require.Len(t, peer.Context(), 32) // unpredictable
	requirePeer(t, peer, p.client, id, true)
}

func requirePeer(t *testing.T, peer *Peer, s *Session, id *Identity, spontaneous bool) {
	t.Helper()
	require.Same(t, s, peer.Session())
	require.Equal(t, spontaneous, peer.Spontaneous())
	require.Equal(t, id.Leaf().Raw, peer.Leaf().Raw)
	require.Equal(t, id.SPKI(), peer.SPKI())
	require.Len(t, peer.Chain().Certificates, 2)
	require.Len(t, peer.Entries(), 2)
	require.Empty(t, peer.Entries()[0].Extensions)
}

// send carries a message as application data.
func send(t *testing.T, from, to *tls.Conn, b []byte) []byte {
	t.Helper()
	_, err := from.Write(b)
	require.NoError(t, err)
	out := make([]byte, len(b))
	_, err = io.ReadFull(to, out)
	require.NoError(t, err)
	return out
}

// A-28, B-8, A-18: extensions of the leaf's entry: offered ones arrive, unknown
// offers are ignored, others are refused on both sides.
func TestLeafExtensions(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	id := ecdsaIdentity(t)
	own := Extension{Type: 0xff00, Data: []byte("own")}
	offered := RequestOptions{Extensions: []Extension{{Type: 0xff00}, {Type: 0xff02, Data: []byte("unknown")}}}

	r, b := exchange(t, p.client, p.server, offered, id, own)
	peer, err := p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
	require.Equal(t, []Extension{own}, peer.Entries()[0].Extensions)
	require.Empty(t, peer.Entries()[1].Extensions)

	for _, tc := range []struct {
		name string
		leaf []Extension
		want error
	}{
		{"not offered", []Extension{{Type: 0xff05}}, ErrUnsupportedExtension},
		{"twice", []Extension{own, own}, ErrIllegalExtension},
		{"for requests alone", []Extension{{Type: extSignatureAlgorithms}}, ErrIllegalExtension},
		{"one too large", []Extension{{Type: 0xff00, Data: make([]byte, 65536)}}, ErrLimit},
		{"together too large", []Extension{{Type: 0xff00, Data: make([]byte, 65535-4)}, {Type: 0xff02}}, ErrLimit},
	} {
		_, received := ask(t, p.client, p.server, offered)
		b, err := p.server.Authenticate(context.Background(), received, id, tc.leaf...)
		requireError(t, err, tc.want, OpAuthenticate, FaultLocal)
		require.Nil(t, b, tc.name)
	}
	largest := Extension{Type: 0xff00, Data: bytes.Repeat([]byte{1}, 65535-4)}
	r, b = exchange(t, p.client, p.server, offered, id, largest)
	peer, err = p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
	require.Equal(t, []Extension{largest}, peer.Entries()[0].Extensions)
}

// what a client and a server may do unasked.
func TestSpontaneousRules(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	id := ecdsaIdentity(t)
	ctx := context.Background()
	_, err := p.client.AuthenticateSpontaneous(ctx, hello(), id)
	requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
	_, err = p.server.AuthenticateSpontaneous(ctx, hello(), nil)
	requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
	_, err = p.server.AuthenticateSpontaneous(ctx, ClientHello{}, id)
	requireError(t, err, ErrMissingExtension, OpAuthenticate, FaultLocal)

	noScheme := ClientHello{SignatureSchemes: []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.ECDSAWithP384AndSHA384}}
	_, err = p.server.AuthenticateSpontaneous(ctx, noScheme, id)
	requireError(t, err, ErrNoIdentity, OpAuthenticate, FaultLocal)
	otherName := ClientHello{SignatureSchemes: SignatureSchemes(), ServerName: "other.test"}
	_, err = p.server.AuthenticateSpontaneous(ctx, otherName, id)
	requireError(t, err, ErrNoIdentity, OpAuthenticate, FaultLocal)
	_, err = p.server.AuthenticateSpontaneous(ctx, hello(), id, Extension{Type: 0xff00})
	requireError(t, err, ErrUnsupportedExtension, OpAuthenticate, FaultLocal)

	_, err = p.server.ValidateSpontaneous(hello(), spontaneous(t, p.server), anyChain)
	requireError(t, err, ErrMisuse, OpValidate, FaultLocal)
	_, err = p.client.ValidateSpontaneous(hello(), spontaneous(t, p.server), ValidateOptions{})
	requireError(t, err, ErrMisuse, OpValidate, FaultLocal)
	_, err = p.client.ValidateSpontaneous(ClientHello{}, spontaneous(t, p.server), anyChain)
	requireError(t, err, ErrMissingExtension, OpValidate, FaultLocal)
	p384 := ClientHello{SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}}
	_, err = p.client.ValidateSpontaneous(p384, spontaneous(t, p.server), anyChain)
	requireError(t, err, ErrSignatureScheme, OpValidate, FaultPeer)

	r, received := ask(t, p.client, p.server, RequestOptions{})
	refusal, err := p.server.Refuse(received)
	require.NoError(t, err)
	_, err = p.client.ValidateSpontaneous(hello(), refusal, anyChain)
	requireError(t, err, ErrUnexpectedMessage, OpValidate, FaultPeer)
	_, err = p.client.Validate(r, spontaneous(t, p.server), anyChain) // unasked in place of an answer
	requireError(t, err, ErrContextMismatch, OpValidate, FaultPeer)
}

// The offer of a real crypto/tls client, PKCS#1 schemes included, is enough.
func TestHelloFromInfo(t *testing.T) {
	t.Parallel()
	cc, sc := configs(ownLeaf())
	var seen ClientHello
	sc.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		seen = HelloFromInfo(info)
		return nil, nil
	}
	clientConn, serverConn := tlspair.Connect(t, cc, sc)
	server, err := NewSession(serverConn.ConnectionState(), Server)
	require.NoError(t, err)
	client, err := NewSession(clientConn.ConnectionState(), Client)
	require.NoError(t, err)
	require.Equal(t, "server.test", seen.ServerName)
	require.Contains(t, seen.Extensions, extSignatureAlgorithms)
	require.Contains(t, seen.SignatureSchemes, tls.PKCS1WithSHA256)

	cert := ownLeaf()
	cert.SignedCertificateTimestamps = [][]byte{[]byte("sct")} // offered by crypto/tls
	b, err := server.AuthenticateSpontaneous(context.Background(), seen, identity(t, cert))
	require.NoError(t, err)
	peer, err := client.ValidateSpontaneous(hello(), b, serverChain())
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("sct")}, peer.Chain().SCTs)
}
