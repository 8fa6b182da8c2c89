package authenticator

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/tlspair"
)

// what a connection must be before anything is made or taken.
func TestNewSessionRefusesConnections(t *testing.T) {
	t.Parallel()
	good := connect(t, 0).clientConn.ConnectionState()
	for _, tc := range []struct {
		name   string
		change func(*tls.ConnectionState)
		open   func(tls.ConnectionState, Role) (*Session, error)
		role   Role
		want   error
	}{
		{"A-1 TLS 1.0", func(cs *tls.ConnectionState) { cs.Version = tls.VersionTLS10 }, NewSession, Client, ErrConnection},
		{"A-1 TLS 1.1", func(cs *tls.ConnectionState) { cs.Version = tls.VersionTLS11 }, NewSessionTLS12, Client, ErrConnection},
		{"TLS 1.2 without asking for it", func(cs *tls.ConnectionState) { cs.Version = tls.VersionTLS12 }, NewSession, Client, ErrConnection},
		{"TLS 1.3 where 1.2 was asked for", func(*tls.ConnectionState) {}, NewSessionTLS12, Client, ErrConnection},
		{"A-4 no suite", func(cs *tls.ConnectionState) { cs.CipherSuite = 0 }, NewSession, Client, ErrConnection},
		{"A-4 suite of TLS 1.2", func(cs *tls.ConnectionState) { cs.CipherSuite = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 }, NewSession, Client, ErrConnection},
		{"A-5 handshake not complete", func(cs *tls.ConnectionState) { cs.HandshakeComplete = false }, NewSession, Server, ErrConnection},
		{"no role", func(*tls.ConnectionState) {}, NewSession, 0, ErrMisuse},
		{"a third role", func(*tls.ConnectionState) {}, NewSession, 3, ErrMisuse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cs := good
			tc.change(&cs)
			s, err := tc.open(cs, tc.role)
			requireError(t, err, tc.want, OpSession, FaultLocal)
			require.Nil(t, s)
		})
	}
}

// crypto/tls exports nothing where renegotiation is allowed.
func TestNewSessionRefusesRenegotiation(t *testing.T) {
	t.Parallel()
	cc, sc := configs(ownLeaf())
	cc.Renegotiation = tls.RenegotiateOnceAsClient
	conn, _ := tlspair.Connect(t, cc, sc)
	_, err := NewSession(conn.ConnectionState(), Client)
	requireError(t, err, ErrConnection, OpSession, FaultLocal)
}

// every suite, by the hash that RFC 8446 or RFC 5246 gives it.
func TestSuiteHash(t *testing.T) {
	t.Parallel()
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, version := range s.SupportedVersions {
			got, err := suiteHash(version, s.ID)
			ephemeral := version == tls.VersionTLS13 || version == tls.VersionTLS12 && strings.HasPrefix(s.Name, "TLS_ECDHE")
			switch {
			case !ephemeral, strings.Contains(s.Name, "CBC"), strings.Contains(s.Name, "RC4"):
				require.ErrorIs(t, err, ErrConnection, "%s of %s", s.Name, tls.VersionName(version))
			case strings.HasSuffix(s.Name, "SHA384"):
				require.Equal(t, crypto.SHA384, got, s.Name)
			default:
				require.Equal(t, crypto.SHA256, got, s.Name)
			}
		}
	}
}

type exporterFunc func(label string, context []byte, length int) ([]byte, error)

func (f exporterFunc) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	return f(label, context, length)
}

func TestNewSessionFromExporter(t *testing.T) {
	t.Parallel()
	failing := errors.New("no keys")
	for _, tc := range []struct {
		name string
		e    Exporter
		h    crypto.Hash
		role Role
		want error
	}{
		{"nil exporter", nil, crypto.SHA256, Client, ErrMisuse},
		{"SHA-1", fakeExporter{crypto.SHA256}, crypto.SHA1, Client, ErrMisuse},
		{"SHA-512 is no suite's hash", fakeExporter{crypto.SHA256}, crypto.SHA512, Client, ErrMisuse},
		{"no role", fakeExporter{crypto.SHA256}, crypto.SHA256, 0, ErrMisuse},
		{"failing exporter", exporterFunc(func(string, []byte, int) ([]byte, error) { return nil, failing }), crypto.SHA256, Client, ErrConnection},
		{"A-8 short value", exporterFunc(func(_ string, _ []byte, n int) ([]byte, error) { return make([]byte, n-1), nil }), crypto.SHA256, Client, ErrConnection},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := NewSessionFromExporter(tc.e, tc.h, tc.role)
			requireError(t, err, tc.want, OpSession, FaultLocal)
			require.Nil(t, s)
		})
	}
	_, err := NewSessionFromExporter(exporterFunc(func(string, []byte, int) ([]byte, error) { return nil, failing }), crypto.SHA256, Client)
	require.ErrorIs(t, err, failing)
}

