package proxy

import (
	"bufio"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"
)

// heap is the memory in use, in bytes, after what can be freed was.
func heap() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// crowd opens connections that say nothing, and as many that send a byte a second,
// of the start of what belongs there, until they are closed from the other side.
func crowd(t *testing.T, addr, begin string) (closed *sync.WaitGroup, all []net.Conn) {
	t.Helper()
	closed = new(sync.WaitGroup)
	for i := range 2 * silentClients {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		all = append(all, c)
		closed.Go(func() {
			buf := make([]byte, 512)
			for n := 0; ; n++ {
				if i%2 == 0 {
					_ = c.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := c.Write([]byte{begin[n%len(begin)]}); err != nil {
						return
					}
				}
				if _, err := c.Read(buf); err != nil {
					if e, ok := err.(net.Error); !ok || !e.Timeout() {
						return
					}
				}
			}
		})
	}
	return closed, all
}

// Not parallel: it counts goroutines and memory.
func TestSilentClients(t *testing.T) {
	dir := newState(t)
	b := web(t, nil)
	roomy := "limits: {connections: 100000, connections_per_client: 100000, new_per_second_per_client: 100000}"
	patient := "timeouts: {handshake: 3s}"
	for _, mode := range []string{"tcp", "http"} {
		server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: "+mode, roomy, patient))
		client := start(t, dir, clientSide(server.addrs["web"], "mode: "+mode, roomy, patient))
		good := func() {
			t.Helper()
			tr := &http.Transport{DisableKeepAlives: true}
			resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get("http://" + client.addrs["out"])
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, 200, resp.StatusCode)
		}
		good()
		targets := map[string]string{server.addrs["web"]: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} // a ClientHello
		if mode == "http" {                                                                               // a plain client in mode tcp may be silent until timeouts.idle
			targets[client.addrs["out"]] = "GET / HTTP/1.1\r\nX: y"
		}
		for target, begin := range targets {
			time.Sleep(50 * time.Millisecond)
			goroutines, memory := runtime.NumGoroutine(), heap()
			closed, all := crowd(t, target, begin)
			ended := make(chan struct{})
			go func() { closed.Wait(); close(ended) }() // all are closed from the other side
			served := 0
			for over := false; !over || served == 0; served++ {
				good() // within its own time
				select {
				case <-ended:
					over = true
				case <-time.After(100 * time.Millisecond):
				}
			}
			t.Logf("%s %s: %d good clients were served beside %d bad ones", mode, target, served, len(all))
			for _, c := range all {
				_ = c.Close()
			}
			eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+10 }, mode+": goroutines are back")
			eventually(t, func() bool { return heap() < memory+8<<20 }, mode+": memory is back")
			require.LessOrEqual(t, server.log.lines(t, "refused")+client.log.lines(t, "refused"), 20*perSecond, "many of a kind are told together")
			good()
		}
		require.NoError(t, client.end())
		require.NoError(t, server.end())
	}
}

func TestLimitsPerClient(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server := start(t, dir, serverSide(b.addr, "limits: {connections_per_client: 2}"))
	client := start(t, dir, clientSide(server.addrs["web"]))
	for range 2 {
		c, err := net.Dial("tcp", server.addrs["web"])
		require.NoError(t, err)
		defer c.Close()
	}
	eventually(t, func() bool { return server.metric("connections", `proxy="web"`) == 2 }, "both are open")
	_, err := ask(t, client.addrs["out"], "hello")
	require.Error(t, err)
	require.EqualValues(t, 1, server.metric("refusals_total", `proxy="web",reason="limit_client",side="local"`))
	require.Equal(t, 1, server.log.lines(t, "refused", "limit_client"))
	server.write(head + serverSide(b.addr, "limits: {connections_per_client: 9}"))
	eventually(t, func() bool { return server.log.lines(t, "configuration changed") == 1 }, "limits are reloaded")
	got, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.Equal(t, "hello and the end", got)
}

func TestUnixAndProxyProtocol(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	type header struct {
		h   *proxyproto.Header
		err error
	}
	headers := make(chan header, 8)
	b := serve(t, "unix", filepath.Join(dir, "backend"), func(c net.Conn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		headers <- header{h, err}
		_, _ = r.WriteTo(c)
	})
	server := start(t, dir, serverSide(b.addr, "proxy_protocol: v2"))
	client := start(t, dir, clientSide(server.addrs["web"], "listen: unix:"+filepath.Join(dir, "plain")))
	got, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	h := <-headers
	require.NoError(t, h.err)
	require.Equal(t, server.addrs["web"], h.h.DestinationAddr.String())
	require.Equal(t, "127.0.0.1", h.h.SourceAddr.(*net.TCPAddr).IP.String())
	tlvs, err := h.h.TLVs()
	require.NoError(t, err)
	require.Equal(t, []proxyproto.TLV{{Type: tierTLV, Value: []byte("affirming")}}, tlvs)

	// The attested side on a Unix socket too, which a process has left behind.
	left := filepath.Join(dir, "attested")
	ln, err := net.Listen("unix", left)
	require.NoError(t, err)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_, err = tryStart(t, dir, serverSide(b.addr, "listen: unix:"+left))
	require.ErrorContains(t, err, "address already in use", "somebody listens")
	require.NoError(t, ln.Close())
	start(t, dir, serverSide(b.addr, "proxy_protocol: v2", "listen: unix:"+left))
	client = start(t, dir, clientSide("unix:"+left))
	_, err = ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.NoError(t, (<-headers).err)
	replace(t, filepath.Join(dir, "file"), []byte("content"))
	_, err = tryStart(t, dir, serverSide(b.addr, "listen: unix:"+filepath.Join(dir, "file")))
	require.ErrorContains(t, err, "address already in use", "a file is not removed")
}

// What Prometheus reads is in its format, and follows its conventions, says its own tool.
func TestMetricsChecked(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("this test needs promtool: apt-get install -y --no-install-recommends prometheus")
	}
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server, client := pair(t, dir, b.addr)
	_, err = ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	_, _ = ask(t, server.addrs["web"], "hello") // refused: there are refusals to tell
	eventually(t, func() bool { return server.metric("handshakes_total", `outcome="refused",proxy="web"`) == 1 }, "counted")
	_, text := server.get("/metrics")
	for _, name := range []string{
		"expat_proxy_handshakes_total", "expat_proxy_refusals_total", "expat_proxy_verifier_seconds_bucket",
		"expat_proxy_expiries_total", "go_goroutines", "process_open_fds",
		// what has not happened yet, so that an alert sees the first time
		`expat_proxy_accept_errors_total{proxy="web"} 0`, `expat_proxy_reloads_total{outcome="failed"} 0`,
		`expat_proxy_refusals_total{proxy="web",reason="verifier_unavailable",side="local"} 0`,
	} {
		require.Contains(t, text, "\n"+name)
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Empty(t, string(out))
}
