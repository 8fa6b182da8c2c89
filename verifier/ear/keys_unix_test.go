//go:build unix

package ear

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pipe that nobody writes to holds up no appraisal.
func TestJWKSPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jwks.json")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := JWKSFile(path)
	require.ErrorIs(t, err, ErrKeySet)
	require.ErrorContains(t, err, "no regular file")
}
