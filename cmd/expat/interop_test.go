package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// interopDir holds the second implementation, in JavaScript on Node.js.
const interopDir = "../../testdata/interop"

// vectorsDir holds the interop vectors, which check-vectors.mjs reads by default.
const vectorsDir = "../../testdata/vectors"

// oldestNode is the major version of Node.js that the second implementation needs.
const oldestNode = 18

// passed is the last line of check-vectors.mjs and live.mjs when all is well.
var passed = regexp.MustCompile(`(?m)^([1-9][0-9]*) passed, 0 failed\n\z`)

// TestInterop runs the second implementation: its own tests, the interop vectors
// of testdata/vectors, and both roles against this command over OpenSSL.
func TestInterop(t *testing.T) {
	t.Parallel()
	node := findNode(t)
	dependOn(t, interopDir)
	dependOn(t, vectorsDir)

	t.Run("own tests", func(t *testing.T) {
		t.Parallel()
		files, err := filepath.Glob(filepath.Join(interopDir, "test", "*.test.mjs"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		args := []string{"--test"}
		for _, f := range files {
			args = append(args, filepath.Join("test", filepath.Base(f)))
		}
		out := runNode(t, node, args...)
		require.Regexp(t, `(?m)^. pass [1-9]`, out)
		require.Regexp(t, `(?m)^. skipped 0$`, out)
	})
	t.Run("vectors", func(t *testing.T) {
		t.Parallel()
		require.Regexp(t, passed, runNode(t, node, "check-vectors.mjs"))
	})
	t.Run("live", func(t *testing.T) {
		t.Parallel()
		binary := filepath.Join(t.TempDir(), "expat")
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Regexp(t, passed, runNode(t, node, "live.mjs", binary))
	})
}

// dependOn reads all files of a folder: a result is then not taken from the test
// cache after one of them was changed, although only Node.js makes use of them.
func dependOn(t *testing.T, dir string) {
	t.Helper()
	read := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		read++
		_, err = os.ReadFile(filepath.Join(dir, path))
		return err
	})
	require.NoError(t, err)
	require.NotZero(t, read)
}

// findNode skips the test where Node.js is missing or too old.
func findNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node.js is missing: apt-get install nodejs")
	}
	out, err := exec.CommandContext(t.Context(), node, "--version").Output()
	require.NoError(t, err)
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	require.NoError(t, err)
	if n < oldestNode {
		t.Skipf("Node.js %s is too old, %d is needed: apt-get install nodejs", version, oldestNode)
	}
	return node
}

// runNode runs a script of the second implementation to its end and returns what
// it prints. A script that does not end is told to stop, and takes what it
// started with it.
func runNode(t *testing.T, node string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, args...)
	cmd.Dir = interopDir
	cmd.Env = append(os.Environ(), "NODE_OPTIONS=")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}
