package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/expat-go/expat/cmd/expat/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"expat": func() { os.Exit(cli.Main()) }})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[running] = make(map[string]*process)
			env.Values[tpmMaker] = new(string)
			env.Vars = append(env.Vars, noExitSleep)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "json": jsonFields, "mode": mode, "oneline": oneLine, "peer": peer,
			"signal": signal, "start": start, "waits": waits, "width": width,
			"maketpm": makeTPM, "extendpcr": extendPCR,
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "swtpm":
				return hasSWTPM(), nil
			case "tsm": // a confidential VM
				_, err := os.Stat("/sys/kernel/config/tsm/report")
				return err == nil, nil
			}
			return false, fmt.Errorf("no such condition: %s", name)
		},
	})
}

// noExitSleep spares each process the second that the race detector sleeps when it
// ends.
const noExitSleep = "GORACE=atexit_sleep_ms=0"

// exits runs a command and demands an exit code: exits CODE COMMAND...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code is %d, want %d", got, want)
	}
}

type key string

// running is the key of the processes that start has started.
const running key = "running"

type process struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan error
}

// start runs a server beside the script until it says where it listens, which is
// then in the environment as ADDR: start NAME COMMAND...
func start(ts *testscript.TestScript, _ bool, args []string) {
	p := &process{cmd: exec.Command(args[1], args[2:]...), stderr: new(bytes.Buffer), ended: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Stderr = ts.MkAbs("."), p.stderr
	p.cmd.Env = append(os.Environ(), noExitSleep)
	out, err := p.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(p.cmd.Start())
	ts.Defer(func() { _ = p.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { p.ended <- p.cmd.Wait() }()
	addr, ok := strings.CutPrefix(line, "listening on ")
	if err != nil || !ok {
		ts.Fatalf("%s said %q (%v)\n%s", args[0], line, err, <-p.ended)
	}
	ts.Setenv("ADDR", strings.TrimSpace(addr))
	ts.Value(running).(map[string]*process)[args[0]] = p
}

// waits waits for a server to end well, and writes what it logged to the file
// NAME.log: waits NAME
func waits(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(running).(map[string]*process)[args[0]]
	select {
	case err := <-p.ended:
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".log"), p.stderr.Bytes(), 0o600))
		if err != nil {
			ts.Fatalf("%s: %v\n%s", args[0], err, p.stderr)
		}
	case <-time.After(20 * time.Second):
		ts.Fatalf("%s does not end", args[0])
	}
}

// signal signals a server: signal NAME INT|TERM
func signal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}
	p := ts.Value(running).(map[string]*process)[args[0]]
	ts.Check(p.cmd.Process.Signal(signals[args[1]]))
}

// peer starts something that is no expat server, at ADDR: peer http|tls|silent|none
func peer(ts *testscript.TestScript, _ bool, args []string) {
	switch args[0] {
	case "http", "tls":
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = nil
		if args[0] == "tls" {
			s.StartTLS()
		} else {
			s.Start()
		}
		ts.Defer(s.Close)
		ts.Setenv("ADDR", s.Listener.Addr().String())
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("ADDR", ln.Addr().String())
	if args[0] == "none" {
		ts.Check(ln.Close())
		return
	}
	ts.Defer(func() { _ = ln.Close() }) // the kernel accepts and nobody answers
}

// oneLine demands that the last command told its error in one line, after which
// nothing follows. Before it are at most the steps of a connection, indented.
func oneLine(ts *testscript.TestScript, _ bool, _ []string) {
	text := ts.ReadFile("stderr")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "  ") {
			if !strings.HasPrefix(line, "expat: ") || !strings.HasSuffix(text, line) {
				ts.Fatalf("standard error is not one line of expat: %q", text)
			}
			return
		}
	}
	ts.Fatalf("no line of expat on standard error")
}

// width demands lines of at most N columns without control characters: width N
func width(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	for _, line := range strings.Split(ts.ReadFile("stdout"), "\n") {
		if utf8.RuneCountInString(line) > limit {
			ts.Fatalf("line is too long: %s", line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			ts.Fatalf("control character: %q", line)
		}
	}
}

// jsonFields demands that standard output is one JSON object with these values,
// lengths or any value: json a.0.b=VALUE c#3 d
func jsonFields(ts *testscript.TestScript, _ bool, args []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var object map[string]any
	ts.Check(d.Decode(&object))
	if d.More() {
		ts.Fatalf("more follows the object")
	}
	for _, arg := range args {
		path, want, hasValue := strings.Cut(arg, "=")
		path, length, hasLength := strings.Cut(path, "#")
		got := lookUp(object, path)
		list, _ := got.([]any)
		switch {
		case got == nil:
			ts.Fatalf("%s is missing", path)
		case hasValue && fmt.Sprint(got) != want:
			ts.Fatalf("%s is %v, want %s", path, got, want)
		case hasLength && strconv.Itoa(len(list)) != length:
			ts.Fatalf("%s has %d elements, want %s", path, len(list), length)
		}
	}
}

func lookUp(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// mode demands the permission bits of a file: mode 600 FILE
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s is %s, want %s", filepath.Base(args[1]), got, args[0])
	}
}
