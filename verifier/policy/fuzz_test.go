package policy_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/verifier/policy"
)

// FuzzParse: whatever a file holds, the parser returns a policy that says the same
// the next time, or errors that are all of its kind and bounded.
func FuzzParse(f *testing.F) {
	l := newLab(f)
	dir := l.dir(f)
	seeds := 0
	add := func(text string) {
		f.Add([]byte(text))
		seeds++
	}
	add(good())
	add(composite(l))
	for _, c := range refusals() {
		add(c.text())
	}
	for _, text := range examples(f) {
		add(text)
	}
	if seeds < 50 {
		f.Fatal("there are too few seeds")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, elsewhere := range []string{"..", ": /", ":/", `"/`, "'/"} {
			if bytes.Contains(data, []byte(elsewhere)) {
				return // file names that lead out of the directory
			}
		}
		p, err := parse(dir, string(data), options())
		if err != nil {
			all := policy.Errors(err)
			require.Nil(t, p)
			require.NotEmpty(t, all)
			require.LessOrEqual(t, len(all), 101)
			for _, e := range all {
				require.True(t, errors.Is(e, policy.ErrFile))
				require.NotEmpty(t, e.Problem)
				require.Less(t, len(e.Error()), 4096)
			}
			return
		}
		require.NotEmpty(t, p.MediaTypes())
		require.NotEmpty(t, p.Environments())
		again, err := parse(dir, string(data), options())
		require.NoError(t, err)
		require.Equal(t, p.Digest(), again.Digest())
		require.Equal(t, p.ID(), again.ID())
		_, err = policy.Parse(context.Background(), append(bytes.Clone(data), "\ndraft: true\n"...), options())
		require.Error(t, err)
	})
}

// examples are the policies of the documentation.
func examples(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	var out []string
	for _, part := range bytes.Split(b, []byte("```yaml\n"))[1:] {
		text, _, closed := bytes.Cut(part, []byte("```"))
		require.True(t, closed)
		out = append(out, string(text))
	}
	return out
}
