package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/demo"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runLine runs a command line in this process.
func runLine(stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(context.Background(), args, stdin, &out, &errs)
	return code, out.String(), errs.String()
}

// serveHere runs expat serve in this process until the test or cancel ends it, and
// returns where it listens.
func serveHere(t *testing.T, dir string, args ...string) (addr string, cancel func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	args = append([]string{"serve", "--state", dir, "--attester", "simulated"}, args...)
	go func() {
		code := Run(ctx, args, nil, w, io.Discard)
		_ = w.Close()
		ended <- code
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	cancel = func() {
		stop()
		_, _ = io.Copy(io.Discard, r)
		require.Equal(t, exitOK, <-ended)
		ended <- exitOK
	}
	t.Cleanup(cancel)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), cancel
}

func TestConnect(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	addr, _ := serveHere(t, dir, "--verify")

	code, out, errs := runLine(strings.NewReader("from stdin"), "connect", addr, "--state", dir, "--attester", "simulated")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "from stdin", out)

	large := strings.Repeat("0123456789abcdef", 1<<16)
	code, out, errs = runLine(strings.NewReader(large), "connect", addr, "--state", dir, "--attester", "simulated")
	require.Equal(t, exitOK, code, errs)
	require.True(t, out == large)

	code, out, errs = runLine(strings.NewReader(large+"x"), "connect", addr, "--state", dir, "--attester", "simulated", "--json")
	require.Equal(t, exitNetwork, code)
	require.Contains(t, errs, "too large for --json")
	require.Equal(t, "failed", object(t, out)["outcome"])

	code, out, errs = runLine(nil, "connect", addr, "--state", dir, "--attester", "simulated", "--json", "--message", "\xff\x00")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "/wA=", object(t, out)["reply_base64"])
	require.Nil(t, object(t, out)["reply"])

	code, out, errs = runLine(nil, "connect", addr, "--state", dir, "--attester", "simulated", "--json", "--message", "")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "", object(t, out)["reply"])
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// A server that ends takes its connections with it; a client that waits for
// input ends too.
func TestServerStopsWithOpenConnection(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	addr, cancel := serveHere(t, dir)
	in, person := io.Pipe()
	ended := make(chan int, 1)
	out, w := io.Pipe()
	go func() {
		code := Run(context.Background(), []string{"connect", addr, "--state", dir}, in, w, io.Discard)
		_ = w.Close()
		ended <- code
	}()
	_, err := person.Write([]byte("hi\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hi\n", line)
	cancel()
	require.Contains(t, []int{exitOK, exitNetwork}, <-ended)
	require.NoError(t, person.Close()) // ends the goroutine that reads input
}

func TestConnectInterrupted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	addr, _ := serveHere(t, dir)
	ctx, interrupt := context.WithCancel(context.Background())
	in, person := io.Pipe()
	defer person.Close()
	time.AfterFunc(200*time.Millisecond, interrupt)
	var errs bytes.Buffer
	code := Run(ctx, []string{"connect", addr, "--state", dir}, in, io.Discard, &errs)
	require.Equal(t, exitNetwork, code)
	require.Contains(t, errs.String(), "expat: context canceled; the command was interrupted")
}

var errBroken = errors.New("broken pipe of the test")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// Nothing is left behind when what is printed cannot be printed.
func TestBrokenOutput(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	addr, _ := serveHere(t, dir)
	for _, args := range [][]string{
		{"demo"}, {"demo", "--json"}, {"version"},
		{"serve", "--state", dir, "--attester", "simulated"},
		{"connect", addr, "--state", dir, "--message", "x"},
		{"connect", addr, "--state", dir, "--message", "x", "--json"},
	} {
		var errs bytes.Buffer
		require.Equal(t, exitNetwork, Run(context.Background(), args, nil, brokenWriter{}, &errs), args)
		require.Contains(t, errs.String(), errBroken.Error())
	}
}

