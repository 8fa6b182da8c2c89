//go:build unix

package rotate_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/rotate"
)

// A pipe in the place of a file holds up nobody: neither who starts, nor the watcher.
func TestPipe(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	require.NoError(t, syscall.Mkfifo(p.chain, 0o600))
	_, err := rotate.Files(t.Context(), p.chain, p.key, rotate.Options{})
	require.ErrorIs(t, err, rotate.ErrRead)
	require.ErrorContains(t, err, "is no regular file")
	require.NoError(t, os.Remove(p.chain))
}
