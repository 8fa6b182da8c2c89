package cli

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/lifetime"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/cmd/expat/internal/state"
)

type connectFlags struct {
	sideFlags
	message  string
	timeout  time.Duration
	duration time.Duration
	idle     time.Duration // see [talking]
}

func newConnect() *cobra.Command {
	f := connectFlags{idle: idle}
	cmd := &cobra.Command{
		Use:   "connect ADDR --state DIR [--attester PLATFORM] [--message TEXT]",
		Short: "Connect to expat serve, judge it, and send something",
		Long: `connect demands of the server at ADDR to prove what it is, judges the proof by the
roots and reference values in DIR, shows each step on standard error, sends
--message or standard input, and prints what comes back.

DIR is the directory of "expat serve". With --attester the client proves in turn what
it is: simulated with test keys from DIR, tpm with what "expat tpm enroll" has
prepared, sevsnp or tdx as the confidential VM that this is, or several such as
simulated+tpm. The server is judged as the same platform, or as simulated without
--attester, unless --expect or --policy says otherwise.

With --reattest-every the server is asked anew on the open connection; each time is a
line. The connection ends, with code 1, where the answer is not good or comes too late.`,
		Example: `  expat connect 127.0.0.1:4433 --state /tmp/expat --message hello
  expat connect 127.0.0.1:4433 --state /tmp/expat --expect tpm --message hello
  expat connect 127.0.0.1:4433 --state /tmp/expat --reattest-every 2s --message hello --for 1m
  expat connect 127.0.0.1:4433 --state /tmp/expat --attester tpm --tpm unix:/tmp/tpm.sock --json < request`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		if err := f.check(args[0]); err != nil {
			return usage(cmd, err)
		}
		input := cmd.InOrStdin()
		if cmd.Flags().Changed("message") {
			input = strings.NewReader(f.message)
		}
		return f.connect(cmd.Context(), args[0], input, cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	f.add(cmd)
	f.addLive(cmd)
	cmd.Flags().StringVar(&f.message, "message", "", "send this `TEXT` instead of standard input")
	cmd.Flags().DurationVar(&f.timeout, "timeout", expat.DefaultTimeout, "`TIME` for connecting, the TLS handshake and the proof together")
	cmd.Flags().DurationVar(&f.duration, "for", 0, "keep the connection open for this `TIME`, such as 30s, whatever the input;\n0 is until the input ends")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object, the reply in it")
	return cmd
}

func (f *connectFlags) check(addr string) error {
	if err := f.sideFlags.check(); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("address %q must be HOST:PORT", addr)
	}
	switch {
	case f.timeout <= 0:
		return errors.New("--timeout must be positive")
	case f.duration < 0:
		return errors.New("--for must not be negative")
	}
	return nil
}

// config verifies the server, and attests where --attester says so; own is then to be
// closed.
func (f *connectFlags) config(ctx context.Context, trace *expat.Trace) (cfg *expat.Config, j *judging, own *platform.Own, err error) {
	trust, err := state.Load(f.state, time.Now())
	if err != nil {
		return nil, nil, nil, err
	}
	cfg = &expat.Config{TLS: &tls.Config{RootCAs: trust.Roots()}, Timeout: f.timeout, Trace: trace}
	f.live(cfg)
	if j, err = f.judge(ctx, state.Server, nil); err != nil {
		return nil, nil, nil, err
	}
	if cfg.Verifier = j; f.attester == "" {
		return cfg, j, nil, nil
	}
	if own, err = f.attest(ctx, state.Client, defaultNames(state.Client)...); err != nil {
		return nil, nil, nil, errors.Join(err, j.Close())
	}
	cfg.Attester, cfg.TLS.Certificates = own.Attester, []tls.Certificate{own.Certificate}
	return cfg, j, own, nil
}

// visit is what connect --json prints.
type visit struct {
	Address     string        `json:"address"`
	Outcome     string        `json:"outcome"` // accepted, refused or failed
	Step        string        `json:"step,omitempty"`
	Side        string        `json:"side,omitempty"` // who found it
	Alert       string        `json:"alert,omitempty"`
	Error       string        `json:"error,omitempty"`
	Server      *show.Learned `json:"server,omitempty"` // what we learned of it
	Reply       *string       `json:"reply,omitempty"`
	ReplyBase64 string        `json:"reply_base64,omitempty"` // in place of reply where that is no text
	Renewals    renewals      `json:"renewals,omitzero"`

	reply cappedBuffer
}

// connect runs one connection.
func (f *connectFlags) connect(ctx context.Context, addr string, input io.Reader, stdout, stderr io.Writer) error {
	j := &journal{w: stderr}
	defer j.end()
	log := show.NewLog(j.step)
	f.turned = func() { log.Add(show.Step{Who: "client", What: "turned bad", Note: "by --lie-after: " + f.lie}) }
	cfg, judge, own, err := f.config(ctx, log.Trace("client", "server", true))
	if err != nil {
		return err
	}
	defer own.Close()
	defer judge.Close()
	log.Renewals(cfg, "client", "server")
	v := &visit{Address: addr}
	conn, err := expat.Dial(ctx, "tcp", addr, cfg)
	if err == nil {
		defer conn.Close()
		v.Server = show.Learn(conn, "server")
		j.learned(v.Server)
	}
	if err = f.keepEvidence(judge, err); err == nil {
		if f.json {
			err = f.talk(ctx, conn, input, &v.reply)
		} else {
			err = f.talk(ctx, conn, input, stdout)
		}
		err = f.keepEvidence(judge, err) // the latest
	}
	if !f.json {
		return err
	}
	v.Renewals = j.end()
	v.set(err)
	return errors.Join(err, writeJSON(stdout, v))
}

// keepEvidence saves what the server showed, if that is wanted. Where err is not nil it
// is returned: it says more.
func (f *connectFlags) keepEvidence(judge *judging, err error) error {
	saved := judge.saveEvidence(f.save)
	if err != nil {
		return err
	}
	return saved
}

// set fills in how it went.
func (v *visit) set(err error) {
	var e *expat.Error
	switch {
	case err == nil && utf8.Valid(v.reply.b):
		text := string(v.reply.b)
		v.Outcome, v.Reply = "accepted", &text
	case err == nil:
		v.Outcome, v.ReplyBase64 = "accepted", base64.StdEncoding.EncodeToString(v.reply.b)
	default:
		v.Outcome, v.Error = "failed", show.Line(err.Error(), 0)
	}
	if errors.As(err, &e) {
		v.Step, v.Side, v.Alert = string(e.Stage), string(e.Side), e.Alert.String()
		if refusal(e) {
			v.Outcome = "refused"
		}
	}
}

// talk sends input and writes what comes back, until both ends are done.
func (f *connectFlags) talk(ctx context.Context, nc *expat.Conn, input io.Reader, output io.Writer) error {
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	conn := &talking{Conn: lifetime.Conn{Conn: nc}, idle: f.idle}
	open, over := context.WithCancel(ctx)
	defer over()
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(f.feed(open, conn, input), conn.CloseWrite()) }()
	_, err := io.Copy(output, conn)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	select {
	case err = <-sent:
		return err
	default: // the server ended first, while input may still wait for a person
		return nil
	}
}

