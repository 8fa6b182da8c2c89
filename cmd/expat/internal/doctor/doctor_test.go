package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence/tpm"
)

func all(string) (string, error)                  { return "/bin/x", nil }
func none(string) (string, error)                 { return "", errors.New("not there") }
func answers(context.Context, string) error       { return nil }
func doesNotAnswer(context.Context, string) error { return errors.New("it is silent") }

func find(t *testing.T, r *Report, name string) *Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Name == name {
			require.Equal(t, f.State == OK, f.Do == "", "what is not ok has something to do")
			return f
		}
	}
	t.Fatal("no finding " + name)
	return nil
}

// machine makes a root directory with these files; a path that ends in / is a
// directory.
func machine(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range files {
		path := filepath.Join(root, name)
		if name[len(name)-1] == '/' {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	return root
}

func TestNothing(t *testing.T) {
	t.Parallel()
	r := Run(context.Background(), Options{Root: machine(t), LookPath: none, OpenTPM: answers})
	require.Equal(t, []string{"simulated"}, r.Attesters)
	for _, f := range r.Findings[1:] {
		require.Equal(t, Missing, f.State, f.Name)
		require.NotEmpty(t, f.Do, f.Name)
	}
	require.Equal(t, "no swtpm, swtpm_setup, certtool", find(t, r, "TPM in software").Detail)
}

func TestTPM(t *testing.T) {
	t.Parallel()
	root := machine(t, tpmDevice, tpmRaw)
	r := Run(context.Background(), Options{Root: root, LookPath: all, OpenTPM: answers})
	require.Equal(t, []string{"simulated", "tpm"}, r.Attesters)
	require.Equal(t, OK, find(t, r, "TPM 2.0").State)
	require.Equal(t, OK, find(t, r, "TPM in software").State)

	r = Run(context.Background(), Options{Root: root, LookPath: all, OpenTPM: doesNotAnswer})
	require.Equal(t, []string{"simulated"}, r.Attesters)
	require.Equal(t, Blocked, find(t, r, "TPM 2.0").State)
	require.Equal(t, "/dev/tpmrm0: it is silent", find(t, r, "TPM 2.0").Detail)

	r = Run(context.Background(), Options{Root: root, LookPath: all, OpenTPM: func(context.Context, string) error { return tpm.ErrNoEK }})
	require.Contains(t, find(t, r, "TPM 2.0").Do, "expat tpm enroll does not work")

	// Another than the machine's can be named.
	for address, open := range map[string]func(context.Context, string) error{"unix:good": answers, "unix:bad": doesNotAnswer} {
		r = Run(context.Background(), Options{Root: machine(t), TPM: address, LookPath: all, OpenTPM: func(ctx context.Context, at string) error {
			require.Equal(t, address, at)
			return open(ctx, at)
		}})
		require.Contains(t, find(t, r, "TPM 2.0").Detail, address)
		require.Equal(t, address == "unix:good", len(r.Attesters) == 2)
	}

	// A file is no TPM: nothing hangs, and nothing is claimed.
	r = Run(context.Background(), Options{Root: root, LookPath: all})
	require.Equal(t, Blocked, find(t, r, "TPM 2.0").State)

	r = Run(context.Background(), Options{Root: machine(t, tpmRaw), LookPath: all, OpenTPM: answers})
	require.Equal(t, Blocked, find(t, r, "TPM 2.0").State)
	require.Contains(t, find(t, r, "TPM 2.0").Do, "expat needs 2.0")
}

func TestGuests(t *testing.T) {
	t.Parallel()
	r := Run(context.Background(), Options{Root: machine(t, sevGuest, tsmDir+"/"), LookPath: all, OpenTPM: answers})
	require.Equal(t, OK, find(t, r, "SEV-SNP guest").State)
	require.Equal(t, Missing, find(t, r, "TDX guest").State)
	f := find(t, r, "configfs-tsm") // in a plain directory no kernel answers
	require.Equal(t, Blocked, f.State)
	require.Equal(t, "/sys/kernel/config/tsm/report: read its provider: no such file or directory", f.Detail)
	require.Equal(t, []string{"simulated"}, r.Attesters)
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	r := Run(context.Background(), Options{})
	require.Equal(t, "simulated", r.Attesters[0])
	require.Len(t, r.Findings, 6)
}
