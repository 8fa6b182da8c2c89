package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

// record keeps what a process logs, while it does.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// says waits for the log, which can lag behind what the peer was told.
func (r *record) says(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(r.String(), text) }, 10*time.Second, 10*time.Millisecond, "%s: %s", text, r)
}

// startServe runs expat serve in a process of its own.
func startServe(t *testing.T, args ...string) (addr string, log *record) {
	t.Helper()
	p := exec.Command("expat", append([]string{"serve"}, args...)...)
	p.Env = append(os.Environ(), noExitSleep)
	log = new(record)
	p.Stderr = log
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, log)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return addr, log
}

// visitor is expat connect in a process of its own, whose input stays open.
type visitor struct {
	p   *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err record
}

func newVisitor(t *testing.T, addr, dir string) *visitor {
	t.Helper()
	v := &visitor{p: exec.Command("expat", "connect", addr, "--state", dir, "--attester", "simulated")}
	v.p.Env = append(os.Environ(), noExitSleep)
	v.p.Stderr = &v.err
	var err error
	v.in, err = v.p.StdinPipe()
	require.NoError(t, err)
	out, err := v.p.StdoutPipe()
	require.NoError(t, err)
	v.out = bufio.NewReader(out)
	require.NoError(t, v.p.Start())
	t.Cleanup(func() { _ = v.p.Process.Kill() })
	return v
}

func (v *visitor) echoes() bool {
	if _, err := io.WriteString(v.in, "still here\n"); err != nil {
		return false
	}
	line, err := v.out.ReadString('\n')
	return err == nil && line == "still here\n"
}

// end closes the input and returns the exit code.
func (v *visitor) end() int {
	_ = v.in.Close()
	_, _ = io.Copy(io.Discard, v.out)
	_ = v.p.Wait()
	return v.p.ProcessState.ExitCode()
}

// Background check, four processes: the verifier is killed. The connection that is there
// goes on, a new one does not open, and a verifier that is back is enough to recover.
func TestServeWithVerifierKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	verifier, addr := startVerifier(t, dir, "127.0.0.1:0")
	server, log := startServe(t, "--state", dir, "--attester", "simulated", "--verify", "--verifier", "http://"+addr)
	first := newVisitor(t, server, dir)
	require.True(t, first.echoes(), &first.err)

	require.NoError(t, verifier.Process.Kill())
	_ = verifier.Wait()
	refused := newVisitor(t, server, dir)
	require.Equal(t, 3, refused.end(), "no verdict is not a verdict of no")
	require.Contains(t, refused.err.String(), "verifier unavailable")
	log.says(t, "not reachable")
	require.True(t, first.echoes(), "an accepted connection goes on")

	startVerifier(t, dir, addr)
	require.Eventually(t, func() bool {
		again := newVisitor(t, server, dir)
		return again.echoes() && again.end() == 0
	}, 30*time.Second, 100*time.Millisecond)
	require.True(t, first.echoes())
	require.Zero(t, first.end())
}

// shows presents whatever token it has, as an attester that means no good.
type shows struct {
	token func(b attestation.Binding) ([]byte, error)
}

func (shows) MediaTypes() []string { return []string{ear.MediaType} }

func (s shows) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	token, err := s.token(b)
	if err != nil {
		return nil, err
	}
	return cmw.NewRecord(ear.MediaType, token, cmw.AttestationResults)
}

