package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
)

// sidecar is an expat proxy in a process of its own.
type sidecar struct {
	cmd   *exec.Cmd
	addrs map[string]string // by name
	log   *bytes.Buffer     // to be read when it has ended
	path  string
}

// startSidecar runs a sidecar with a configuration, which lies in the directory of the
// state; wrap, if given, is a command that runs it.
func startSidecar(t *testing.T, dir, name, text string, wrap ...string) *sidecar {
	t.Helper()
	return startSidecarAs(t, dir, name, text, func(*exec.Cmd) {}, wrap...)
}

// startSidecarAs runs one whose process is changed before it starts.
func startSidecarAs(t *testing.T, dir, name, text string, change func(*exec.Cmd), wrap ...string) *sidecar {
	t.Helper()
	s := &sidecar{addrs: make(map[string]string), log: new(bytes.Buffer), path: filepath.Join(dir, name+".yaml")}
	require.NoError(t, os.WriteFile(s.path, []byte(text), 0o600))
	args := append(wrap, "expat", "proxy", "run", s.path)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = append(os.Environ(), noExitSleep)
	s.cmd.Stderr = s.log
	change(s.cmd)
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%s:\n%s", name, s.log)
		}
	})
	lines := bufio.NewReader(out)
	for range strings.Count(text, "listen:") {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		var addr, of string
		_, err = fmt.Sscanf(line, "listening on %s for %s", &addr, &of)
		require.NoError(t, err, line)
		s.addrs[of] = addr
	}
	return s
}

// end ends a sidecar by SIGTERM, and returns its log.
func (s *sidecar) end(t *testing.T) string {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.cmd.Wait())
	return s.log.String()
}

func sidecarState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	trust, _, err := state.Create(filepath.Join(dir, "s"), time.Now())
	require.NoError(t, err)
	require.NoError(t, platform.WritePolicies(filepath.Join(dir, "s"), trust))
	return dir
}

const serverYAML = `version: 1
admin: {listen: "127.0.0.1:0"}
reload: {interval: 20ms}
proxies:
  - name: web
    side: server
    mode: %s
    listen: 127.0.0.1:0
    upstreams: ["%s"]
    identity: {attester: simulated, state: s}
    roots: s/ca.pem
    verify: {policy: s/policy-client.yaml}
`

const clientYAML = `version: 1
proxies:
  - name: out
    side: client
    mode: %s
    listen: 127.0.0.1:0
    upstreams: ["%s"]
    server_name: localhost
    identity: {attester: simulated, state: s}
    roots: s/ca.pem
    verify: {policy: s/policy-server.yaml}
`

func fetch(url string) (int, string, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Two processes between a program and its backend: a change on SIGHUP, and an end that
// waits for a request.
func TestSidecarProcesses(t *testing.T) {
	t.Parallel()
	dir := sidecarState(t)
	entered, release := make(chan struct{}), make(chan struct{})
	backend := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(entered)
				<-release
			}
			_, _ = io.WriteString(w, name)
		}))
		t.Cleanup(s.Close)
		return s
	}
	first, second := backend("first"), backend("second")
	server := startSidecar(t, dir, "server", fmt.Sprintf(serverYAML, "tcp", first.Listener.Addr()))
	client := startSidecar(t, dir, "client", fmt.Sprintf(clientYAML, "tcp", server.addrs["web"]))
	url := "http://" + client.addrs["out"]
	_, got, err := fetch(url)
	require.NoError(t, err)
	require.Equal(t, "first", got)

	require.NoError(t, os.WriteFile(server.path, fmt.Appendf(nil, serverYAML, "tcp", second.Listener.Addr()), 0o600))
	require.NoError(t, server.cmd.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { _, got, err := fetch(url); return err == nil && got == "second" }, 10*time.Second, 20*time.Millisecond)
	status, _, err := fetch("http://" + server.addrs["admin"] + "/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	slow := make(chan string, 1)
	go func() {
		_, got, err := fetch(url + "/slow")
		slow <- fmt.Sprint(got, err)
	}()
	<-entered
	require.NoError(t, server.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		status, _, err := fetch("http://" + server.addrs["admin"] + "/readyz")
		return err == nil && status == http.StatusServiceUnavailable
	}, 10*time.Second, 20*time.Millisecond)
	close(release)
	require.Equal(t, "second<nil>", <-slow)
	require.NoError(t, server.cmd.Wait())
	require.Contains(t, server.log.String(), `"msg":"configuration changed"`)
	require.NotContains(t, server.log.String(), "connections cut")
	client.end(t)
}

const nginxConf = `daemon off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s;
    root %[1]s/www;
    location /result { add_header Content-Type text/plain; return 200 "result=[$http_expat_result] host=[$host]\n"; }
  }
  server {
    listen %[3]s proxy_protocol;
    location / { add_header Content-Type text/plain; return 200 "client=[$proxy_protocol_addr]\n"; }
  }
}
`

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// A real program on either end: curl before the client side, nginx behind the server
// side.
func TestNginx(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"nginx", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("this test needs nginx and curl: apt-get install -y --no-install-recommends nginx-light curl")
		}
	}
	dir := sidecarState(t)
	for _, d := range []string{dir, filepath.Dir(dir)} { // nginx's workers are another user
		require.NoError(t, os.Chmod(d, 0o755))
	}
	www := filepath.Join(dir, "www")
	require.NoError(t, os.Mkdir(www, 0o755))
	page := strings.Repeat("behind two sidecars\n", 20000)
	require.NoError(t, os.WriteFile(filepath.Join(www, "index.html"), []byte(page), 0o644))
	plain, announced := freeAddr(t), freeAddr(t)
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, plain, announced), 0o644))
	nginx := exec.Command("nginx", "-p", dir, "-c", conf, "-e", "stderr")
	var said bytes.Buffer
	nginx.Stderr = &said
	require.NoError(t, nginx.Start())
	t.Cleanup(func() {
		_ = nginx.Process.Signal(syscall.SIGTERM)
		_ = nginx.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for _, addr := range []string{plain, announced} {
		require.Eventually(t, func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		}, 10*time.Second, 20*time.Millisecond)
	}
	curl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("curl", append([]string{"--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*"}, args...)...).Output()
		require.NoError(t, err)
		return string(out)
	}
	for _, mode := range []string{"tcp", "http"} {
		server := startSidecar(t, dir, "server-"+mode, fmt.Sprintf(serverYAML, mode, plain))
		client := startSidecar(t, dir, "client-"+mode, fmt.Sprintf(clientYAML, mode, server.addrs["web"]))
		url := "http://" + client.addrs["out"]
		require.Equal(t, page, curl(url+"/"))
		if mode == "http" {
			require.Equal(t, "result=[] host=[localhost]\n", curl("-H", "Expat-Result: forged", url+"/result"))
			require.Equal(t, page, curl("--http2-prior-knowledge", url+"/"))
		}
		client.end(t)
		server.end(t)
	}
	server := startSidecar(t, dir, "server-announced", fmt.Sprintf(serverYAML, "tcp", announced)+"    proxy_protocol: v2\n")
	client := startSidecar(t, dir, "client-announced", fmt.Sprintf(clientYAML, "tcp", server.addrs["web"]))
	require.Equal(t, "client=[127.0.0.1]\n", curl("http://"+client.addrs["out"]+"/"))
	require.NotContains(t, client.end(t)+server.end(t), `"level":"ERROR"`)
}
