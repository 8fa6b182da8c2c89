// Program sidecar fetches a page through two sidecars. The backend and the client know
// nothing of attestation: between them, one expat proxy proves to the other what it is,
// with simulated TEEs. The backend is nginx where that is installed.
//
//	go run ./examples/sidecar
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	nginx, _ := exec.LookPath("nginx") // "" is as good
	if err := run(ctx, nginx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// The two configurations. What they name lies beside them.
const (
	serverSide = `version: 1
proxies:
  - name: web
    side: server
    listen: 127.0.0.1:0
    upstreams: ["%s"]
    identity: {attester: simulated, state: state}
    roots: state/ca.pem
    verify: {policy: state/policy-client.yaml}
`
	clientSide = `version: 1
proxies:
  - name: out
    side: client
    listen: 127.0.0.1:0
    upstreams: ["%s"]
    server_name: localhost
    identity: {attester: simulated, state: state}
    roots: state/ca.pem
    verify: {policy: state/policy-server.yaml}
`
)

func run(ctx context.Context, nginx string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "expat-sidecar-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, end := context.WithCancel(ctx)
	s := &stage{ctx: ctx, dir: dir, out: out}
	defer s.wait()
	defer end()

	backend, err := s.backend(nginx)
	if err != nil {
		return err
	}
	if err := s.command("go", "build", "-o", filepath.Join(dir, "expat"), "github.com/expat-go/expat/cmd/expat").Run(); err != nil {
		return fmt.Errorf("build expat: %w", err)
	}
	server, err := s.sidecar("server", serverSide, backend)
	if err != nil {
		return err
	}
	client, err := s.sidecar("client", clientSide, server)
	if err != nil {
		return err
	}
	page, err := fetch(ctx, "http://"+client)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "a plain client got, through both: %q\n", page)
	if _, err := fetch(ctx, "http://"+server); err == nil {
		return errors.New("the server side answered a client that proved nothing")
	}
	fmt.Fprintln(out, "the same client got nothing from the server side directly")
	return nil
}

// stage is what runs beside the program, until its context ends.
type stage struct {
	ctx     context.Context
	dir     string
	out     io.Writer
	running []*exec.Cmd
}

func (s *stage) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (s *stage) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running = append(s.running, cmd)
	return nil
}

func (s *stage) wait() {
	for _, cmd := range s.running {
		_ = cmd.Wait() // it was told to end
	}
}

// sidecar runs expat proxy, and returns where it listens.
func (s *stage) sidecar(name, configuration, upstream string) (string, error) {
	path := filepath.Join(s.dir, name+".yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, configuration, upstream), 0o600); err != nil {
		return "", err
	}
	cmd := s.command(filepath.Join(s.dir, "expat"), "proxy", "run", path)
	logged, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return "", err
	}
	defer logged.Close()
	cmd.Stderr = logged
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = s.start(cmd)
	}
	if err != nil {
		return "", err
	}
	var addr, of string
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "listening on %s for %s", &addr, &of)
	}
	if err != nil {
		said, _ := os.ReadFile(logged.Name())
		return "", fmt.Errorf("the %s side does not start: %w: %s", name, err, said)
	}
	fmt.Fprintf(s.out, "%s side: expat proxy with a simulated TEE, before %s\n", name, map[string]string{"server": "the backend", "client": "the server side"}[name])
	return addr, nil
}

func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return strings.TrimSpace(string(b)), err
}

// listen takes a port of this machine.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