// B-13, H-5: passports that the verifier has signed and that are good elsewhere open no
// connection of expat serve.
func TestServePassports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	trust, _, err := state.Create(dir, time.Now())
	require.NoError(t, err)
	key, err := appraise.TestKey(dir)
	require.NoError(t, err)
	issuer := func(ago time.Duration) *ear.Issuer {
		i, err := ear.NewIssuer(ear.IssuerOptions{
			Key: key, Name: "expat-verifier", Developer: "d", Build: "b", Lifetime: 10 * time.Minute,
			Now: func() time.Time { return time.Now().Add(-ago) },
		})
		require.NoError(t, err)
		return i
	}
	jwks, err := issuer(0).JWKS()
	require.NoError(t, err)
	require.NoError(t, appraise.WriteJWKS(dir, jwks))
	perConnection, connectionLog := startServe(t, "--state", dir, "--verify", "--accept-passport")
	keyBound, keyLog := startServe(t, "--state", dir, "--verify", "--accept-key-bound-passport")
	own, err := platform.Attest(t.Context(), platform.Options{State: dir, Platform: platform.Simulated, Side: state.Client, Names: []string{"client"}})
	require.NoError(t, err)
	stranger, err := platform.Attest(t.Context(), platform.Options{State: dir, Platform: platform.Simulated, Side: state.Client, Names: []string{"client"}})
	require.NoError(t, err)
	issue := func(b attestation.Binding, ago time.Duration) ([]byte, error) {
		return issuer(ago).Issue(context.Background(), ear.Statement{Binding: b, Appraisals: []attestation.Appraisal{
			{Environment: "tee", Status: attestation.TierAffirming, Policy: "p"},
		}})
	}
	other, err := attestation.AssertedBinding(make([]byte, 32), own.Certificate.Leaf.RawSubjectPublicKeyInfo)
	require.NoError(t, err)
	otherKey, err := attestation.AssertedBinding(make([]byte, 32), stranger.Certificate.Leaf.RawSubjectPublicKeyInfo)
	require.NoError(t, err)
	always := func(b attestation.Binding, ago time.Duration) func(attestation.Binding) ([]byte, error) {
		return func(attestation.Binding) ([]byte, error) { return issue(b, ago) }
	}
	for name, c := range map[string]struct {
		addr  string
		token func(attestation.Binding) ([]byte, error)
		log   *record
		want  string // in the server's log; "": accepted
	}{
		"good":                         {perConnection, func(b attestation.Binding) ([]byte, error) { return issue(b, 0) }, nil, ""},
		"expired":                      {perConnection, func(b attestation.Binding) ([]byte, error) { return issue(b, 11*time.Minute) }, connectionLog, "the EAR has expired"},
		"of another connection":        {perConnection, always(other, 0), connectionLog, "another nonce than the binder"},
		"for the key":                  {keyBound, always(other, 0), nil, ""},
		"for the key, expired":         {keyBound, always(other, 11*time.Minute), keyLog, "the EAR has expired"},
		"for the key of somebody else": {keyBound, always(otherKey, 0), keyLog, "the EAR attests another key"},
	} {
		conn, err := expat.Dial(t.Context(), "tcp", c.addr, &expat.Config{
			TLS:      &tls.Config{RootCAs: trust.Roots(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{own.Certificate}},
			Attester: shows{c.token},
		})
		if c.want == "" {
			require.NoError(t, err, name)
			require.NoError(t, echoes(conn), name)
			require.NoError(t, conn.Close())
			continue
		}
		var e *expat.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, expat.AlertAttestationRejected, e.Alert, name)
		c.log.says(t, c.want)
	}
}

// serverCertificate makes a CA in a directory, and files of a certificate of it.
func serverCertificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	_, keys, err := state.Create(dir, time.Now())
	require.NoError(t, err)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf, err := keys.CA.Leaf(k, x509.ExtKeyUsageServerAuth, time.Now(), "127.0.0.1")
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return cert, key
}

// The verifier and its keys over TLS with a CA of its own, as --verifier-ca names it.
func TestVerifierOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := t.TempDir()
	cert, key := serverCertificate(t, ca)
	p := exec.Command("expat", "verifier", "serve", "--state", dir, "--tls-cert", cert, "--tls-key", key)
	p.Env = append(os.Environ(), noExitSleep)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	addr, _ := startServe(t, "--state", dir, "--attester", "simulated")
	for _, c := range []struct {
		ca   string
		code int
		text string
	}{
		{filepath.Join(ca, state.CAFile), 0, "affirming"},
		{filepath.Join(dir, state.CAFile), 3, "not reachable"},
	} {
		v := exec.Command("expat", "connect", addr, "--state", dir, "--message", "hi",
			"--verifier", url, "--verifier-keys", url+"/.well-known/jwks.json", "--verifier-ca", c.ca)
		v.Env = append(os.Environ(), noExitSleep)
		text, _ := v.CombinedOutput()
		require.Equal(t, c.code, v.ProcessState.ExitCode(), string(text))
		require.Contains(t, string(text), c.text)
	}
}
