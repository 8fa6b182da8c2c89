//go:build unix

package rotate_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mounted is a volume as Kubernetes mounts a Secret: the files are reached through
// ..data, a link to a directory that is replaced in one step.
type mounted struct{ *place }

func newMounted(t testing.TB) mounted {
	p := newPlace(t)
	for _, name := range []*string{&p.chain, &p.key} {
		base := filepath.Base(*name)
		require.NoError(t, os.Symlink(filepath.Join("..data", base), *name))
	}
	return mounted{p}
}

// version makes a directory with a pair, its chain in a file, or in a pipe from which
// it can be read once.
func (m mounted) version(name string, cert tls.Certificate, pipe bool) {
	m.Helper()
	dir := filepath.Join(filepath.Dir(m.chain), name)
	require.NoError(m, os.Mkdir(dir, 0o700))
	chain := filepath.Join(dir, filepath.Base(m.chain))
	if pipe {
		require.NoError(m, syscall.Mkfifo(chain, 0o600))
	} else {
		require.NoError(m, os.WriteFile(chain, chainPEM(cert), 0o600))
	}
	require.NoError(m, os.WriteFile(filepath.Join(dir, filepath.Base(m.key)), keyPEM(m, cert.PrivateKey), 0o600))
}

// swap lets the volume show a version.
func (m mounted) swap(name string) {
	m.Helper()
	link := filepath.Join(filepath.Dir(m.chain), "..data")
	require.NoError(m, os.Symlink(name, link+"_tmp"))
	require.NoError(m, os.Rename(link+"_tmp", link))
}

// A volume that is swapped is taken at the next look, and one that is swapped between
// the two reads is read again: that is no failure, at the start neither.
func TestSwappedVolume(t *testing.T) {
	t.Parallel()
	m := newMounted(t)
	var certs []tls.Certificate
	for range 5 {
		certs = append(certs, m.issue(newKey(t), time.Now()))
	}
	m.version("0", certs[0], true)
	m.version("1", certs[1], false)
	m.version("2", certs[2], false)
	m.version("3", certs[3], true)
	m.version("4", certs[4], false)
	m.swap("0")
	// meanwhile swaps while the chain is read from the pipe of the version before.
	meanwhile := func(before, after string, cert tls.Certificate) {
		pipe, err := os.OpenFile(filepath.Join(filepath.Dir(m.chain), before, filepath.Base(m.chain)), os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		m.swap(after)
		_, _ = pipe.Write(chainPEM(cert))
		_ = pipe.Close()
	}
	go meanwhile("0", "1", certs[0])
	h := new(heard)
	w := m.watch(h.options())
	require.Equal(t, certs[1].Certificate, w.Certificate().Certificate)

	m.swap("2")
	w.Look()
	require.Equal(t, certs[2].Certificate, w.Certificate().Certificate)

	m.swap("3")
	go meanwhile("3", "4", certs[3])
	w.Look()
	require.Equal(t, certs[4].Certificate, w.Certificate().Certificate)
	require.Empty(t, h.errs)
	require.Len(t, h.changes, 2)
}
