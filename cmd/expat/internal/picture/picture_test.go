package picture

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmd/expat/internal/show"
)

func example() Page {
	return Page{
		Title: "an exchange", Subtitle: "of a test",
		Steps: []show.Step{
			{Who: "client", What: "connect", Note: "TCP"},
			{At: 2 * time.Millisecond, Who: "client -> server", What: "REQUEST", Note: "prove it", Bytes: 100},
			{At: 3 * time.Millisecond, Who: "server", What: "attest", Took: time.Millisecond},
			{At: 4 * time.Millisecond, Who: "server -> client", What: "AUTHENTICATOR", Bytes: 23},
			{At: 5 * time.Millisecond, Who: "client", What: "open"},
		},
		Learned: []*show.Learned{{Of: "server", Tier: "affirming"}},
		Attacks: []Attack{{Name: "replay", Does: "again", Outcome: "refused", Step: "validate", Lesson: "fresh"}},
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	f := layout(example())
	require.Equal(t, 2, f.Frames)
	require.Equal(t, 123, f.Bytes)
	require.Len(t, f.Rows, 5)
	require.Greater(t, f.Height, f.Rows[4].BoxY+f.BoxHeight)
	for i, want := range []struct {
		frame, good bool
		from, to    int
		size        string
	}{
		{}, {frame: true, from: clientX, to: serverX - arrowInset, size: "100 bytes"}, {size: "1.00 ms"},
		{frame: true, from: serverX, to: clientX + arrowInset, size: "23 bytes"}, {good: true},
	} {
		r := f.Rows[i]
		require.Equal(t, want.frame, r.Frame, i)
		require.Equal(t, want.good, r.Good, i)
		require.Equal(t, want.from, r.FromX, i)
		require.Equal(t, want.to, r.ToX, i)
		require.Equal(t, want.size, r.Size, i)
	}
	require.Equal(t, serverX, f.Rows[2].MiddleX)
}

// What a peer says is text on the page, never markup, and never without end.
func TestWriteEscapes(t *testing.T) {
	t.Parallel()
	const hostile = `"><script>alert(1)</script>`
	p := example()
	p.Title, p.Error = hostile, hostile+strings.Repeat("x", 2*maxError)
	p.Steps[1].Note = hostile + strings.Repeat("y", 2*maxText)
	p.Learned[0].Tier = hostile
	p.Attacks[0].Name = hostile
	var b bytes.Buffer
	require.NoError(t, Write(&b, p))
	require.NotContains(t, b.String(), "<script")
	require.NotContains(t, b.String(), strings.Repeat("x", maxError))
	require.NotContains(t, b.String(), strings.Repeat("y", maxText))
	require.Contains(t, b.String(), "The connection was closed.")
	require.NotContains(t, b.String(), "The connection is open.")
}
