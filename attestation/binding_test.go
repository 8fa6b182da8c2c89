package attestation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
)

func unhex(s string) []byte { return must(hex.DecodeString(s)) }

// rfc8448 is the exporter of RFC 8446, Section 7.5 over the exporter master secret
// of the handshake in RFC 8448, Section 3.
type rfc8448 struct{}

func (rfc8448) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	master := unhex("fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50")
	empty, value := sha256.Sum256(nil), sha256.Sum256(context)
	return expandLabel(expandLabel(master, label, empty[:], 32), "exporter", value[:], length), nil
}

func expandLabel(secret []byte, label string, context []byte, length int) []byte {
	var b cryptobyte.Builder
	b.AddUint16(uint16(length))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
	return must(hkdf.Expand(sha256.New, secret, string(b.BytesOrPanic()), length))
}

// goldenSPKI and goldenContext are the inputs of the published values.
var (
	goldenSPKI = unhex("3059301306072a8648ce3d020106082a8648ce3d030107034200049d87bcaddb65d8dcf6df8b148a9679b5b710db19c95a" +
		"9badfff13468cb358b4e21d24a5c826112658ebb96d64e2985dfb41c1948334391a4aa81b67837e2dbf0")
	goldenContext = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
)

// C-1, C-2, C-3, D-1, D-2: the binder and the key hash, byte for byte.
func TestBindingGoldenValues(t *testing.T) {
	t.Parallel()
	for _, role := range []authenticator.Role{authenticator.Client, authenticator.Server} {
		s, err := authenticator.NewSessionFromExporter(rfc8448{}, crypto.SHA256, role)
		require.NoError(t, err)
		b, err := Expat04().bind(s, goldenContext, goldenSPKI)
		require.NoError(t, err)
		require.Equal(t, "3ef27304e0694e0965f134e918af9af8dc1851bc762a1b68eca20dd92e6ef6ed", hex.EncodeToString(b.Binder()))
		require.Equal(t, "4f62bbba0a65b47272c4154f4e62db5c7e6d5587d04c08e75093653bc3306bf9", hex.EncodeToString(b.KeyHash()))
		require.Equal(t, crypto.SHA256, b.Hash())
		require.Equal(t, goldenContext, b.Context())
		require.Equal(t, goldenSPKI, b.SPKI())
		// C-9: over the bits of the key alone it would be another value.
		require.False(t, b.MatchBinder(unhex("b8720712cc098b543aada2feb1f20dd6339c1552231e89639082fe5c017792f5")))

		old, err := Expat03().bind(s, goldenContext, goldenSPKI)
		require.NoError(t, err)
		exported := unhex("de6655915cadff0d4fe781e255b3cc28cf8cc5c647de58a1e38a59e40bc4ee39") // label "Attestation"
		want := sha256.Sum256(append(bytes.Clone(goldenSPKI), exported...))
		require.Equal(t, want[:], old.Binder())
		require.Equal(t, b.KeyHash(), old.KeyHash())
		require.False(t, b.same(old))
	}
}

// C-1, C-3, C-8: on a real connection with SHA-384: 32 bytes exported, 48 hashed.
func TestBindingSHA384(t *testing.T) {
	t.Parallel()
	p := connect(t, tls.TLS_AES_256_GCM_SHA384)
	atClient, err := Expat04().bind(p.client, goldenContext, goldenSPKI)
	require.NoError(t, err)
	atServer, err := Expat04().bind(p.server, goldenContext, goldenSPKI)
	require.NoError(t, err)
	require.True(t, atClient.same(atServer))
	exported, err := p.client.Export("EXPORTER-cmw-attestation", goldenContext, 32)
	require.NoError(t, err)
	want := sha512.Sum384(append(bytes.Clone(goldenSPKI), exported...))
	require.Equal(t, want[:], atServer.Binder())
	keyHash := sha512.Sum384(goldenSPKI)
	require.Equal(t, keyHash[:], atServer.KeyHash())
	require.Equal(t, crypto.SHA384, atServer.Hash())
}

// C-8: a 64-byte field commits to binder and key hash.
func TestReportData(t *testing.T) {
	t.Parallel()
	s := must(authenticator.NewSessionFromExporter(rfc8448{}, crypto.SHA256, authenticator.Client))
	b := must(Expat04().bind(s, goldenContext, goldenSPKI))
	in := append([]byte("expat-report-data-v1\x00"), b.Binder()...)
	want := sha512.Sum512(append(in, b.KeyHash()...))
	require.Equal(t, want, b.ReportData())
	require.True(t, b.MatchReportData(want[:]))
	require.False(t, b.MatchReportData(want[:63]))
	require.False(t, b.MatchReportData(append(want[:], 0)))
	require.False(t, b.MatchReportData(b.Binder()))
}

// What matches is equal in every byte and in length.
func TestMatch(t *testing.T) {
	t.Parallel()
	s := must(authenticator.NewSessionFromExporter(rfc8448{}, crypto.SHA256, authenticator.Client))
	b := must(Expat04().bind(s, goldenContext, goldenSPKI))
	reportData := b.ReportData()
	for name, m := range map[string]struct {
		match func([]byte) bool
		value []byte
	}{
		"binder":      {b.MatchBinder, b.Binder()},
		"key hash":    {b.MatchKeyHash, b.KeyHash()},
		"report data": {b.MatchReportData, reportData[:]},
		"key":         {b.MatchKey, b.SPKI()},
	} {
		require.True(t, m.match(m.value), name)
		require.False(t, m.match(nil), name)
		require.False(t, m.match(m.value[:len(m.value)-1]), name)
		require.False(t, m.match(append(bytes.Clone(m.value), 0)), name)
		for i := range m.value {
			changed := bytes.Clone(m.value)
			changed[i] ^= 1
			require.False(t, m.match(changed), "%s, byte %d", name, i)
		}
	}
}

