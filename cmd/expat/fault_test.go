//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// plainBackend answers everything with "ok".
func plainBackend(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// requireServes has a good client served.
func requireServes(t *testing.T, client *sidecar) {
	t.Helper()
	status, got, err := fetch("http://" + client.addrs["out"])
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ok", got)
}

// value is that of a metric, its labels included in name.
func (s *sidecar) value(t *testing.T, name string) float64 {
	t.Helper()
	_, text, err := fetch("http://" + s.addrs["admin"] + "/metrics")
	require.NoError(t, err)
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			require.NoError(t, err)
			return f
		}
	}
	return 0
}

// level is what must not grow: goroutines, descriptors, heap in bytes.
func (s *sidecar) level(t *testing.T) (goroutines, descriptors, heap float64) {
	t.Helper()
	return s.value(t, "go_goroutines"), s.value(t, "process_open_fds"), s.value(t, "go_memstats_heap_inuse_bytes")
}

// requireLevel waits until it is back at what it was.
func (s *sidecar) requireLevel(t *testing.T, goroutines, descriptors, heap float64) {
	t.Helper()
	var g, d, h float64
	require.Eventually(t, func() bool {
		g, d, h = s.level(t)
		return g <= goroutines+4 && d <= descriptors+2 && h < heap+16<<20
	}, 30*time.Second, 100*time.Millisecond, "goroutines, descriptors and heap are back")
	t.Logf("before: %v goroutines, %v descriptors, %.1f MiB; after: %v, %v, %.1f MiB", goroutines, descriptors, heap/(1<<20), g, d, h/(1<<20))
}

// A log on a file system that is full, and one whose reader has gone: the sidecar serves
// on, does not grow, and counts what is lost.
func TestLogCannotBeWritten(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	r, gone, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	defer gone.Close()
	backend := plainBackend(t)
	for name, log := range map[string]*os.File{"full": full, "reader gone": gone} {
		t.Run(name, func(t *testing.T) {
			dir := sidecarState(t)
			to := func(cmd *exec.Cmd) { cmd.Stderr = log }
			server := startSidecarAs(t, dir, "server", fmt.Sprintf(serverYAML, "tcp", backend), to)
			client := startSidecarAs(t, dir, "client", fmt.Sprintf(clientYAML, "tcp", server.addrs["web"]), to)
			requireServes(t, client)
			goroutines, descriptors, heap := server.level(t)
			for range 60 {
				requireServes(t, client)
				c, err := net.Dial("tcp", server.addrs["web"])
				require.NoError(t, err)
				_, err = io.WriteString(c, "no TLS\n") // refused, which is logged
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
			server.requireLevel(t, goroutines, descriptors, heap)
			require.Greater(t, server.value(t, "expat_proxy_log_write_errors_total"), 40.0)
			requireServes(t, client)
			client.end(t)
			server.end(t)
		})
	}
}

// With no file descriptors left a sidecar, of either side, waits; it says so once, and
// is what it was before when there are some again.
func TestSidecarDescriptors(t *testing.T) {
	t.Parallel()
	backend := plainBackend(t)
	few := []string{"sh", "-c", `ulimit -n 40; exec "$@"`, "sh"}
	text := func(yaml string) string {
		return strings.Replace(yaml, "reload: {interval: 20ms}", "reload: {interval: 1h}", 1) +
			"    timeouts: {handshake: 2s}\n    limits: {connections_per_client: 1000, new_per_second_per_client: 1000}\n"
	}
	for _, side := range []string{"server", "client"} {
		t.Run(side, func(t *testing.T) {
			dir := sidecarState(t)
			ofServer, ofClient := few, []string(nil)
			if side == "client" {
				ofServer, ofClient = nil, few
			}
			server := startSidecar(t, dir, "server", text(fmt.Sprintf(serverYAML, "tcp", backend)), ofServer...)
			client := startSidecar(t, dir, "client", text("admin: {listen: \"127.0.0.1:0\"}\n"+fmt.Sprintf(clientYAML, "tcp", server.addrs["web"])), ofClient...)
			limited, addr := server, server.addrs["web"]
			if side == "client" {
				limited, addr = client, client.addrs["out"]
			}
			requireServes(t, client)
			goroutines, descriptors, heap := limited.level(t)
			for range 3 { // each time that they run out
				var open []net.Conn
				for range 60 {
					c, err := net.Dial("tcp", addr) // the kernel accepts for a while
					require.NoError(t, err)
					open = append(open, c)
				}
				time.Sleep(300 * time.Millisecond)
				for _, c := range open {
					_ = c.Close()
				}
				require.Eventually(t, func() bool {
					_, got, err := fetch("http://" + client.addrs["out"])
					return err == nil && got == "ok"
				}, 20*time.Second, 50*time.Millisecond)
			}
			limited.requireLevel(t, goroutines, descriptors, heap)
			require.Positive(t, limited.value(t, `expat_proxy_accept_errors_total{proxy="`+map[string]string{"server": "web", "client": "out"}[side]+`"}`))
			time.Sleep(time.Second) // until it is over
			requireServes(t, client)
			client.end(t)
			server.end(t)
			log := limited.log.String()
			require.Contains(t, log, "too many open files")
			failed, works := strings.Count(log, `"msg":"accept fails"`), strings.Count(log, `"msg":"accept works again"`)
			require.Equal(t, failed, works, "once for each time that it begins, and ends")
			require.LessOrEqual(t, failed, 3)
			require.Less(t, strings.Count(log, "\n"), 500)
		})
	}
}
