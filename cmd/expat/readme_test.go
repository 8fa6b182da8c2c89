//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// block is one of the blocks of commands of a page, from 0, after a heading.
func block(t *testing.T, page, heading string, n int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", page))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "\n"+heading+"\n")
	require.True(t, ok, heading)
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```\n").FindAllStringSubmatch(rest, n+1)
	require.Len(t, blocks, n+1)
	return blocks[n][1]
}

// aShell runs commands as a person does in a shell at the top of the repository, one
// such test of this machine at a time: the ports are those of the pages.
func aShell(t *testing.T, commands string) string {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "expat-readme.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	require.NoError(t, err)
	defer lock.Close() // and so gives it back
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	temp, err := os.MkdirTemp("", "r") // a socket's path must be short
	require.NoError(t, err)
	defer os.RemoveAll(temp)
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-c", commands)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "no_proxy=*", noExitSleep)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it left running, too
	defer func() { _ = cmd.Cancel() }()
	cmd.WaitDelay = 10 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s", out, said.String())
	return string(out)
}

// expected is what nginx and curl say in the end, whatever attests.
const expected = "nginx, asked by 127.0.0.1 for localhost\nnothing without attestation\n"

// A stock nginx and curl talk through two sidecars, by the commands of the README and
// nothing else.
func TestReadmeSidecar(t *testing.T) {
	t.Parallel()
	needs(t, "nginx", "curl")
	out := aShell(t, block(t, "README.md", "### Programs that cannot change", 0))
	require.Contains(t, out, "for admin\n")
	require.True(t, strings.HasSuffix(withoutListening(out), expected), out)
}

// The same with TPMs in software, which the page about TPMs makes.
func TestReadmeSidecarTPM(t *testing.T) {
	t.Parallel()
	needs(t, "nginx", "curl")
	if !hasSWTPM() {
		t.Skip("this test needs swtpm: apt-get install -y --no-install-recommends swtpm swtpm-tools gnutls-bin")
	}
	out := aShell(t, block(t, "docs/evidence/tpm.md", "## Try it with a TPM in software", 0)+
		block(t, "README.md", "### Programs that cannot change", 1))
	require.Contains(t, out, "enrolled TPM ")
	require.True(t, strings.HasSuffix(withoutListening(out), expected), out)
}

func withoutListening(out string) string {
	return regexp.MustCompile("(?m)^listening on .*\n").ReplaceAllString(out, "")
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("this test needs nginx and curl: apt-get install -y --no-install-recommends nginx-light curl")
		}
	}
}