// A listener that breaks ends the server with its error.
func TestServerListenerFails(t *testing.T) {
	t.Parallel()
	f := serveFlags{sideFlags: sideFlags{state: t.TempDir(), attester: "simulated"}, echo: true}
	s, err := f.server(context.Background(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.ErrorIs(t, s.run(context.Background(), brokenListener{}), errBroken)
}

type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errBroken }
func (brokenListener) Close() error              { return nil }

func TestExplain(t *testing.T) {
	t.Parallel()
	local := func(stage expat.Stage, alert expat.Alert, err error) error {
		return fmt.Errorf("somewhere: %w", &expat.Error{Stage: stage, Alert: alert, Side: expat.Local, Err: err})
	}
	byPeer := func(alert expat.Alert) error {
		return &expat.Error{Stage: expat.StageResult, Alert: alert, Side: expat.Peer, Err: expat.ErrPeerAlert}
	}
	check := func(c verifier.Check) error {
		return local(expat.StageAppraise, expat.AlertAttestationRejected, attestation.Reject(&verifier.CheckError{Check: c, Want: "a", Got: "b"}))
	}
	tests := []struct {
		name string
		err  error
		code int
		want string
	}{
		{"usage", fmt.Errorf("%w: bad", errUsage), exitUsage, "expat: usage: bad"},
		{"state", fmt.Errorf("%w: bad", state.ErrState), exitUsage, "expat: state directory: bad"},
		{"demo", fmt.Errorf("%w: bad", demo.ErrNotAsExpected), exitRefused, "did not go as it must: bad"},
		{"lines", fmt.Errorf("%w: a\n\n b\x1b", errUsage), exitUsage, "expat: usage: a b?"},
		{"debug", check(verifier.CheckDebug), exitRefused, `refused at step "appraise": attestation rejected: debug: want a, got b; its memory`},
		{"instance", check(verifier.CheckInstance), exitRefused, "not the machine"},
		{"chain", check(verifier.CheckChain), exitRefused, "signed by nobody whom the policy names"},
		{"vendor", check(verifier.CheckVendor), exitRefused, "change it or the reference values"},
		{"malformed Evidence", local(expat.StageAppraise, expat.AlertMalformed, attestation.ErrMalformed), exitRefused, `refused at step "appraise"`},
		{"malformed frame", local(expat.StageHello, expat.AlertMalformed, errBroken), exitNetwork, `failed at step "hello"`},
		{"no verdict", local(expat.StageAppraise, expat.AlertVerifierUnavailable, attestation.ErrUnavailable), exitNetwork, "failed"},
		{"no attestation", local(expat.StageAppraise, expat.AlertAttestationRequired, attestation.ErrMissing), exitRefused, "start the peer with --attester"},
		{"relayed signature", local(expat.StageValidate, expat.AlertWrongConnection, errBroken), exitRefused, `refused at step "validate"`},
		{"certificate", local(expat.StageValidate, expat.AlertCertificate, errBroken), exitRefused, "refused"},
		{"TLS certificate", local(expat.StageTLS, expat.AlertCertificate, errBroken), exitNetwork, `failed at step "tls"`},
		{"timeout", local(expat.StageHello, expat.AlertTimeout, context.DeadlineExceeded), exitNetwork, "slow or silent"},
		{"peer rejects", byPeer(expat.AlertAttestationRejected), exitRefused, "its log says why"},
		{"peer demands", byPeer(expat.AlertAttestationRequired), exitRefused, "give --attester, with the platform"},
		{"expired", local(expat.StageLifetime, expat.AlertAttestationRequired, expat.ErrExpired), exitRefused, `refused at step "lifetime": attestation result ran out; connect again, or have`},
		{"expired for the peer", &expat.Error{Stage: expat.StageStream, Alert: expat.AlertAttestationRequired, Side: expat.Peer, Err: expat.ErrPeerAlert}, exitRefused, "connect again, or have"},
		{"expired for the peer while asked", &expat.Error{Stage: expat.StageResult, Alert: expat.AlertAttestationRequired, Side: expat.Peer, Err: expat.ErrReattest}, exitRefused, "connect again, or have"},
		{"no renewals", local(expat.StageHello, expat.AlertAttestationRequired, expat.ErrNoReattest), exitRefused, "start the peer with --reattest"},
		{"peer is lost", byPeer(expat.AlertInternal), exitNetwork, "the peer's log says why"},
		{"peer of another kind", local(expat.StageHello, expat.AlertMalformed, errBroken), exitNetwork, "; if it happens again, run both sides with the same version of expat"},
		{"file", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, exitUsage, "expat: open x: permission denied; check the name of the file, and who may read and write there"},
		{"attack on another server", fmt.Errorf("%w: no", attacktest.ErrHonest), exitNetwork, "; is --state the directory of this server, and does it judge simulated TEEs?"},
	}
	text, code := explain(errBroken)
	require.Equal(t, exitNetwork, code)
	require.Equal(t, "expat: broken pipe of the test", text, "no advice is better than a wrong one")
	text, _ = explain(check(verifier.Check(strings.Repeat("x\n", 1<<15))))
	require.Less(t, len(text), 2*maxReason, "a peer does not fill the terminal")
	require.Contains(t, text, "...; it is not what the reference values name")
	for _, test := range tests {
		text, code := explain(test.err)
		require.Equal(t, test.code, code, test.name)
		require.Contains(t, text, test.want, test.name)
		require.NotContains(t, text, "\n", test.name)
	}
}

// What a peer says of itself reaches a terminal in JSON too: as what it is, and never
// as a command to the terminal.
func TestWriteJSON(t *testing.T) {
	t.Parallel()
	evil := "\x1b[2J\x7f\u009b2J\u202e\u2028\U000e0001 <é>\n"
	var out bytes.Buffer
	require.NoError(t, writeJSON(&out, map[string]string{evil: evil}))
	require.Equal(t, "{\n  "+`"\u001b[2J\u007f\u009b2J\u202e\u2028\udb40\udc01 <é>\n": "\u001b[2J\u007f\u009b2J\u202e\u2028\udb40\udc01 <é>\n"`+"\n}\n", out.String())
	var back map[string]string
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.Equal(t, map[string]string{evil: evil}, back)
	require.Error(t, writeJSON(&out, func() {}))
}

// What was found to be loopback is what is listened on: a name is resolved once.
func TestListenAddress(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"localhost:0": "^(127.0.0.1|\\[::1\\]):0$", "127.0.0.1:7": "^127.0.0.1:7$"} {
		s := serveFlags{sideFlags: sideFlags{state: "s", attester: "simulated", tpm: platform.DefaultTPM}, listen: name}
		s.elsewhere.from.Issuer = defaultIssuer
		require.NoError(t, s.check())
		require.Regexp(t, want, s.listen)
		v := verifierFlags{listen: name, state: "s"}
		require.NoError(t, v.checkListen())
		require.Regexp(t, want, v.listen)
	}
}

