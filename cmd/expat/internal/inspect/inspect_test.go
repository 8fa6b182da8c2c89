package inspect

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ group, input, kind string }{
		{"request", "message", "authenticator request"},
		{"authenticator", "authenticator", "authenticator (RFC"},
		{"cmw", "message", "CMW (RFC 9999)"},
		{"simulated_evidence", "evidence", "Evidence of a simulated TEE"},
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
				require.Equal(t, cmp.Or(want, "none"), field(r, "context"), c.ID)
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
	for _, input := range [][]byte{make([]byte, MaxInput), []byte("hello, world"), {1}, []byte(" "), []byte("=")} {
		_, err := Inspect(context.Background(), input, Options{At: at})
		require.Equal(t, ErrUnknown, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Inspect(ctx, []byte("x"), Options{At: at})
	require.ErrorIs(t, err, context.Canceled)
}
