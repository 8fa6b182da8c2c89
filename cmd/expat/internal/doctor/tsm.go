package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
)

// provider is who answers behind configfs-tsm.
type provider struct {
	finding  *Finding
	attester string
}

// providers are the kernel's drivers, and the platforms that they are of.
var providers = map[string]string{"sev_guest": platform.SEVSNP, "tdx_guest": platform.TDX}

// asRoot is the advice where only root gets on: the group of the directory does not
// help.
const asRoot = "run expat as root: entries that are made in configfs belong to root, whoever makes them"

// tsm makes an entry in configfs-tsm, which tells its provider, and takes it away.
func (o Options) tsm() provider {
	f := &Finding{Name: "configfs-tsm", State: Missing, Detail: "no /" + tsmDir,
		Do: "only confidential VMs have it: mount -t configfs none /sys/kernel/config, with Linux 6.7 or later"}
	if _, err := os.Stat(o.path(tsmDir)); err != nil {
		return provider{finding: f}
	}
	f.State = Blocked
	name, err := o.ask()
	var step *entryError
	switch attester, known := providers[name]; {
	case errors.Is(err, fs.ErrPermission):
		f.Detail, f.Do = "/"+tsmDir+": "+err.Error(), asRoot
	case errors.As(err, &step) && step.step == stepMake:
		f.Detail, f.Do = "/"+tsmDir+": "+err.Error(), "load the module sev-guest or tdx_guest, whichever this VM has"
	case err != nil:
		f.Detail, f.Do = "/"+tsmDir+": "+err.Error(), "the kernel's driver is not as expat knows it: Linux 6.7 or later is needed"
	case !known:
		f.Detail, f.Do = fmt.Sprintf("provider %q is not known", name), "expat knows sev_guest and tdx_guest"
	default:
		f.State, f.Detail, f.Do = OK, "provider "+name, ""
		return provider{f, attester}
	}
	return provider{finding: f}
}

// The steps of a request to configfs-tsm.
const (
	stepMake   = "make an entry"
	stepRead   = "read its provider"
	stepWrite  = "write its inblob"
	stepRemove = "remove the entry"
)

// entryError says at which step a request failed.
type entryError struct {
	step string
	err  error
}

func (e *entryError) Error() string { return e.step + ": " + e.err.Error() }
func (e *entryError) Unwrap() error { return e.err }

// ask makes an entry, reads who its provider is, sees that a request could be written
// (none is), and removes it: an entry that stays holds kernel memory.
func (o Options) ask() (name string, err error) {
	entry, remove, err := o.MakeEntry(o.path(tsmDir))
	if err != nil {
		return "", &entryError{stepMake, bare(err)}
	}
	defer func() {
		if e := remove(); e != nil && err == nil {
			err = &entryError{stepRemove, bare(e)}
		}
	}()
	if name, err = o.line(filepath.Join(entry, "provider")); err != nil {
		return "", &entryError{stepRead, bare(err)}
	}
	inblob, err := o.Open(filepath.Join(entry, "inblob"), os.O_WRONLY)
	if err != nil {
		return "", &entryError{stepWrite, bare(err)}
	}
	return name, inblob.Close()
}

// makeEntry makes an entry of a name that no other has.
func makeEntry(dir string) (string, func() error, error) {
	entry, err := os.MkdirTemp(dir, "expat-doctor-")
	return entry, func() error { return os.Remove(entry) }, err
}

// maxLine is what is read of an attribute, in bytes.
const maxLine = 64

// line reads the one short line of an attribute.
func (o Options) line(path string) (string, error) {
	f, err := o.Open(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLine))
	return strings.TrimSpace(string(b)), err
}
