package authenticator

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/tlspair"
)

// unsafeEKM names the variable that is set where TestWithoutEMSUnsafe runs itself.
const unsafeEKM = "EXPAT_TEST_UNSAFE_EKM"

// openssl runs a peer that offers or accepts extended_master_secret or does not:
// crypto/tls has no way not to. It ends with the test.
func openssl(t *testing.T, ems bool, args ...string) *bufio.Scanner {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing: apt-get install openssl")
	}
	option := map[bool]string{true: "ExtendedMasterSecret", false: "-ExtendedMasterSecret"}[ems]
	config := filepath.Join(t.TempDir(), "openssl.cnf")
	require.NoError(t, os.WriteFile(config, []byte("openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\nOptions = "+option+"\n"), 0o600))
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+config)
	_, err = cmd.StdinPipe() // open, or it ends the connection
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

// dialOpenSSL connects to an OpenSSL server over TLS 1.2.
func dialOpenSSL(t *testing.T, ems bool) tls.ConnectionState {
	t.Helper()
	cert := ownLeaf()
	file := filepath.Join(t.TempDir(), "cert.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(cert.PrivateKey))})...)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	chain := filepath.Join(t.TempDir(), "chain.pem")
	require.NoError(t, os.WriteFile(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[1]}), 0o600))

	out := openssl(t, ems, "s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-cert", file, "-key", file, "-cert_chain", chain)
	accept := regexp.MustCompile(`^ACCEPT (127\.0\.0\.1:\d+)`)
	for out.Scan() {
		m := accept.FindStringSubmatch(out.Text())
		if m == nil {
			continue
		}
		cc, _ := configs(cert)
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: cc}
		conn, err := d.DialContext(t.Context(), "tcp", m[1])
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn.(*tls.Conn).ConnectionState()
	}
	t.Fatal("openssl s_server did not say where it listens")
	return tls.ConnectionState{}
}

// acceptOpenSSL takes a connection from an OpenSSL client over TLS 1.2.
func acceptOpenSSL(t *testing.T, ems bool) tls.ConnectionState {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	openssl(t, ems, "s_client", "-connect", ln.Addr().String(), "-tls1_2")
	require.NoError(t, ln.(*net.TCPListener).SetDeadline(time.Now().Add(10*time.Second)))
	nc, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	conn := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{ownLeaf()}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, conn.HandshakeContext(ctx))
	return conn.ConnectionState()
}

// A-2, I-12: a peer without extended_master_secret, on either side; and the same
// peer with it, so that nothing else is refused.
func TestWithoutEMS(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]struct {
		state func(*testing.T, bool) tls.ConnectionState
		self  Role
	}{"client": {dialOpenSSL, Client}, "server": {acceptOpenSSL, Server}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewSessionTLS12(open.state(t, true), open.self)
			require.NoError(t, err)
			_, err = NewSessionTLS12(open.state(t, false), open.self)
			requireError(t, err, ErrConnection, OpSession, FaultLocal)
		})
	}
}

// I-12: the same under GODEBUG=tlsunsafeekm=1, in a process of its own,
// for the runtime counts such exports by process.
func TestWithoutEMSUnsafe(t *testing.T) {
	if os.Getenv(unsafeEKM) != "" {
		testWithoutEMSUnsafe(t)
		return
	}
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is missing: apt-get install openssl")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWithoutEMSUnsafe$", "-test.v")
	cmd.Env = append(os.Environ(), unsafeEKM+"=1", "GODEBUG=tlsunsafeekm=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestWithoutEMSUnsafe")
}

func testWithoutEMSUnsafe(t *testing.T) {
	cc, sc := configs(ownLeaf())
	cc.MaxVersion = tls.VersionTLS12
	withEMS, _ := tlspair.Connect(t, cc, sc)
	_, err := NewSessionTLS12(withEMS.ConnectionState(), Client)
	require.NoError(t, err, "the setting alone exports nothing that it should not")

	without := dialOpenSSL(t, false)
	_, err = without.ExportKeyingMaterial("label", nil, 32)
	require.NoError(t, err, "crypto/tls exports under the setting")
	_, err = NewSessionTLS12(without, Client)
	requireError(t, err, ErrConnection, OpSession, FaultLocal)
	require.ErrorContains(t, err, "tlsunsafeekm")

	_, err = NewSessionTLS12(withEMS.ConnectionState(), Client)
	requireError(t, err, ErrConnection, OpSession, FaultLocal) // no connection can be told to be safe
	tls13 := connect(t, 0)
	testExchanges(t, tls13) // TLS 1.3 needs no extended_master_secret
}
