package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a log that is written and read at the same time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

// lines counts the lines of the log with a message and all the texts.
func (b *buffer) lines(t testing.TB, message string, texts ...string) int {
	t.Helper()
	n := 0
next:
	for line := range strings.Lines(b.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		if fields["msg"] != message {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		n++
	}
	return n
}

// running is a sidecar at work.
type running struct {
	t       testing.TB
	path    string
	log     *buffer
	addrs   map[string]string // by name
	reload  chan struct{}
	stop    context.CancelFunc
	ended   chan error
	stopped bool
}

// start runs a sidecar until the test ends, with the head and proxies of a
// configuration.
func start(t testing.TB, dir, text string) *running {
	t.Helper()
	s, err := tryStart(t, dir, text)
	require.NoError(t, err)
	return s
}

var count atomic.Int64

const head = "version: 1\nadmin: {listen: \"127.0.0.1:0\"}\nreload: {interval: 20ms}\n"

func tryStart(t testing.TB, dir, text string) (*running, error) {
	t.Helper()
	return tryStartChanged(t, dir, text, nil)
}

// tryStartChanged is tryStart with proxies that are changed before they serve.
func tryStartChanged(t testing.TB, dir, text string, change func(*proxy)) (*running, error) {
	t.Helper()
	if !strings.Contains(text, "version:") {
		text = head + text
	}
	s := &running{
		t: t, path: filepath.Join(dir, fmt.Sprintf("sidecar-%d.yaml", count.Add(1))), log: new(buffer),
		addrs: make(map[string]string), reload: make(chan struct{}), ended: make(chan error, 1),
	}
	s.write(text)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	out, in := io.Pipe()
	go func() {
		err := Run(ctx, Options{Path: s.path, Stdout: in, Log: s.log, Reload: s.reload, testingOnlyPrepare: change})
		_ = in.Close()
		s.ended <- err
	}()
	lines := bufio.NewScanner(out)
	for want := strings.Count(text, "listen:"); want > 0 && lines.Scan(); want-- {
		var addr, name string
		_, err := fmt.Sscanf(lines.Text(), "listening on %s for %s", &addr, &name)
		require.NoError(t, err, lines.Text())
		s.addrs[name] = addr
	}
	if len(s.addrs) < strings.Count(text, "listen:") {
		stop()
		return nil, <-s.ended
	}
	t.Cleanup(func() {
		if !s.stopped {
			require.NoError(t, s.end())
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s, nil
}

// write replaces the configuration.
func (s *running) write(text string) {
	s.t.Helper()
	replace(s.t, s.path, []byte(text))
}

// replace gives a file new content at once.
func replace(t testing.TB, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(name+".new", content, 0o600))
	require.NoError(t, os.Rename(name+".new", name))
}

// end stops a sidecar and waits for it.
func (s *running) end() error {
	s.stopped = true
	s.stop()
	return <-s.ended
}

func (s *running) get(path string) (int, string) {
	s.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get("http://" + s.addrs["admin"] + path)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(b)
}

// metric is the value of a metric with labels, as in a="b",c="d"; 0 if there is none.
func (s *running) metric(name, labels string) float64 {
	s.t.Helper()
	_, text := s.get("/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(s.t, err)
	_ = families
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "expat_proxy_"+name+"{"+labels+"} "); ok {
			v, err := strconv.ParseFloat(value, 64)
			require.NoError(s.t, err)
			return v
		}
	}
	return 0
}

// eventually waits for something that happens beside the test.
func eventually(t testing.TB, what func() bool, message string) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, 5*time.Millisecond, message)
}

// newState makes a state directory, and returns the directory that holds it as s.
func newState(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	trust, _, err := state.Create(filepath.Join(dir, "s"), time.Now())
	require.NoError(t, err)
	require.NoError(t, platform.WritePolicies(filepath.Join(dir, "s"), trust))
	return dir
}

// serverSide and clientSide are proxies that attest to each other; more are further
// fields.
func serverSide(upstream string, more ...string) string {
	return side("web", "server", upstream, "    verify: {policy: s/policy-client.yaml}\n", more)
}

func clientSide(upstream string, more ...string) string {
	return side("out", "client", upstream, "    verify: {policy: s/policy-server.yaml}\n    server_name: localhost\n", more)
}

func side(name, kind, upstream, fields string, more []string) string {
	text := "proxies:\n  - name: " + name + "\n    side: " + kind + "\n    upstreams: [\"" + upstream + "\"]\n" +
		"    identity: {attester: simulated, state: s}\n    roots: s/ca.pem\n" + fields
	listens := false
	for _, m := range more {
		listens = listens || strings.HasPrefix(m, "listen:")
		text += "    " + m + "\n"
	}
	if !listens {
		text += "    listen: 127.0.0.1:0\n"
	}
	return text
}

// backend is a plain server; it counts who came.
type backend struct {
	addr  string
	conns atomic.Int64
	ln    net.Listener
}

func serve(t testing.TB, network, address string, handle func(net.Conn)) *backend {
	t.Helper()
	ln, err := net.Listen(network, address)
	require.NoError(t, err)
	b := &backend{addr: ln.Addr().String(), ln: ln}
	if network == "unix" {
		b.addr = "unix:" + b.addr
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.conns.Add(1)
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return b
}

// echo sends back what comes, and then says so.
func echo(c net.Conn) {
	_, _ = io.Copy(c, c)
	_, _ = io.WriteString(c, " and the end")
}

// pair runs both sides before a backend.
func pair(t testing.TB, dir, backend string) (server, client *running) {
	t.Helper()
	server = start(t, dir, serverSide(backend))
	return server, start(t, dir, clientSide(server.addrs["web"]))
}

// ask sends a message on a plain connection, ends the stream, and returns the answer.
func ask(t testing.TB, addr, message string) (string, error) {
	t.Helper()
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.WriteString(c, message); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// peer is a client of a server side without a sidecar of its own.
func peer(t testing.TB, dir string) *expat.Config {
	t.Helper()
	trust, err := state.Load(filepath.Join(dir, "s"), time.Now())
	require.NoError(t, err)
	own, err := platform.Attest(t.Context(), platform.Options{State: filepath.Join(dir, "s"), Platform: "simulated", Side: state.Client, Names: []string{"c"}})
	require.NoError(t, err)
	judge, err := platform.Judge(filepath.Join(dir, "s"), "simulated", state.Server)
	require.NoError(t, err)
	return &expat.Config{
		TLS:      &tls.Config{RootCAs: trust.Roots(), ServerName: "localhost", Certificates: []tls.Certificate{own.Certificate}},
		Attester: own.Attester, Verifier: judge,
	}
}
