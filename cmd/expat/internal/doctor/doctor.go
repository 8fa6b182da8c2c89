// Package doctor says what this machine can attest, and what it lacks.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
)

// State is what a check found.
type State string

// The states.
const (
	OK      State = "ok"      // it is there and can be used
	Missing State = "missing" // it is not there
	Blocked State = "blocked" // it is there and cannot be used
)

// Finding is one thing that attestation can use.
type Finding struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // what to do, "" if it is ok
}

// Report is what a machine can do.
type Report struct {
	Attesters []string   `json:"attesters"` // names for --attester that can work here
	Findings  []*Finding `json:"findings"`
}

// Options say where to look. The zero Options are for this machine.
type Options struct {
	Root     string                                    // of the file system; "": /
	LookPath func(string) (string, error)              // nil: [exec.LookPath]
	OpenTPM  func(ctx context.Context, p string) error // nil: asks the TPM at a path
}

// patience is how long a TPM may take to answer.
const patience = 10 * time.Second

// Paths, below the root.
const (
	tpmDevice = "dev/tpmrm0"
	tpmRaw    = "dev/tpm0"
	tsmDir    = "sys/kernel/config/tsm/report"
	sevGuest  = "dev/sev-guest"
	tdxGuest  = "dev/tdx_guest"
)

// Run looks. What is absent is a finding, never an error.
func Run(ctx context.Context, o Options) *Report {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.LookPath == nil {
		o.LookPath = exec.LookPath
	}
	if o.OpenTPM == nil {
		o.OpenTPM = openTPM
	}
	tpm, provider := o.tpm(ctx), o.tsm()
	r := &Report{
		Attesters: []string{platform.Simulated},
		Findings: []*Finding{
			{Name: "simulated TEE", State: OK, Detail: "needs nothing; protects nothing"},
			tpm, provider.finding,
			o.device("SEV-SNP guest", sevGuest, "in a guest of AMD SEV-SNP: load the module sev-guest; elsewhere there is none"),
			o.device("TDX guest", tdxGuest, "in a trust domain of Intel TDX: load the module tdx_guest; elsewhere there is none"),
			o.software(),
		},
	}
	if tpm.State == OK {
		r.Attesters = append(r.Attesters, platform.TPM)
	}
	if provider.finding.State == OK {
		r.Attesters = append(r.Attesters, provider.attester)
	}
	return r
}

func openTPM(ctx context.Context, path string) error {
	t, err := platform.OpenTPM(ctx, path)
	if err != nil {
		return err
	}
	_, err = t.EndorsementKey(ctx)
	return errors.Join(err, t.Close())
}

func (o Options) path(p string) string { return filepath.Join(o.Root, p) }

// tpm asks the TPM for its endorsement key, which enrolment needs.
func (o Options) tpm(ctx context.Context) *Finding {
	f := &Finding{Name: "TPM 2.0", State: OK, Detail: "/" + tpmDevice + " answers, with a certified endorsement key"}
	if _, err := os.Stat(o.path(tpmDevice)); err != nil {
		f.State, f.Detail, f.Do = Missing, "no /"+tpmDevice, "switch the TPM on in the firmware, or give a TPM in software by --tpm unix:PATH"
		if _, err := os.Stat(o.path(tpmRaw)); err == nil {
			f.State, f.Detail, f.Do = Blocked, "/"+tpmRaw+" without a resource manager", "is it a TPM 1.2? expat needs 2.0"
		}
		return f
	}
	if access := readable(o.path(tpmDevice), os.O_RDWR); access != nil {
		f.State, f.Detail, f.Do = Blocked, "/"+tpmDevice+": "+access.Error(), "add the user to the group tss, and log in again"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := o.OpenTPM(ctx, o.path(tpmDevice)); err != nil {
		f.State, f.Detail, f.Do = Blocked, "/"+tpmDevice+": "+err.Error(), "without an endorsement key that its maker certified expat tpm enroll does not work"
	}
	return f
}

// readable opens a file and closes it; the error is that of the system, without the
// path.
func readable(path string, flag int) error {
	f, err := os.OpenFile(path, flag, 0)
	if err == nil {
		return f.Close()
	}
	var where *fs.PathError
	if errors.As(err, &where) {
		return where.Err
	}
	return err
}

// provider is who answers behind configfs-tsm.
type provider struct {
	finding  *Finding
	attester string
}

// providers are the kernel's drivers, and the platforms that they are of.
var providers = map[string]string{"sev_guest": platform.SEVSNP, "tdx_guest": platform.TDX}

// tsm makes an entry in configfs-tsm, which tells its provider, and takes it away.
func (o Options) tsm() provider {
	f := &Finding{Name: "configfs-tsm", State: Missing, Detail: "no /" + tsmDir,
		Do: "only confidential VMs have it: mount -t configfs none /sys/kernel/config, with Linux 6.7 or later"}
	if _, err := os.Stat(o.path(tsmDir)); err != nil {
		return provider{finding: f}
	}
	entry, err := os.MkdirTemp(o.path(tsmDir), "expat-doctor-")
	if err != nil {
		f.State, f.Detail, f.Do = Blocked, "/"+tsmDir+" cannot be written", "run as root, or have the directory's group changed"
		if !errors.Is(err, fs.ErrPermission) {
			f.Detail, f.Do = "/"+tsmDir+" takes no request", "load the module sev-guest or tdx_guest"
		}
		return provider{finding: f}
	}
	defer os.Remove(entry)
	name, err := head(filepath.Join(entry, "provider"))
	attester, known := providers[name]
	if err != nil || !known {
		f.State, f.Detail, f.Do = Blocked, fmt.Sprintf("provider %q is not known", name), "expat knows sev_guest and tdx_guest"
		return provider{finding: f}
	}
	f.State, f.Detail, f.Do = OK, "provider "+name, ""
	return provider{f, attester}
}

// head reads the one short line of an attribute.
func head(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	return strings.TrimSpace(string(b)), err
}

func (o Options) device(name, path, do string) *Finding {
	f := &Finding{Name: name, State: OK, Detail: "/" + path}
	err := readable(o.path(path), os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.State, f.Detail, f.Do = Missing, "no /"+path, do
	case err != nil:
		f.State, f.Detail, f.Do = Blocked, "/"+path+": "+err.Error(), "run as root, or have the device's group changed"
	}
	return f
}

// software looks for a TPM in software, for tests.
func (o Options) software() *Finding {
	var missing []string
	for _, tool := range []string{"swtpm", "swtpm_setup", "certtool"} {
		if _, err := o.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if missing != nil {
		return &Finding{"TPM in software", Missing, "no " + strings.Join(missing, ", "), "apt-get install swtpm swtpm-tools gnutls-bin"}
	}
	return &Finding{Name: "TPM in software", State: OK, Detail: "swtpm can be started, for tests"}
}
