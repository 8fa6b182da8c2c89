package inspect

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	snp "github.com/google/go-sev-guest/verify/testdata"
	quotes "github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/testdata/vectors"
)

// at is when the certificates of the captured reports are valid.
var at = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// group is what of a file of vectors is looked at here.
type group struct {
	Cases []struct {
		ID, Result string
		Input      map[string]any
		Expected   map[string]any
	}
}

func load(t testing.TB, name string) group {
	t.Helper()
	b, err := vectors.Files.ReadFile(name + ".json")
	require.NoError(t, err)
	var g group
	require.NoError(t, json.Unmarshal(b, &g))
	require.NotEmpty(t, g.Cases)
	return g
}

func unhex(t testing.TB, v any) []byte {
	t.Helper()
	text, ok := v.(string)
	require.True(t, ok)
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

func field(r *Report, name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func inspectAll(t testing.TB, b []byte, o Options) *Report {
	t.Helper()
	r, err := Inspect(context.Background(), b, o)
	require.NoError(t, err)
	require.False(t, r.Verified)
	require.True(t, strings.HasPrefix(r.Note, NothingVerified))
	return r
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ group, input, kind string }{
		{"request", "message", "authenticator request"},
		{"authenticator", "authenticator", "authenticator (RFC"},
		{"cmw", "message", "CMW (RFC 9999)"},
		{"simulated_evidence", "evidence", "Evidence of simulated TEE"},
	} {
		seen := 0
		for _, c := range load(t, v.group).Cases {
			b := unhex(t, c.Input[v.input])
			if c.Result != "valid" || len(b) == 0 || b[0] == 20 { // an empty authenticator is a Finished alone
				_, _ = Inspect(context.Background(), b, Options{At: at})
				continue
			}
			seen++
			r := inspectAll(t, b, Options{At: at})
			require.Contains(t, r.Kind, v.kind, c.ID)
			require.Equal(t, len(b), r.Size)
			require.Equal(t, "binary", r.Encoding)
			if want, ok := c.Expected["context"].(string); ok && v.group == "request" {
				require.Equal(t, want, field(r, "context"), c.ID)
			}
		}
		require.NotZero(t, seen, v.group)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	b := unhex(t, load(t, "request").Cases[0].Input["message"])
	text := hex.EncodeToString(b)
	for name, input := range map[string]string{
		"hex": text[:10] + "\n " + text[10:] + "\n", "base64": base64.StdEncoding.EncodeToString(b) + "\n",
	} {
		r := inspectAll(t, []byte(input), Options{At: at})
		require.Equal(t, name, r.Encoding)
		require.Equal(t, len(b), r.Size)
	}
	r := inspectAll(t, []byte(base64.RawURLEncoding.EncodeToString(b)), Options{At: at})
	require.Equal(t, "base64", r.Encoding)
	for _, input := range [][]byte{nil, make([]byte, MaxInput+1)} {
		_, err := Inspect(context.Background(), input, Options{At: at})
		require.ErrorIs(t, err, ErrSize)
	}
	for _, input := range [][]byte{make([]byte, MaxInput), []byte("hello, world"), {11}, {13}, {17}, []byte(" "), []byte("=")} {
		_, err := Inspect(context.Background(), input, Options{At: at})
		require.ErrorIs(t, err, ErrUnknown)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Inspect(ctx, []byte("x"), Options{At: at})
	require.ErrorIs(t, err, context.Canceled)
}

func root(t testing.TB, dir string) []*x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../evidence", dir, "testdata/root.pem"))
	require.NoError(t, err)
	block, _ := pem.Decode(b)
	require.NotNil(t, block)
	c, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return []*x509.Certificate{c}
}

func captured(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../evidence", path))
	require.NoError(t, err)
	return b
}

// Captured Evidence: with the maker's root the claims are shown, without it what is
// missing.
func TestEvidence(t *testing.T) {
	t.Parallel()
	encoder, err := cbor.CoreDetEncOptions().EncMode()
	require.NoError(t, err)
	withCertificate, err := encoder.Marshal(map[int]any{1: snp.AttestationBytes[:snpReportSize], 2: [][]byte{snp.VcekBytes}})
	require.NoError(t, err)
	quote := bytes.Clone(quotes.RawQuote)
	const end = "-----END CERTIFICATE-----\n"
	quote = append(quote[:bytes.LastIndex(quote, []byte(end))+len(end)], 0, 0, 0) // what follows is none of it
	for name, c := range map[string]struct {
		input   []byte
		dir     string
		kind    string
		field   string
		pattern string
	}{
		"simulated":          {captured(t, "simulated/testdata/token.cbor"), "simulated", "Evidence of simulated TEE", "key", "^born-inside$"},
		"simulated, foreign": {captured(t, "simulated/testdata/token.cbor"), "", "Evidence of simulated TEE", "claims", "^not shown: signer of the Evidence is not trusted"},
		"tpm":                {captured(t, "tpm/testdata/evidence.cbor"), "tpm", "Evidence of TPM 2.0", "measurement", "^pcr:sha256:"},
		"tpm, foreign":       {captured(t, "tpm/testdata/evidence.cbor"), "", "Evidence of TPM 2.0", "claims", "^not shown: "},
		"snp":                {withCertificate, "", "Evidence of AMD SEV-SNP", "measurement", "^launch sha-384 [0-9a-f]{96}$"},
		"snp report":         {snp.AttestationBytes[:snpReportSize], "", "Evidence of AMD SEV-SNP", "claims", "not shown: .*certificate of the signing key is missing"},
		"tdx quote":          {quote, "", "Evidence of Intel TDX", "measurement", "^mrtd sha-384 [0-9a-f]{96}$"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{At: at}
			if c.dir != "" {
				o.Roots = root(t, c.dir)
				o.At = o.Roots[0].NotBefore.Add(time.Hour)
			}
			r := inspectAll(t, c.input, o)
			require.Contains(t, r.Kind, c.kind)
			require.Regexp(t, c.pattern, field(r, c.field), "%+v", r.Fields)
		})
	}
}

// Whatever comes in, Inspect answers with a report that says that nothing is
// verified, or with an error of its own.
func FuzzInspect(f *testing.F) {
	seeds := [][]byte{
		captured(f, "simulated/testdata/token.cbor"), captured(f, "tpm/testdata/evidence.cbor"),
		snp.AttestationBytes[:snpReportSize], quotes.RawQuote, []byte(`["a/b","AQ"]`),
	}
	for _, c := range load(f, "request").Cases {
		seeds = append(seeds, unhex(f, c.Input["message"]))
	}
	for _, c := range load(f, "cmw").Cases {
		seeds = append(seeds, unhex(f, c.Input["message"]))
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Inspect(context.Background(), b, Options{At: at})
		if err != nil {
			require.Nil(t, r)
			require.True(t, err == ErrSize || err == ErrUnknown, err)
			return
		}
		require.False(t, r.Verified)
		require.Contains(t, r.Note, NothingVerified)
	})
}
