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