// The zero Binding matches nothing, not even what it would compute.
func TestZeroBindingMatchesNothing(t *testing.T) {
	t.Parallel()
	var zero Binding
	require.False(t, zero.Valid())
	reportData := zero.ReportData()
	for _, got := range [][]byte{nil, {}, make([]byte, 32), reportData[:]} {
		require.False(t, zero.MatchBinder(got))
		require.False(t, zero.MatchKeyHash(got))
		require.False(t, zero.MatchReportData(got))
		require.False(t, zero.MatchKey(got))
	}
	require.False(t, zero.same(Binding{}))
	var none *Result
	require.False(t, none.Answers(zero))
	require.False(t, (&Result{}).Answers(zero))
}

// C-6, B-9, E-9: another connection, request or key is another binding.
func TestBindingsDiffer(t *testing.T) {
	t.Parallel()
	one, two := connect(t, 0), connect(t, 0)
	b := must(Expat04().bind(one.client, goldenContext, goldenSPKI))
	otherContext := append(bytes.Clone(goldenContext), 1)
	otherKey := append(bytes.Clone(goldenSPKI), 1)
	for name, other := range map[string]Binding{
		"connection": must(Expat04().bind(two.client, goldenContext, goldenSPKI)),
		"context":    must(Expat04().bind(one.client, otherContext, goldenSPKI)),
		"key":        must(Expat04().bind(one.client, goldenContext, otherKey)),
		"profile":    must(Expat03().bind(one.client, goldenContext, goldenSPKI)),
	} {
		require.False(t, b.same(other), name)
		require.NotEqual(t, b.Binder(), other.Binder(), name)
		require.NotEqual(t, b.ReportData(), other.ReportData(), name)
	}
	require.True(t, b.same(must(Expat04().bind(one.server, goldenContext, goldenSPKI))))
}

type failingExporter struct{ fakeExporter }

var errExporter = errors.New("no keys")

func (e failingExporter) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	if label == "EXPORTER-cmw-attestation" {
		return nil, errExporter
	}
	return e.fakeExporter.ExportKeyingMaterial(label, context, length)
}

// What has no binding: too short a context, another version, no profile.
func TestBindRefuses(t *testing.T) {
	t.Parallel()
	good := exporterPair().client
	failing := must(authenticator.NewSessionFromExporter(failingExporter{}, crypto.SHA256, authenticator.Client))
	for _, tc := range []struct {
		name    string
		p       Profile
		s       *authenticator.Session
		context []byte
		spki    []byte
		want    error
	}{
		{"shortest context", Expat04(), good, make([]byte, 16), goldenSPKI, nil},
		{"longest context", Expat04(), good, make([]byte, 255), goldenSPKI, nil},
		{"context too short", Expat04(), good, make([]byte, 15), goldenSPKI, ErrContext},
		{"no context", Expat04(), good, nil, goldenSPKI, ErrContext},
		{"no profile", Profile{}, good, goldenContext, goldenSPKI, ErrMisuse},
		{"no key", Expat04(), good, goldenContext, nil, ErrMisuse},
		{"TLS 1.2", Expat04(), tls12(t).client, goldenContext, goldenSPKI, ErrConnection},
		{"no exporter", Expat04(), failing, goldenContext, goldenSPKI, ErrConnection},
	} {
		b, err := tc.p.bind(tc.s, tc.context, tc.spki)
		if tc.want == nil {
			require.NoError(t, err, tc.name)
			require.True(t, b.Valid(), tc.name)
			continue
		}
		require.ErrorIs(t, err, tc.want, tc.name)
		require.False(t, b.Valid(), tc.name)
	}
}

func tls12(t *testing.T) pair {
	client, server := tlspair.Connect(t,
		&tls.Config{RootCAs: newCA().Pool(), ServerName: "server.test", MaxVersion: tls.VersionTLS12},
		&tls.Config{Certificates: []tls.Certificate{cert()}})
	return pair{
		must(authenticator.NewSessionTLS12(client.ConnectionState(), authenticator.Client)),
		must(authenticator.NewSessionTLS12(server.ConnectionState(), authenticator.Server)),
	}
}

// E, DESIGN 4: attestation on TLS 1.2 is refused on both sides before anybody is asked.
func TestTLS12IsNotAttested(t *testing.T) {
	t.Parallel()
	p := tls12(t)
	never := attester{[]string{mediaType}, func(context.Context, Binding, []string) (*cmw.Message, error) { panic("asked") }}
	_, received := ask(t, p.client, p.server, offering(Expat04()))
	_, err := Attest(context.Background(), Expat04(), received, identity(), never, []string{mediaType})
	require.ErrorIs(t, err, ErrConnection)

	m, err := cmw.NewRecord(mediaType, []byte("evidence"), cmw.Evidence)
	require.NoError(t, err)
	e, err := Expat04().encode(m)
	require.NoError(t, err)
	peer := answer(t, p.client, p.server, offering(Expat04()), e)
	_, err = Appraise(context.Background(), Expat04(), peer, strict())
	require.ErrorIs(t, err, ErrConnection)
}
