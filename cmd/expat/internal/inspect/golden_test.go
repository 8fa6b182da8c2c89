package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	snp "github.com/google/go-sev-guest/verify/testdata"
	quotes "github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence/tdx"
	"github.com/expat-go/expat/internal/detcbor"
)

var update = flag.Bool("update", false, "write the golden output anew")

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := detcbor.Encode(v)
	require.NoError(t, err)
	return b
}

// frame is the body of the first frame of a kind in the vectors of the transcript.
func frame(t testing.TB, kind string) []byte {
	t.Helper()
	frames, ok := load(t, "transcript").Cases[0].Input["frames"].([]any)
	require.True(t, ok)
	for _, f := range frames {
		text, ok := f.(map[string]any)["frame"].(string)
		require.True(t, ok)
		if text[:2] == kind {
			return unhex(t, text[8:])
		}
	}
	t.Fatal("no such frame")
	return nil
}

// refusal is an empty authenticator.
func refusal(t testing.TB) []byte {
	t.Helper()
	for _, c := range load(t, "authenticator").Cases {
		if c.ID == "refused-sha256-server" {
			return unhex(t, c.Input["authenticator"])
		}
	}
	t.Fatal("no such case")
	return nil
}

// kinds are one of each kind that is known.
func kinds(t testing.TB) map[string][]byte {
	t.Helper()
	token, pcrs := captured(t, "simulated/testdata/token.cbor"), captured(t, "tpm/testdata/evidence.cbor")
	return map[string][]byte{
		"request": frame(t, "02"), "authenticator": frame(t, "03"), "empty-authenticator": refusal(t),
		"cmw-json": []byte(`{"__cmwc_t":"tag:example.com,2026:two","one":["a/b","AQ",4],"two":["application/x","Ag"]}`),
		"cmw-collection": encode(t, map[string]any{
			"tee": []any{`application/eat+cwt; eat_profile="https://github.com/expat-go/expat/profiles/simulated"`, token, 4},
			"tpm": []any{"application/vnd.expat-go.tpm2+cbor", pcrs[:len(pcrs)-1], 4},
		}),
		"simulated": token, "tpm": pcrs,
		"snp":        encode(t, map[int]any{1: snp.AttestationBytes[:snpReportSize], 2: [][]byte{snp.VcekBytes}}),
		"snp-report": snp.AttestationBytes[:snpReportSize],
		"tdx":        encode(t, map[int]any{1: tdx.TrimQuote(quotes.RawQuote)}),
		"tdx-quote":  quotes.RawQuote,
		"tdx-quote5": quotes.RawQuoteV5,
	}
}

// TestGolden fixes what people read of one of each kind; `go test -update` writes it
// anew. The same is in the JSON.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, input := range kinds(t) {
		o := Options{At: at}
		if name == "simulated" || name == "tpm" {
			o.Roots = root(t, name)
			o.At = o.Roots[0].NotBefore.Add(time.Hour)
		}
		r := inspectAll(t, input, o)
		require.Equal(t, len(input), r.Size)
		var text bytes.Buffer
		require.NoError(t, r.WriteText(&text))
		golden := filepath.Join("testdata", name+".txt")
		if *update {
			require.NoError(t, os.WriteFile(golden, text.Bytes(), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), text.String(), name)

		encoded, err := json.Marshal(r)
		require.NoError(t, err)
		var again Report
		require.NoError(t, json.Unmarshal(encoded, &again))
		require.Equal(t, *r, again, name)
	}
}

// TestMalformed: what begins as something known and is not of its form is named, with
// what is wrong.
func TestMalformed(t *testing.T) {
	t.Parallel()
	all := kinds(t)
	cut := func(name string) []byte { return all[name][:len(all[name])-1] }
	changed := func(name string, at int) []byte {
		b := bytes.Clone(all[name])
		b[at] ^= 0xff
		return b
	}
	for name, c := range map[string]struct {
		input []byte
		want  string
	}{
		"request":             {cut("request"), "an authenticator request, but: authenticator: authenticate: malformed message"},
		"request of nothing":  {[]byte{13}, "an authenticator request, but: authenticator: authenticate: malformed message"},
		"authenticator":       {cut("authenticator"), "an authenticator, but: authenticator: get context: malformed message"},
		"empty authenticator": {cut("empty-authenticator"), "an authenticator, but: authenticator: get context: malformed message"},
		"CMW in JSON":         {cut("cmw-json"), "a CMW, but: cmw: decode: at byte 88: not a record, tag or collection of RFC 9999"},
		"CMW in CBOR":         {cut("cmw-collection"), "a CMW, but: cmw: decode: at byte 0: not a record, tag or collection of RFC 9999"},
		"simulated":           {cut("simulated"), "Evidence of a simulated TEE, but: malformed Evidence: COSE_Sign1: not CBOR of the expected structure"},
		"tpm":                 {cut("tpm"), "Evidence of a TPM 2.0, but: malformed Evidence: CBOR: not CBOR of the expected structure"},
		"snp":                 {cut("snp"), "Evidence of AMD SEV-SNP, but: malformed Evidence: message: not CBOR of the expected structure"},
		"snp report":          {changed("snp-report", 0x4c), "Evidence of AMD SEV-SNP, but: malformed Evidence: report: the report is not one of the SEV-SNP ABI, version 2 to 5"},
		"tdx":                 {cut("tdx"), "Evidence of Intel TDX, but: malformed Evidence: message: not CBOR of the expected structure"},
		"tdx quote":           {all["tdx-quote"][:4000], "Evidence of Intel TDX, but: malformed Evidence: quote: the quote is not one of TDX, version 4 or 5, with an ECDSA key and its PCK chain"},
	} {
		r, err := Inspect(context.Background(), c.input, Options{At: at})
		require.Nil(t, r, name)
		require.ErrorIs(t, err, ErrUnknown, name)
		var malformed *MalformedError
		require.ErrorAs(t, err, &malformed, name)
		require.EqualError(t, err, "it begins as "+c.want, name)
		require.ErrorIs(t, err, malformed.Err)
	}
}
