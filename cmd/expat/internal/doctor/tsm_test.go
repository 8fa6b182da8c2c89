package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// kernel is a configfs whose entries come with the attributes of a driver.
type kernel struct {
	files        map[string]string
	fails        error // to make an entry
	stays        error // to remove one
	made, remove int
}

func (k *kernel) makeEntry(dir string) (string, func() error, error) {
	if k.fails != nil {
		return "", nil, &fs.PathError{Op: "mkdir", Path: dir, Err: k.fails}
	}
	k.made++
	entry := filepath.Join(dir, "entry")
	if err := os.Mkdir(entry, 0o700); err != nil {
		return "", nil, err
	}
	for name, text := range k.files {
		if err := os.WriteFile(filepath.Join(entry, name), []byte(text), 0o600); err != nil {
			return "", nil, err
		}
	}
	return entry, func() error { k.remove++; return errors.Join(k.stays, os.RemoveAll(entry)) }, nil
}

// denying opens files but for those whose path ends so.
func denying(reason error, suffixes ...string) func(string, int) (*os.File, error) {
	return func(path string, flag int) (*os.File, error) {
		for _, s := range suffixes {
			if strings.HasSuffix(path, s) {
				return nil, &fs.PathError{Op: "open", Path: path, Err: reason}
			}
		}
		return os.OpenFile(path, flag, 0)
	}
}

// A kernel that answers makes its platform an attester; whatever else it does is said
// with what to do about it. Every entry is taken away again.
func TestConfigfs(t *testing.T) {
	t.Parallel()
	driver := func(name string) map[string]string {
		return map[string]string{"provider": name + "\n", "inblob": "", "outblob": ""}
	}
	const (
		dir    = "/sys/kernel/config/tsm/report: "
		module = "load the module sev-guest or tdx_guest, whichever this VM has"
		driven = "the kernel's driver is not as expat knows it: Linux 6.7 or later is needed"
	)
	for name, c := range map[string]struct {
		kernel   kernel
		open     func(string, int) (*os.File, error)
		attester string
		detail   string
		do       string
	}{
		"SEV-SNP":            {kernel: kernel{files: driver("sev_guest")}, attester: "sevsnp", detail: "provider sev_guest"},
		"TDX":                {kernel: kernel{files: driver("tdx_guest")}, attester: "tdx", detail: "provider tdx_guest"},
		"another":            {kernel: kernel{files: driver("arm_cca_guest")}, detail: `provider "arm_cca_guest" is not known`, do: "expat knows sev_guest and tdx_guest"},
		"long name":          {kernel: kernel{files: driver(strings.Repeat("x", 80))}, detail: `provider "` + strings.Repeat("x", 64) + `" is not known`, do: "expat knows sev_guest and tdx_guest"},
		"no provider":        {kernel: kernel{files: map[string]string{"inblob": ""}}, detail: dir + "read its provider: no such file or directory", do: driven},
		"no inblob":          {kernel: kernel{files: map[string]string{"provider": "tdx_guest\n"}}, detail: dir + "write its inblob: no such file or directory", do: driven},
		"no driver":          {kernel: kernel{fails: syscall.ENXIO}, detail: dir + "make an entry: no such device or address", do: module},
		"no entry permitted": {kernel: kernel{fails: syscall.EACCES}, detail: dir + "make an entry: permission denied", do: asRoot},
		"no read permitted":  {kernel: kernel{files: driver("tdx_guest")}, open: denying(syscall.EACCES, "/provider"), detail: dir + "read its provider: permission denied", do: asRoot},
		"no write permitted": {kernel: kernel{files: driver("tdx_guest")}, open: denying(syscall.EPERM, "/inblob"), detail: dir + "write its inblob: operation not permitted", do: asRoot},
		"entry stays":        {kernel: kernel{files: driver("tdx_guest"), stays: syscall.EBUSY}, detail: dir + "remove the entry: device or resource busy", do: driven},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := c.kernel
			root := machine(t, tsmDir+"/")
			r := Run(context.Background(), Options{Root: root, LookPath: none, OpenTPM: answers, MakeEntry: k.makeEntry, Open: c.open})
			f := find(t, r, "configfs-tsm")
			require.Equal(t, c.detail, f.Detail)
			require.Equal(t, c.do, f.Do)
			if c.attester == "" {
				require.Equal(t, Blocked, f.State)
				require.Equal(t, []string{"simulated"}, r.Attesters)
			} else {
				require.Equal(t, OK, f.State)
				require.Equal(t, []string{"simulated", c.attester}, r.Attesters)
			}
			require.Equal(t, k.made, k.remove)
			left, err := os.ReadDir(filepath.Join(root, tsmDir))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// Devices that this user may not open are blocked, with what to do.
func TestPermissions(t *testing.T) {
	t.Parallel()
	root := machine(t, tpmDevice, sevGuest, tdxGuest)
	for _, c := range []struct {
		name, path, do string
		reason         error
	}{
		{"TPM 2.0", tpmDevice, "add the user to the group tss, and log in again", syscall.EACCES},
		{"TPM 2.0", tpmDevice, "is another program holding the TPM? the kernel's messages (dmesg) say more", syscall.EBUSY},
		{"SEV-SNP guest", sevGuest, "run as root, or have the device's group changed", syscall.EACCES},
		{"TDX guest", tdxGuest, "run as root, or have the device's group changed", syscall.EPERM},
		{"TDX guest", tdxGuest, "the kernel's messages (dmesg) say what is wrong with the device", syscall.EIO},
	} {
		r := Run(context.Background(), Options{Root: root, LookPath: all, OpenTPM: answers, Open: denying(c.reason, c.path)})
		f := find(t, r, c.name)
		require.Equal(t, Blocked, f.State)
		require.Equal(t, "/"+c.path+": "+c.reason.Error(), f.Detail)
		require.Equal(t, c.do, f.Do)
		require.Equal(t, c.name != "TPM 2.0", len(r.Attesters) == 2, r.Attesters)
	}
}
