package authenticator

import (
	"bytes"
	"crypto/tls"
	"encoding/asn1"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
)

// anyBytes is at most n bytes, non-nil.
func anyBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, rng.IntN(n+1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// anyExtensions is up to n extensions of different types.
func anyExtensions(rng *rand.Rand, n int) []Extension {
	var list []Extension
	for _, typ := range rng.Perm(0xffff)[:rng.IntN(n+1)] {
		list = append(list, Extension{uint16(typ), anyBytes(rng, 40)})
	}
	return list
}

// testRoundTrip: what is encoded is parsed to the same value, and no proper prefix is.
func testRoundTrip(t *testing.T, f func(rng *rand.Rand) (encoded []byte, parse func([]byte) (same bool))) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		b, parse := f(rng)
		require.True(t, parse(b), "seed %d: %x", seed, b)
		for n := range b {
			require.False(t, parse(b[:n]), "seed %d: first %d bytes of %x", seed, n, b)
		}
		require.False(t, parse(append(bytes.Clone(b), 0)), "seed %d: %x00", seed, b)
	}
}

//
func TestRequestRoundTrip(t *testing.T) {
	testRoundTrip(t, func(rng *rand.Rand) ([]byte, func([]byte) bool) {
		typ := []uint8{typeCertificateRequest, typeClientCertificateRequest}[rng.IntN(2)]
		want := &parsedRequest{typ: typ, context: anyBytes(rng, 255), extensions: anyExtensions(rng, 20)}
		want.raw = appendRequest(typ, want.context, want.extensions)
		return want.raw, func(b []byte) bool {
			got, err := parseRequest(b)
			if err == nil {
				require.Equal(t, want, got)
			}
			return err == nil
		}
	})
}

//
func TestAuthenticatorRoundTrip(t *testing.T) {
	testRoundTrip(t, func(rng *rand.Rand) ([]byte, func([]byte) bool) {
		want := &parsedAuthenticator{
			context: anyBytes(rng, 255), scheme: tls.SignatureScheme(rng.Uint32()),
			signature: anyBytes(rng, 100), verifyData: anyBytes(rng, 48),
		}
		for range 1 + rng.IntN(3) {
			want.entries = append(want.entries, Entry{append(anyBytes(rng, 100), 1), anyExtensions(rng, 3)})
		}
		want.certificate = appendCertificate(nil, want.context, want.entries)
		want.verify = appendVerify(nil, want.scheme, want.signature)
		msg := appendFinished(bytes.Join([][]byte{want.certificate, want.verify}, nil), want.verifyData)
		return msg, func(b []byte) bool {
			got, err := parseAuthenticator(b)
			if err == nil {
				require.Equal(t, want, got)
			}
			return err == nil
		}
	})
}

//
func TestEmptyAuthenticatorRoundTrip(t *testing.T) {
	testRoundTrip(t, func(rng *rand.Rand) ([]byte, func([]byte) bool) {
		want := anyBytes(rng, 48)
		return appendFinished(nil, want), func(b []byte) bool {
			got, err := parseAuthenticator(b)
			if err == nil {
				require.Equal(t, &parsedAuthenticator{empty: true, verifyData: want}, got)
			}
			return err == nil
		}
	})
}

// The bodies of the extensions this package understands.
func TestExtensionBodyRoundTrip(t *testing.T) {
	bodies := map[string]func(rng *rand.Rand) ([]byte, func([]byte) bool){
		"schemes": func(rng *rand.Rand) ([]byte, func([]byte) bool) {
			want := []tls.SignatureScheme{tls.SignatureScheme(rng.Uint32())}
			for range rng.IntN(10) {
				want = append(want, tls.SignatureScheme(rng.Uint32()))
			}
			return encodeSchemes(want), func(b []byte) bool {
				var got []tls.SignatureScheme
				ok := readSchemes(b, &got)
				require.True(t, !ok || len(got) == len(want) && got[0] == want[0])
				return ok
			}
		},
		"server name": func(rng *rand.Rand) ([]byte, func([]byte) bool) {
			want := string(append(anyBytes(rng, 50), 'a'))
			return encodeServerName(want), func(b []byte) bool {
				var got string
				ok := readServerName(b, &got)
				require.True(t, !ok || got == want)
				return ok
			}
		},
		"authorities": func(rng *rand.Rand) ([]byte, func([]byte) bool) {
			want := [][]byte{append(anyBytes(rng, 30), 1), append(anyBytes(rng, 30), 2)}
			return encodeAuthorities(want), func(b []byte) bool {
				var got [][]byte
				ok := readAuthorities(b, &got)
				require.True(t, !ok || len(got) == 2 && bytes.Equal(got[0], want[0]) && bytes.Equal(got[1], want[1]))
				return ok
			}
		},
		"OID filters": func(rng *rand.Rand) ([]byte, func([]byte) bool) {
			want := []OIDFilter{{oidKeyUsage, anyBytes(rng, 20)}, {oidExtKeyUsage, anyBytes(rng, 20)}}
			sent := append([]OIDFilter{{asn1.ObjectIdentifier{1, 2, 3}, anyBytes(rng, 20)}}, want...)
			return must(encodeOIDFilters(sent)), func(b []byte) bool {
				var got []OIDFilter
				ok := readOIDFilters(b, &got)
				require.True(t, !ok || len(got) == 2 && bytes.Equal(got[0].Values, want[0].Values) && bytes.Equal(got[1].Values, want[1].Values))
				return ok
			}
		},
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) { testRoundTrip(t, body) })
	}
}

// an extension block with its own prefix; found in short lists and long ones.
func TestExtensionsRoundTrip(t *testing.T) {
	testRoundTrip(t, func(rng *rand.Rand) ([]byte, func([]byte) bool) {
		want := anyExtensions(rng, 30)
		return appendExtensions(nil, want), func(b []byte) bool {
			s := cryptobyte.String(b)
			got, err := readExtensions(&s)
			if err != nil || !s.Empty() {
				return false
			}
			require.Equal(t, want, got)
			if len(want) > 0 {
				twice := append(want[:len(want):len(want)], Extension{Type: want[rng.IntN(len(want))].Type})
				s = appendExtensions(nil, twice)
				_, err = readExtensions(&s)
				require.ErrorIs(t, err, ErrIllegalExtension)
			}
			return true
		}
	})
}
