// Package doctor says what this machine can attest, and what it lacks.
package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/evidence/tpm"
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
	TPM      string                                    // address, as of platform.OpenTPM; "": the device of the kernel
	LookPath func(string) (string, error)              // nil: [exec.LookPath]
	OpenTPM  func(ctx context.Context, p string) error // nil: asks the TPM at an address
	// Open opens a file or device. Nil: [os.OpenFile].
	Open func(path string, flag int) (*os.File, error)
	// MakeEntry makes an entry in a directory of configfs. Nil: makes a directory.
	MakeEntry func(dir string) (entry string, remove func() error, err error)
}

func (o *Options) setDefaults() {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.LookPath == nil {
		o.LookPath = exec.LookPath
	}
	if o.OpenTPM == nil {
		o.OpenTPM = openTPM
	}
	if o.Open == nil {
		o.Open = func(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag, 0) }
	}
	if o.MakeEntry == nil {
		o.MakeEntry = makeEntry
	}
}

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
	o.setDefaults()
	machine, provider := o.tpm(ctx), o.tsm()
	r := &Report{
		Attesters: []string{platform.Simulated},
		Findings: []*Finding{
			{Name: "simulated TEE", State: OK, Detail: "needs nothing; protects nothing"},
			machine, provider.finding,
			o.device("SEV-SNP guest", sevGuest, "in a guest of AMD SEV-SNP: load the module sev-guest; elsewhere there is none"),
			o.device("TDX guest", tdxGuest, "in a trust domain of Intel TDX: load the module tdx_guest; elsewhere there is none"),
			o.software(),
		},
	}
	if machine.State == OK {
		r.Attesters = append(r.Attesters, platform.TPM)
	}
	if provider.finding.State == OK {
		r.Attesters = append(r.Attesters, provider.attester)
	}
	return r
}

func openTPM(ctx context.Context, address string) error {
	t, err := platform.OpenTPM(ctx, address)
	if err != nil {
		return err
	}
	_, err = t.EndorsementKey(ctx)
	return errors.Join(err, t.Close())
}

func (o Options) path(p string) string { return filepath.Join(o.Root, p) }

// tpm looks for the TPM of the machine, or for the one that is named.
func (o Options) tpm(ctx context.Context) *Finding {
	if o.TPM != "" {
		return o.askTPM(ctx, o.TPM, o.TPM)
	}
	f := &Finding{Name: "TPM 2.0"}
	if _, err := os.Stat(o.path(tpmDevice)); err != nil {
		f.State, f.Detail, f.Do = Missing, "no /"+tpmDevice, "switch the TPM on in the firmware, or name a TPM in software with --tpm unix:PATH"
		if _, err := os.Stat(o.path(tpmRaw)); err == nil {
			f.State, f.Detail, f.Do = Blocked, "/"+tpmRaw+" without a resource manager", "is it a TPM 1.2? expat needs 2.0"
		}
		return f
	}
	if access := o.opens(tpmDevice, os.O_RDWR); access != nil {
		f.State, f.Detail, f.Do = Blocked, "/"+tpmDevice+": "+access.Error(), "is another program holding the TPM? the kernel's messages (dmesg) say more"
		if errors.Is(access, fs.ErrPermission) {
			f.Do = "add the user to the group tss, and log in again"
		}
		return f
	}
	return o.askTPM(ctx, "/"+tpmDevice, o.path(tpmDevice))
}

// askTPM asks a TPM for its endorsement key, which enrolment needs.
func (o Options) askTPM(ctx context.Context, name, address string) *Finding {
	f := &Finding{Name: "TPM 2.0", State: OK, Detail: name + " answers, with a certified endorsement key"}
	err := o.OpenTPM(ctx, address)
	switch {
	case errors.Is(err, tpm.ErrNoEK):
		f.State, f.Detail, f.Do = Blocked, name+": "+err.Error(), "without an endorsement key that its maker certified expat tpm enroll does not work"
	case err != nil:
		f.State, f.Detail, f.Do = Blocked, name+": "+err.Error(), "start it there, end what uses it, or name another with --tpm"
	}
	return f
}

// opens opens a file and closes it; the error is that of the system, without the path.
func (o Options) opens(path string, flag int) error {
	f, err := o.Open(o.path(path), flag)
	if err != nil {
		return bare(err)
	}
	return f.Close()
}

// bare takes the path off an error.
func bare(err error) error {
	var where *fs.PathError
	if errors.As(err, &where) {
		return where.Err
	}
	return err
}

func (o Options) device(name, path, do string) *Finding {
	f := &Finding{Name: name, State: OK, Detail: "/" + path}
	err := o.opens(path, os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.State, f.Detail, f.Do = Missing, "no /"+path, do
	case errors.Is(err, fs.ErrPermission):
		f.State, f.Detail, f.Do = Blocked, "/"+path+": "+err.Error(), "run as root, or have the device's group changed"
	case err != nil:
		f.State, f.Detail, f.Do = Blocked, "/"+path+": "+err.Error(), "the kernel's messages (dmesg) say what is wrong with the device"
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
