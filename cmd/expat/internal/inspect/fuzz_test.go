package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/testdata/vectors"
)

// Whatever comes in, Inspect answers with a report that says that nothing is
// verified, or with an error of its own. What is written is printable.
func FuzzInspect(f *testing.F) {
	var seeds [][]byte
	for _, b := range kinds(f) {
		seeds = append(seeds, b)
	}
	for group, member := range map[string]string{
		"request": "message", "authenticator": "authenticator", "cmw": "message", "simulated_evidence": "evidence",
	} {
		published, err := vectors.Seeds(group, member)
		require.NoError(f, err)
		seeds = append(seeds, published...)
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
			require.True(t, err == ErrSize || errors.Is(err, ErrUnknown), err)
			return
		}
		unverified(t, r)
		_, err = json.Marshal(r)
		require.NoError(t, err)
		var text bytes.Buffer
		require.NoError(t, r.WriteText(&text))
		require.Equal(t, -1, strings.IndexFunc(text.String(), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }))
	})
}

func unverified(t *testing.T, r *Report) {
	t.Helper()
	require.False(t, r.Verified)
	require.True(t, strings.HasPrefix(r.Note, NothingVerified))
	require.NotEmpty(t, r.Kind)
	for _, p := range r.Parts {
		unverified(t, p)
	}
}
