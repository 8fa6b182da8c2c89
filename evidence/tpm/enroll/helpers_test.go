package enroll

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence/tpm"
)

// maker is a TPM manufacturer: the local CA of swtpm_setup.
type maker struct {
	dir                  string
	roots, intermediates *x509.CertPool
}

// newMaker skips the test where swtpm is missing.
func newMaker(t testing.TB) *maker {
	t.Helper()
	for _, tool := range []string{"swtpm", "swtpm_setup", "certtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is missing: apt-get install -y swtpm swtpm-tools gnutls-bin")
		}
	}
	dir, err := os.MkdirTemp("", "maker") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &maker{dir: dir, roots: x509.NewCertPool(), intermediates: x509.NewCertPool()}
	write := func(name, format string, args ...any) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, format, args...), 0o600))
	}
	write("localca.conf", "statedir = %[1]s\nsigningkey = %[1]s/signkey.pem\nissuercert = %[1]s/issuercert.pem\ncertserial = %[1]s/certserial\n", dir)
	write("options", "--platform-manufacturer test\n--platform-version 1\n--platform-model test\n")
	write("setup.conf", "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = %[1]s/localca.conf\n"+
		"create_certs_tool_options = %[1]s/options\nactive_pcr_banks = sha256\n", dir)
	return m
}

// build makes a TPM with an endorsement key that the maker has certified, and
// starts it.
func (m *maker) build(t testing.TB, args ...string) *tpm.TPM {
	t.Helper()
	state, err := os.MkdirTemp(m.dir, "tpm")
	require.NoError(t, err)
	out, err := exec.Command("swtpm_setup", append([]string{"--tpm2", "--tpmstate", state,
		"--config", filepath.Join(m.dir, "setup.conf"), "--create-ek-cert"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	m.addCA(t, m.roots, "swtpm-localca-rootca-cert.pem")
	m.addCA(t, m.intermediates, "issuercert.pem")
	return start(t, state)
}

func (m *maker) addCA(t testing.TB, pool *x509.CertPool, file string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, file))
	require.NoError(t, err)
	block, _ := pem.Decode(b)
	require.NotNil(t, block)
	ca, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	pool.AddCert(ca)
}

// start runs swtpm on a state directory.
func start(t testing.TB, state string) *tpm.TPM {
	t.Helper()
	path := filepath.Join(state, "s")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state,
		"--server", "type=unixio,path="+path, "--flags", "not-need-init,startup-clear")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 10*time.Second, 2*time.Millisecond)
	device, err := tpm.Open(context.Background(), tpm.Options{Open: tpm.Socket("unix", path)})
	require.NoError(t, err)
	t.Cleanup(func() { device.Close() })
	return device
}

func newCA(t testing.TB, m *maker) *CA {
	t.Helper()
	authority, err := NewAuthority("AK CA", time.Now())
	require.NoError(t, err)
	ca, err := NewCA(Options{Authority: authority, EKRoots: m.roots, EKIntermediates: m.intermediates, AnyTPM: true})
	require.NoError(t, err)
	return ca
}