// what is asked of the exporter: four labels, the hash's length, a
// context that is empty and not absent.
func TestExporterCalls(t *testing.T) {
	t.Parallel()
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		var labels []string
		spy := exporterFunc(func(label string, context []byte, length int) ([]byte, error) {
			labels = append(labels, label)
			require.NotNil(t, context)
			require.Empty(t, context)
			require.Equal(t, h.Size(), length)
			return fakeExporter{h}.ExportKeyingMaterial(label, context, length)
		})
		s, err := NewSessionFromExporter(spy, h, Server)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{
			"EXPORTER-client authenticator handshake context", "EXPORTER-client authenticator finished key",
			"EXPORTER-server authenticator handshake context", "EXPORTER-server authenticator finished key",
		}, labels)
		require.Equal(t, h, s.Hash())
		require.Equal(t, Server, s.Role())
		require.Equal(t, uint16(tls.VersionTLS13), s.Version())
	}
}

// A-6, I-17: bounds before the exporter, which panics beyond its own.
func TestExportBounds(t *testing.T) {
	t.Parallel()
	s := connect(t, 0).client
	for _, tc := range []struct {
		name    string
		label   string
		context int
		length  int
		ok      bool
	}{
		{"shortest", "l", 0, 1, true},
		{"longest label", strings.Repeat("l", 200), 0, 32, true},
		{"longest context", "label", 65535, 32, true},
		{"longest value", "label", 0, 1024, true},
		{"no label", "", 0, 32, false},
		{"label too long", strings.Repeat("l", 201), 0, 32, false},
		{"context too long", "label", 65536, 32, false},
		{"no length", "label", 0, 0, false},
		{"negative length", "label", 0, -1, false},
		{"value too long", "label", 0, 1025, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out, err := s.Export(tc.label, make([]byte, tc.context), tc.length)
			if !tc.ok {
				requireError(t, err, ErrMisuse, OpSession, FaultLocal)
				require.Nil(t, out)
				return
			}
			require.NoError(t, err)
			require.Len(t, out, tc.length)
		})
	}
	absent, err := s.Export("label", nil, 32)
	require.NoError(t, err)
	empty, err := s.Export("label", []byte{}, 32)
	require.NoError(t, err)
	require.Equal(t, empty, absent)
}

// A-38, I-13: a proxy that ends TLS and carries the messages on. The signature
// fails, and comparing the check values tells why.
func TestTerminatingProxy(t *testing.T) {
	t.Parallel()
	outside, inside := connect(t, 0), connect(t, 0)
	r, err := outside.client.NewRequest(RequestOptions{})
	require.NoError(t, err)
	atServer := relay(t, r.Bytes(), outside.clientConn, outside.serverConn, inside.clientConn, inside.serverConn)
	received, err := inside.server.ReceiveRequest(atServer)
	require.NoError(t, err)
	b, err := inside.server.Authenticate(context.Background(), received, ecdsaIdentity(t))
	require.NoError(t, err)
	atClient := relay(t, b, inside.serverConn, inside.clientConn, outside.serverConn, outside.clientConn)
	_, err = outside.client.Validate(r, atClient, anyChain)
	requireError(t, err, ErrSignature, OpValidate, FaultPeer)

	check := func(s *Session) string {
		b, err := s.ConnectionCheck()
		require.NoError(t, err)
		require.Len(t, b, 16)
		return string(b)
	}
	require.Equal(t, check(outside.client), check(outside.server))
	require.NotEqual(t, check(outside.client), check(inside.server))
	require.NotContains(t, string(outside.client.keys[Client].handshakeContext), check(outside.client))
}

// relay sends b over two hops of TLS.
func relay(t *testing.T, b []byte, a, proxyIn, proxyOut, z *tls.Conn) []byte {
	t.Helper()
	hop := func(b []byte, from io.Writer, to io.Reader) []byte {
		_, err := from.Write(b)
		require.NoError(t, err)
		out := make([]byte, len(b))
		_, err = io.ReadFull(to, out)
		require.NoError(t, err)
		return out
	}
	return hop(hop(b, a, proxyIn), proxyOut, z)
}