// Vectors and policies may come from anywhere; what they say is no command to a
// terminal.
func TestReportsAreClean(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	evil := "\x1b[2J\u009b"
	require.NoError(t, os.WriteFile(filepath.Join(dir, evil+".json"), []byte("{}"), 0o600))
	file := filepath.Join(dir, evil+"p.yaml")
	require.NoError(t, os.WriteFile(file, []byte("version: 1\n\""+strings.ReplaceAll(evil, "\x1b", "\\e")+"\": x\n"), 0o600))
	for _, args := range [][]string{{"vectors", "check", dir}, {"policy", "check", file}, {"proxy", "check", file}, {"policy", "check", "--json", file}} {
		_, out, errs := runLine(nil, args...)
		require.NotEmpty(t, out, args)
		for _, text := range []string{out, errs} {
			require.NotContains(t, text, "\x1b", args)
			require.NotContains(t, text, "\u009b", args)
		}
	}
}

// The flag knows every lie that there is.
func TestLies(t *testing.T) {
	t.Parallel()
	names := strings.Split(lieNames(), ", ")
	require.Len(t, names, 7)
	seen := make(map[simulated.Lie]bool)
	for _, name := range names {
		lies, err := (&sideFlags{lie: name}).lies()
		require.NoError(t, err)
		require.Len(t, lies, 1)
		require.Equal(t, name, lies[0].String())
		seen[lies[0]] = true
	}
	require.Len(t, seen, 7)
	require.Contains(t, (lastLie + 1).String(), "lie 8", "a lie that the flag does not know")
	lies, err := (&sideFlags{}).lies()
	require.NoError(t, err)
	require.Empty(t, lies)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	end := fmt.Sprintf(" %s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	require.Equal(t, "expat (unknown)"+end, version(nil))
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}
	require.Equal(t, "expat v1.2.3"+end, version(info))
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	require.Equal(t, "expat v1.2.3 commit 0123456789ab modified"+end, version(info))
}
