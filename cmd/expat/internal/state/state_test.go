package state

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence/simulated"
)

var now = time.Now()

func TestCreateTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b")
	trust, keys, err := Create(path, now)
	require.NoError(t, err)
	again, keysAgain, err := Create(path, now.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, trust.Reference, again.Reference)
	require.True(t, trust.CA.Equal(again.CA))
	require.True(t, trust.Evidence.Equal(again.Evidence))
	require.True(t, keys.CA.key.Equal(keysAgain.CA.key))
	require.Equal(t, keys.Vendor.OEMID(), keysAgain.Vendor.OEMID())
	require.NotEqual(t, trust.Reference.Server.Instance, trust.Reference.Client.Instance)

	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{CAKeyFile, CAFile, ReferenceFile, RootFile, VendorKeyFile}, names)
}

// Processes that start at once agree on one set of keys.
func TestCreateAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	var wg sync.WaitGroup
	all := make([]*Trust, 8)
	errs := make([]error, len(all))
	for i := range all {
		wg.Go(func() { all[i], _, errs[i] = Create(path, now) })
	}
	wg.Wait()
	for i, trust := range all {
		require.NoError(t, errs[i])
		require.Equal(t, all[0].Reference, trust.Reference)
		require.True(t, all[0].CA.Equal(trust.CA))
		require.True(t, all[0].Evidence.Equal(trust.Evidence))
	}
}

func TestUnusable(t *testing.T) {
	t.Parallel()
	foreign := t.TempDir()
	_, _, err := Create(foreign, now)
	require.NoError(t, err)
	instead := func(name string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(filepath.Join(foreign, name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, b, 0o600))
		}
	}
	write := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	}
	edit := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, string(b), old)
			require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(b), old, new, 1)), 0o600))
		}
	}
	double := func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(b, b...), 0o600))
	}
	tests := []struct {
		name, file string
		spoil      func(*testing.T, string)
		want       string
	}{
		{"CA key empty", CAKeyFile, write(""), "no certificate where one belongs"},
		{"CA key of another type", CAKeyFile, edit(pemCAKey, "PRIVATE KEY"), "no test key where one belongs"},
		{"CA key twice", CAKeyFile, double, "no test key where one belongs"},
		{"CA key too large", CAKeyFile, write(strings.Repeat("x", maxFile+1)), "larger than 65536 bytes"},
		{"CA key of another CA", CAKeyFile, instead(CAKeyFile), "it does not belong to the keys beside it"},
		{"vendor garbage", VendorKeyFile, write("garbage"), "not the PEM of a vendor"},
		{"vendor of another", VendorKeyFile, instead(VendorKeyFile), "it does not belong to the keys beside it"},
		{"CA garbage", CAFile, write("garbage"), "it does not belong to the keys beside it"},
		{"root of another", RootFile, instead(RootFile), "it does not belong to the keys beside it"},
		{"reference garbage", ReferenceFile, write("garbage"), "invalid character"},
		{"reference empty", ReferenceFile, write("{}"), "must not be empty"},
		{"reference twice", ReferenceFile, double, "more follows the object"},
		{"reference with a typo", ReferenceFile, edit(`"instance"`, `"instanze"`), "unknown field"},
		{"reference not hex", ReferenceFile, edit(`"instance": "01`, `"instance": "xx`), "invalid byte"},
		{"reference digest short", ReferenceFile, edit(`"sha256": "`, `"sha256": "00" }, {"name": "x", "sha256": "`), "32 bytes of sha256"},
		{"reference version", ReferenceFile, edit(`"1.0"`, `"one"`), "software_version"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			_, _, err := Create(path, now)
			require.NoError(t, err)
			test.spoil(t, filepath.Join(path, test.file))
			before, err := os.ReadFile(filepath.Join(path, test.file))
			require.NoError(t, err)
			_, _, err = Create(path, now)
			require.ErrorIs(t, err, ErrState)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "remove the directory "+path+" and start expat serve again")
			after, err := os.ReadFile(filepath.Join(path, test.file))
			require.NoError(t, err)
			require.Equal(t, before, after, "a file that was there is not written over")
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	for _, name := range []string{CAFile, RootFile, ReferenceFile} {
		_, err := Load(path, now)
		require.ErrorIs(t, err, ErrState)
		require.ErrorContains(t, err, filepath.Join(path, name)+" is missing; start expat serve with --state "+path+" first")
		other := t.TempDir()
		_, _, err = Create(other, now)
		require.NoError(t, err)
		require.NoError(t, os.Rename(filepath.Join(other, name), filepath.Join(path, name)))
	}
	_, err := Load(path, now)
	require.NoError(t, err)
	_, err = LoadKeys(path, now)
	require.ErrorContains(t, err, CAKeyFile+" is missing")

	for _, at := range []time.Time{now.Add(-2 * time.Hour), now.Add(366 * 24 * time.Hour)} {
		_, err = Load(path, at)
		require.ErrorIs(t, err, ErrState)
		require.ErrorContains(t, err, "its certificate is valid from")
	}
	require.NoError(t, os.WriteFile(filepath.Join(path, RootFile), []byte("garbage"), 0o600))
	_, err = Load(path, now)
	require.ErrorContains(t, err, "not exactly one certificate")
}

