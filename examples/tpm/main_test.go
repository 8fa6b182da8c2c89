package main

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMainRuns runs the program, whose clients come one after the other.
func TestMainRuns(t *testing.T) {
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skip(install)
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	main()
	os.Stdout = stdout
	require.NoError(t, w.Close())
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, `this firmware expected: the server is affirming, its key is born-inside
other firmware expected: refused: measurement "pcr:sha256:0"
`, string(out))
}
