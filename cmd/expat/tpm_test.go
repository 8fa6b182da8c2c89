package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/rogpeppe/go-internal/testscript"
)

// tpmMaker is the key of the directory of a TPM manufacturer: the local CA of
// swtpm_setup.
const tpmMaker key = "maker"

// makeTPM makes a TPM in software with an endorsement key that the maker has
// certified, and starts it. Its address is then in the environment as NAME, the
// maker's certificates are EK_ROOT and EK_CA: maketpm NAME
func makeTPM(ts *testscript.TestScript, _ bool, args []string) {
	maker, _ := ts.Value(tpmMaker).(*string)
	if *maker == "" {
		*maker = newTPMMaker(ts)
	}
	dir, err := os.MkdirTemp(*maker, "tpm")
	ts.Check(err)
	out, err := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", dir,
		"--config", filepath.Join(*maker, "setup.conf"), "--create-ek-cert").CombinedOutput()
	if err != nil {
		ts.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			ts.Fatalf("swtpm does not start: %v", err)
		}
	}
	ts.Setenv(args[0], "unix:"+socket)
	ts.Setenv("EK_ROOT", filepath.Join(*maker, "swtpm-localca-rootca-cert.pem"))
	ts.Setenv("EK_CA", filepath.Join(*maker, "issuercert.pem"))
}

// newTPMMaker skips the script where swtpm is missing.
func newTPMMaker(ts *testscript.TestScript) string {
	if !hasSWTPM() {
		ts.Fatalf("guard the script with: [!swtpm] skip")
	}
	dir, err := os.MkdirTemp("", "maker") // a socket's path must be short
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	for name, content := range map[string]string{
		"localca.conf": fmt.Sprintf("statedir = %[1]s\nsigningkey = %[1]s/signkey.pem\nissuercert = %[1]s/issuercert.pem\ncertserial = %[1]s/certserial\n", dir),
		"options":      "--platform-manufacturer test\n--platform-version 1\n--platform-model test\n",
		"setup.conf": fmt.Sprintf("create_certs_tool = swtpm_localca\ncreate_certs_tool_config = %[1]s/localca.conf\n"+
			"create_certs_tool_options = %[1]s/options\nactive_pcr_banks = sha256\n", dir),
	} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// hasSWTPM is the condition swtpm of a script.
func hasSWTPM() bool {
	for _, tool := range []string{"swtpm", "swtpm_setup", "certtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	return true
}

// extendPCR measures something into a PCR of the SHA-256 bank: extendpcr NAME PCR
func extendPCR(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.Dial("unix", ts.Getenv(args[0])[len("unix:"):])
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(10 * time.Second))) // swtpm serves one program at a time
	pcr, err := strconv.Atoi(args[1])
	ts.Check(err)
	_, err = tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
	}.Execute(transport.FromReadWriteCloser(c))
	ts.Check(err)
}
