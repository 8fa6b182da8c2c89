package rotate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// volume is one as Kubernetes mounts a Secret: its files are reached through ..data, a
// link to a directory that is replaced in one step.
type volume struct {
	testing.TB
	dir string
}

func (v volume) file(name string) string { return filepath.Join(v.dir, name) }

// swap lets the volume show a version, whose files say which one it is.
func (v volume) swap(version string) {
	v.Helper()
	require.NoError(v, os.MkdirAll(v.file(version), 0o700))
	for _, name := range []string{"chain", "key"} {
		require.NoError(v, os.WriteFile(v.file(version+"/"+name), []byte(version), 0o600))
		_ = os.Symlink("..data/"+name, v.file(name))
	}
	require.NoError(v, os.Symlink(version, v.file("..new")))
	require.NoError(v, os.Rename(v.file("..new"), v.file("..data")))
}

// A volume that is swapped between the two reads is read again, and one that always is
// not for ever.
func TestSwappedVolume(t *testing.T) {
	t.Parallel()
	v := volume{t, t.TempDir()}
	chain, key := v.file("chain"), v.file("key")
	v.swap("one")
	before, err := read(chain, key, readFile)
	require.NoError(t, err)
	c, err := read(chain, key, func(name string) ([]byte, error) {
		b, err := readFile(name)
		if string(b) == "one" {
			v.swap("two")
		}
		return b, err
	})
	require.NoError(t, err)
	require.Equal(t, []string{"two", "two"}, []string{string(c.chain), string(c.key)})
	require.NotEqual(t, before.digest, c.digest)
	require.False(t, before.stamps[0].same(c.stamps[0]) || before.stamps[1].same(c.stamps[1]), "a swap shows")

	reads := 0
	_, err = read(chain, key, func(name string) ([]byte, error) {
		reads++
		v.swap([]string{"three", "four"}[reads%2])
		return readFile(name)
	})
	require.NoError(t, err)
	require.Equal(t, 2*attempts, reads)
}