// Keys that have run out are named where they lie.
func TestExpired(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	_, _, err := Create(path, now)
	require.NoError(t, err)
	_, err = LoadKeys(path, now.Add(366*24*time.Hour))
	require.ErrorContains(t, err, CAKeyFile+" cannot be used: its certificate is valid from")

	late := t.TempDir()
	_, _, err = Create(late, now.Add(30*24*time.Hour))
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(late, CAKeyFile), filepath.Join(path, CAKeyFile)))
	_, err = LoadKeys(path, now.Add(366*24*time.Hour))
	require.ErrorContains(t, err, VendorKeyFile+" cannot be used: its certificate is valid from")
}

func TestDirectoryIsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, _, err := Create(path, now)
	require.ErrorIs(t, err, ErrState)
	require.ErrorContains(t, err, "choose another with --state")
	_, err = Load(path, now)
	require.ErrorIs(t, err, ErrState)
	require.ErrorContains(t, err, "make it readable")
}

func TestLeaf(t *testing.T) {
	t.Parallel()
	ca, err := newCA(now)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := ca.Leaf(key, x509.ExtKeyUsageServerAuth, now, "a.test", "::1", "b.test")
	require.NoError(t, err)
	verify := func(name string, usage x509.ExtKeyUsage) error {
		_, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool(ca.root), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	for _, name := range []string{"a.test", "::1", "b.test"} {
		require.NoError(t, verify(name, x509.ExtKeyUsageServerAuth))
	}
	require.Error(t, verify("c.test", x509.ExtKeyUsageServerAuth))
	require.Error(t, verify("a.test", x509.ExtKeyUsageClientAuth))
}

// A device and a policy made from one reference belong together: the tests of the
// command show that; here, that the policy leaves nothing open.
func TestReferenceIsWhole(t *testing.T) {
	t.Parallel()
	r, err := newReference()
	require.NoError(t, err)
	vendor, err := simulated.NewVendor("test", now)
	require.NoError(t, err)
	device, err := r.Server.Device(vendor)
	require.NoError(t, err)
	require.Equal(t, []byte(r.Server.Instance), device.Instance())
	v, err := r.Server.Verifier("test", vendor.Root())
	require.NoError(t, err)
	require.Equal(t, []string{simulated.MediaType}, v.MediaTypes())
	b, err := r.marshal()
	require.NoError(t, err)
	again, err := parseReference(b)
	require.NoError(t, err)
	require.Equal(t, r, again)
}

// What is read from a file never panics and, if it is taken, is what is written.
func FuzzFiles(f *testing.F) {
	ca, err := newCA(now)
	require.NoError(f, err)
	key, err := ca.marshal()
	require.NoError(f, err)
	r, err := newReference()
	require.NoError(f, err)
	reference, err := r.marshal()
	require.NoError(f, err)
	seeds := [][]byte{key, reference, encodeRoot(caComment, ca.root), []byte("{}"), nil}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseReference(b); err == nil {
			again, err := r.marshal()
			require.NoError(t, err)
			same, err := parseReference(again)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(r), fmt.Sprint(same))
		}
		if ca, err := parseCA(b); err == nil {
			_, err := ca.marshal()
			require.NoError(t, err)
		}
		_, _ = parseRoot(b)
	})
}