// feed sends input, until it ends or, with --for, until the time is up.
func (f *connectFlags) feed(ctx context.Context, conn io.Writer, input io.Reader) error {
	if f.duration == 0 {
		_, err := io.Copy(conn, input)
		return err
	}
	up := time.After(f.duration)
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, input)
		copied <- err
	}()
	for {
		select {
		case err := <-copied:
			if err != nil {
				return err
			}
			copied = nil
		case <-up:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// talking is a connection whose peer may not be silent for long once it has
// everything.
type talking struct {
	lifetime.Conn
	idle  time.Duration
	ended atomic.Bool
}

func (c *talking) CloseWrite() error {
	err := c.Conn.CloseWrite()
	c.ended.Store(true)
	return errors.Join(err, c.SetReadDeadline(time.Now().Add(c.idle)))
}

func (c *talking) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.ended.Load() {
		err = c.SetReadDeadline(time.Now().Add(c.idle))
	}
	return n, err
}

// maxReply bounds the reply that --json holds in memory, in bytes.
const maxReply = 1 << 20

type cappedBuffer struct{ b []byte }

func (c *cappedBuffer) Write(p []byte) (int, error) {
	if len(c.b)+len(p) > maxReply {
		return 0, fmt.Errorf("the reply has more than %d bytes, which is too large for --json", maxReply)
	}
	c.b = append(c.b, p...)
	return len(p), nil
}
