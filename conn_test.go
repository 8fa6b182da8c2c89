package expat

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExchange(t *testing.T) {
	w := newWorld(t)
	for _, direction := range []string{serverAttests, clientAttests, mutual} {
		t.Run(direction, func(t *testing.T) {
			cc, sc := w.configs(direction)
			c, s, err1, err2 := connect(t, cc, sc)
			require.NoError(t, err1)
			require.NoError(t, err2)
			require.Equal(t, direction != clientAttests, c.Peer() != nil)
			require.Equal(t, direction != serverAttests, s.Peer() != nil)
			echo(t, c, s, "hello from the client")
			echo(t, s, c, "hello from the server")
			require.NoError(t, c.CloseWrite())
			rest, err := io.ReadAll(s)
			require.NoError(t, err)
			require.Empty(t, rest)
			echo(t, s, c, "half closed")
			require.NoError(t, s.Close())
			_, err = c.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
		})
	}
}

func echo(t testing.TB, from, to *Conn, text string) {
	t.Helper()
	_, err := from.Write([]byte(text))
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(to, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}
