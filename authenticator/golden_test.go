package authenticator

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
)

func unhex(s string) []byte { return must(hex.DecodeString(s)) }

// rfc8448 is the exporter of RFC 8446, Section 7.5 over the exporter master secret
// of the handshake in RFC 8448, Section 3 (SHA-256).
type rfc8448 struct{}

func (rfc8448) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	master := unhex("fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50")
	empty, value := sha256.Sum256(nil), sha256.Sum256(context)
	derived := expandLabel(master, label, empty[:], sha256.Size)
	return expandLabel(derived, "exporter", value[:], length), nil
}

func expandLabel(secret []byte, label string, context []byte, length int) []byte {
	var b cryptobyte.Builder
	b.AddUint16(uint16(length))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
	return must(hkdf.Expand(sha256.New, secret, string(b.BytesOrPanic()), length))
}

// the four values by the sender's role, from the
// exporter master secret, with an empty context.
func TestExporterGoldenValues(t *testing.T) {
	t.Parallel()
	want := map[Role]roleKeys{
		Client: {
			handshakeContext: unhex("3ce40ddfb5a8566480bb683fa63f43f1d6d52ab962854a98a3c080d81ed5631f"),
			finishedKey:      unhex("34db53a0d817c518dc905f36e253a11271904ea43778358aaeb85d377a4fe0fb"),
		},
		Server: {
			handshakeContext: unhex("b5920228102885ce3bbc879252d7c4ae80f47616cdc91456338427e7890941b0"),
			finishedKey:      unhex("d7571ccc1577b04277765da1c875d933be15717b3ecf45d0708431fa077df54d"),
		},
	}
	for _, self := range []Role{Client, Server} {
		s, err := NewSessionFromExporter(rfc8448{}, crypto.SHA256, self)
		require.NoError(t, err)
		require.Equal(t, want[Client], s.keys[Client])
		require.Equal(t, want[Server], s.keys[Server])
	}
}

// constant exports the same bytes whatever the label, so that both Handshake
// Context and Finished key have them.
type constant string

func (c constant) ExportKeyingMaterial(string, []byte, int) ([]byte, error) { return []byte(c), nil }

// a request and its refusal, byte for byte.
func TestRefusalGoldenValues(t *testing.T) {
	t.Parallel()
	const body = "14303132333435363738396162636465666768696a0008000d000400020403"
	for _, tc := range []struct {
		name             string
		asker            Role
		request, refusal string
	}{
		{
			"CertificateRequest", Server, "0d00001f" + body,
			"14000020c6558d626bf2fa60477e003306525df98b168784616d0b757aaf4b87823fc886",
		},
		{
			"ClientCertificateRequest", Client, "1100001f" + body,
			"14000020b457074e01e28a3c33217f20d2f63aef25ce15afcfc589877c4373fea6a843c3",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := constant("12345678901234567890123456789012")
			asker, err := NewSessionFromExporter(e, crypto.SHA256, tc.asker)
			require.NoError(t, err)
			answerer, err := NewSessionFromExporter(e, crypto.SHA256, tc.asker.peer())
			require.NoError(t, err)
			r, received := ask(t, asker, answerer, RequestOptions{
				Context:          []byte("0123456789abcdefghij"),
				SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
			})
			require.Equal(t, tc.request, hex.EncodeToString(r.Bytes()))
			refusal, err := answerer.Refuse(received)
			require.NoError(t, err)
			require.Equal(t, tc.refusal, hex.EncodeToString(refusal))
			_, err = asker.Validate(r, refusal, anyChain)
			requireError(t, err, ErrRefused, OpValidate, FaultPeer)
		})
	}
}

// an authenticator taken apart and computed again
// without the code under test.
func TestAuthenticatorComputedAgain(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	for _, tc := range []struct {
		name        string
		from, to    *Session
		sender      string
		spontaneous bool
	}{
		{"server", p.client, p.server, "server", false},
		{"client", p.server, p.client, "client", false},
		{"spontaneous", p.client, p.server, "server", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var request, context, b []byte
			if tc.spontaneous {
				b = spontaneous(t, tc.to)
				context = must(Context(b))
			} else {
				r, msg := exchange(t, tc.from, tc.to, RequestOptions{}, ecdsaIdentity(t))
				request, context, b = r.Bytes(), r.Context(), msg
			}
			e := fakeExporter{crypto.SHA256}
			handshakeContext := must(e.ExportKeyingMaterial("EXPORTER-"+tc.sender+" authenticator handshake context", nil, 32))
			key := must(e.ExportKeyingMaterial("EXPORTER-"+tc.sender+" authenticator finished key", nil, 32))

			certificate, rest := cutMessage(t, b, 11)
			verify, finished := cutMessage(t, rest, 15)
			require.Equal(t, context, certificate[5:5+int(certificate[4])])

			h := sha256.New()
			h.Write(handshakeContext)
			h.Write(request)
			h.Write(certificate)
			content := sha256.Sum256(append([]byte(strings.Repeat(" ", 64)+"Exported Authenticator\x00"), h.Sum(nil)...))
			require.Equal(t, []byte{4, 3}, verify[4:6])
			require.True(t, ecdsa.VerifyASN1(&newKey().PublicKey, content[:], verify[8:]))

			h.Write(verify)
			mac := hmac.New(sha256.New, key)
			mac.Write(h.Sum(nil))
			require.Equal(t, append([]byte{20, 0, 0, 32}, mac.Sum(nil)...), finished)
		})
	}
}

// cutMessage takes one framed message of a type off b.
func cutMessage(t testing.TB, b []byte, typ byte) (message, rest []byte) {
	t.Helper()
	require.Equal(t, typ, b[0])
	n := 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
	return b[:n], b[n:]
}

// spontaneous is an authenticator that s makes unasked.
func spontaneous(t testing.TB, s *Session) []byte {
	t.Helper()
	b, err := s.AuthenticateSpontaneous(context.Background(), hello(), ecdsaIdentity(t))
	require.NoError(t, err)
	return b
}
