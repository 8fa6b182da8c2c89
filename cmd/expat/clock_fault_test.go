//go:build linux && clock

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The clock of a process cannot be set from outside without setting the machine's, and
// what fakes it in C libraries does not reach a Go program, which asks the kernel's vDSO.
// So the program is built with an overlay of one line in package time, and a file that
// reads from descriptor 3 by how many seconds the clock on the wall is to be set. The
// monotonic clock goes on as it does when somebody sets the real one.
const (
	timeNow = "	sec, nsec, mono := runtimeNow()\n	if mono == 0 {"
	stepped = "	sec, nsec, mono := runtimeNow()\n	sec += wallStep.Load()\n	if mono == 0 {"

	stepFile = `package time

import "sync/atomic"

var wallStep atomic.Int64

// StepWall sets the clock on the wall.
func StepWall(seconds int64) { wallStep.Add(seconds) }
`
	mainFile = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func init() {
	go func() {
		steps, done := bufio.NewReader(os.NewFile(3, "steps")), os.NewFile(4, "done")
		for {
			var seconds int64
			if _, err := fmt.Fscanln(steps, &seconds); err != nil {
				return
			}
			time.StepWall(seconds)
			fmt.Fprintln(done)
		}
	}()
}
`
)

// buildWithClock builds the command with a clock that can be set.
func buildWithClock(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	std := filepath.Join(strings.TrimSpace(string(out)), "src/time")
	text, err := os.ReadFile(filepath.Join(std, "time.go"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), timeNow), "this Go reads the clock in another way")
	here, err := os.Getwd()
	require.NoError(t, err)
	replace := make(map[string]string)
	for name, content := range map[string]string{
		filepath.Join(std, "time.go"): strings.Replace(string(text), timeNow, stepped, 1),
		filepath.Join(std, "step.go"): stepFile, filepath.Join(here, "step.go"): mainFile,
	} {
		file := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		replace[name] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program := filepath.Join(dir, "expat")
	built, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(built))
	return program
}

// clock sets that of a process.
type clock struct {
	t     *testing.T
	steps *os.File
	done  *bufio.Reader
}

func (c *clock) step(d time.Duration) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.steps, int64(d/time.Second))
	require.NoError(c.t, err)
	_, err = c.done.ReadString('\n')
	require.NoError(c.t, err)
}

// startWithClock runs a sidecar whose clock can be set.
func startWithClock(t *testing.T, program, dir, name, text string) (*sidecar, *clock) {
	t.Helper()
	itsSteps, steps, err := os.Pipe()
	require.NoError(t, err)
	done, itsDone, err := os.Pipe()
	require.NoError(t, err)
	s := startSidecarAs(t, dir, name, text, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Err, cmd.ExtraFiles = program, nil, []*os.File{itsSteps, itsDone}
	})
	require.NoError(t, itsSteps.Close())
	require.NoError(t, itsDone.Close())
	t.Cleanup(func() { _, _ = steps.Close(), done.Close() })
	return s, &clock{t, steps, bufio.NewReader(done)}
}

// plainConn is a connection of a program, with what it does in a test.
type plainConn struct {
	net.Conn
	t     *testing.T
	began time.Time
}

func dialPlain(t *testing.T, addr string) *plainConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	p := &plainConn{c, t, time.Now()}
	require.NoError(t, p.ping())
	return p
}

func (c *plainConn) ping() error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

// age of the connection when it ends, to which this waits in silence.
func (c *plainConn) age() time.Duration {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := c.Read(make([]byte, 1))
	require.Error(c.t, err)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "it does not end")
	return time.Since(c.began)
}

// proxies writes a list of proxies like one, which differ in their name and in more.
func proxies(text string, each map[string]string) string {
	before, one, _ := strings.Cut(text, "proxies:\n")
	out := before + "proxies:\n"
	for name, more := range each {
		_, fields, _ := strings.Cut(one, "\n")
		out += "  - name: " + name + "\n" + fields + more
	}
	return out
}

// Clocks that are set while connections are open, on both sides. Half an hour ends no
// silence early and nothing that renews; a verdict ends where one of both clocks says that
// it has run out, so that setting one back prolongs none. Set by days, so that verdicts
// and certificates have run out, a clock ends renewing connections and lets in no others,
// until it is right again.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	program := buildWithClock(t)
	dir := sidecarState(t)
	policy, err := os.ReadFile(filepath.Join(dir, "s/policy-client.yaml"))
	require.NoError(t, err)
	const verdict, idle = 8 * time.Second, 3 * time.Second
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s/short.yaml"), []byte(strings.Replace(string(policy), "platform: simulated", "platform: simulated\n    lifetime: 8s", 1)), 0o600))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	server, serverClock := startWithClock(t, program, dir, "server", strings.Replace(proxies(fmt.Sprintf(serverYAML, "tcp", ln.Addr()), map[string]string{
		"renews": "    reattest_every: 1s\n", "expires": "    limits: {connections: 77}\n", "idles": "    timeouts: {idle: 3s}\n",
	}), "s/policy-client.yaml}\n    limits: {connections: 77}", "s/short.yaml}", 1))
	text := proxies(fmt.Sprintf(clientYAML, "tcp", "UPSTREAM"), map[string]string{"renews": "    reattest: true\n", "expires": "", "idles": ""})
	for name, addr := range server.addrs {
		at := strings.Index(text, "- name: "+name)
		if at >= 0 {
			text = text[:at] + strings.Replace(text[at:], "UPSTREAM", addr, 1)
		}
	}
	client, clientClock := startWithClock(t, program, dir, "client", text)
	both := func(d time.Duration) { serverClock.step(d); clientClock.step(d) }
	renewals := func(outcome string) float64 {
		return server.value(t, `expat_proxy_reattestations_total{outcome="`+outcome+`",proxy="renews"}`)
	}

	renews := dialPlain(t, client.addrs["renews"])
	for _, step := range []time.Duration{30 * time.Minute, -30 * time.Minute} {
		expires, idles := dialPlain(t, client.addrs["expires"]), dialPlain(t, client.addrs["idles"])
		before := renewals("accepted")
		both(step)
		require.Greater(t, idles.age(), idle-time.Second, "set by %v: silence ends a connection no earlier", step)
		if step > 0 {
			require.Error(t, expires.ping(), "its time is over by one clock")
		} else {
			require.NoError(t, expires.ping(), "its time is over by no clock")
		}
		require.Less(t, expires.age(), verdict+5*time.Second, "set by %v: nor later", step)
		require.Eventually(t, func() bool { return renewals("accepted") > before }, 20*time.Second, 50*time.Millisecond, "renewed after the step")
		require.NoError(t, renews.ping())
		both(-step)
	}
	require.Zero(t, renewals("failed"))
	require.Positive(t, server.value(t, `expat_proxy_expiries_total{proxy="expires"}`))

	serverClock.step(30 * 24 * time.Hour)
	renews.age()
	require.Eventually(t, func() bool {
		return server.value(t, `expat_proxy_expiries_total{proxy="renews"}`) == 1
	}, 20*time.Second, 50*time.Millisecond, "counted")
	if c, err := net.Dial("tcp", client.addrs["expires"]); err == nil {
		late := &plainConn{c, t, time.Now()}
		require.Error(t, late.ping(), "certificates are not those of one time")
		require.NoError(t, c.Close())
	}
	serverClock.step(-30 * 24 * time.Hour)
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", client.addrs["expires"])
		if err != nil {
			return false
		}
		defer c.Close()
		return (&plainConn{c, t, time.Now()}).ping() == nil
	}, 20*time.Second, 100*time.Millisecond, "all is as before")
	log := client.end(t) + server.end(t)
	require.GreaterOrEqual(t, strings.Count(log, "attestation result ran out"), 3, "told by whoever looked first")
	require.Contains(t, log, "certificate has expired")
}
