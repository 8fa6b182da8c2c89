package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/verifier/policy"
)

type serveFlags struct {
	sideFlags
	listen      string
	names       []string
	verify      bool
	echo        bool
	expose      bool
	duration    time.Duration
	connections int
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --state DIR [--attester PLATFORM] [--verify]",
		Short: "Serve attested connections with test keys, and echo what arrives",
		Long: `serve accepts connections, proves to each client what it is (--attester), demands
the same of it (--verify), and echoes what arrives. It prints "listening on ADDR"
and logs every connection to standard error.

DIR receives test keys and what "expat connect" needs to judge the server:
  ca.pem                     root of the X.509 certificates
  simulated-root.pem         root of the Evidence
  simulated-reference.json   what a good server and a good client are
  policy-server.yaml         the same for the server, as a policy file
  policy-client.yaml         the same for clients
What is there already is used again. The keys in DIR protect nothing: whoever
reads them can be either side. So serve listens on loopback only, unless told
otherwise.

PLATFORM is what this side proves itself by:
  simulated     a TEE in software, with keys from DIR: for tests
  tpm           a TPM 2.0 at --tpm, which "expat tpm enroll" has prepared: its TLS key
                never leaves it
  sevsnp, tdx   the confidential VM that this is, through configfs-tsm
  a+b           several at once, of which tpm holds the key, such as simulated+tpm
With --reattest-every clients are asked anew on the open connection; one whose state has
turned bad is cut, and one that is silent for two minutes.

Clients are judged as the same platform, unless --expect or --policy says otherwise;
sevsnp and tdx only by --policy. "expat doctor" says what this machine can use.`,
		Example: `  expat serve --state /tmp/expat --attester simulated --verify --listen 127.0.0.1:4433
  expat connect 127.0.0.1:4433 --state /tmp/expat --attester simulated --message hello

  expat serve --state /tmp/expat --attester simulated --reattest --lie debug-on --lie-after 5s --listen 127.0.0.1:4433
  expat connect 127.0.0.1:4433 --state /tmp/expat --reattest-every 2s --message hello --for 1m

  expat tpm enroll --state /tmp/expat --tpm unix:/tmp/tpm.sock --ek-root maker-root.pem
  expat serve --state /tmp/expat --attester tpm --tpm unix:/tmp/tpm.sock --listen 127.0.0.1:4433
  expat connect 127.0.0.1:4433 --state /tmp/expat --expect tpm --message hello`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = run(func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return usage(cmd, err)
		}
		return f.serve(cmd.Context(), cmd.OutOrStdout(), f.logger(cmd.ErrOrStderr()))
	})
	f.add(cmd)
	f.addLive(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "`ADDR` to listen on; port 0 is any free port")
	flags.StringSliceVar(&f.names, "name", nil, "further `NAME` or IP address in the server's certificate")
	flags.BoolVar(&f.verify, "verify", false, "demand that clients attest")
	flags.BoolVar(&f.echo, "echo", true, "echo application bytes; with --echo=false drop them")
	flags.BoolVar(&f.expose, "expose-test-keys", false, "listen on an address other than loopback, with keys that protect nothing")
	flags.DurationVar(&f.duration, "for", 0, "stop after this `TIME`, such as 30s; 0 is never")
	flags.IntVar(&f.connections, "connections", 0, "stop after `N` connections, refused ones included; 0 is never")
	flags.BoolVar(&f.json, "json", false, "log in JSON, one object a line")
	return cmd
}

func (f *serveFlags) check() error {
	if err := f.sideFlags.check(); err != nil {
		return err
	}
	switch {
	case !f.verify && (f.policy+f.save != "" || f.elsewhere.judges()):
		return errors.New("--policy, --verifier, --accept-passport and --save-evidence are about what clients prove: add --verify")
	case !f.verify && f.reattestEvery > 0:
		return errors.New("--reattest-every asks clients anew: add --verify")
	case f.attester == "" && !f.verify:
		return errors.New("there is nothing to attest: give --attester PLATFORM, --verify, or both")
	case len(f.names) > 0 && strings.Contains(f.attester, platform.TPM):
		return errors.New("--name comes too late for a TPM, whose certificate is there: give it to expat tpm enroll")
	case f.duration < 0 || f.connections < 0:
		return errors.New("--for and --connections must not be negative")
	}
	addr, err := net.ResolveTCPAddr("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w", f.listen, err)
	}
	if !addr.IP.IsLoopback() && !f.expose {
		return fmt.Errorf("--listen %q is not a loopback address, and the test keys protect nothing; if that is what you want, add --expose-test-keys", f.listen)
	}
	f.listen = addr.String() // what was looked at
	return nil
}

func (f *serveFlags) logger(w io.Writer) *slog.Logger {
	if f.json {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// serve runs until ctx ends, or the time or the connections are used up.
func (f *serveFlags) serve(ctx context.Context, stdout io.Writer, log *slog.Logger) error {
	s, err := f.server(ctx, log)
	if err != nil {
		return err
	}
	defer s.own.Close()
	defer s.judge.Close()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "listening on %s\n", ln.Addr()); err != nil {
		return errors.Join(err, ln.Close())
	}
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	return s.run(ctx, ln)
}

// server prepares a server, with its state on disk.
func (f *serveFlags) server(ctx context.Context, log *slog.Logger) (*server, error) {
	trust, keys, err := state.Create(f.state, time.Now())
	if err == nil {
		err = platform.WritePolicies(f.state, trust)
	}
	if err != nil {
		return nil, err
	}
	cfg := &expat.Config{TLS: &tls.Config{ClientCAs: trust.Roots()}}
	f.live(cfg)
	var judge *judging
	if f.verify {
		if judge, err = f.judge(ctx, state.Client, policyLog(log, f.policy)); err != nil {
			return nil, err
		}
		cfg.Verifier = judge
	}
	names := append(defaultNames(state.Server), f.names...)
	if f.attester == "" {
		cert, err := plainCertificate(keys, names)
		cfg.TLS.Certificates = []tls.Certificate{cert}
		if err != nil {
			return nil, errors.Join(err, judge.Close())
		}
		return f.newServer(cfg, nil, judge, log), nil
	}
	f.turned = func() { log.Warn("state has turned bad", "lie", f.lie) }
	own, err := f.attest(ctx, state.Server, names...)
	if err != nil {
		return nil, errors.Join(err, judge.Close())
	}
	cfg.Attester, cfg.TLS.Certificates = own.Attester, []tls.Certificate{own.Certificate}
	return f.newServer(cfg, own, judge, log), nil
}

func (f *serveFlags) newServer(cfg *expat.Config, own *platform.Own, judge *judging, log *slog.Logger) *server {
	s := newServer(cfg, own, f.echo, f.connections, log)
	s.judge, s.save = judge, f.save
	return s
}

// policyLog tells of new policies.
func policyLog(log *slog.Logger, file string) func(*policy.Policy, error) {
	return func(p *policy.Policy, err error) {
		if err != nil {
			log.Error("policy not changed", "file", file, "in_force", p.ID(), "reason", policyError(file, err).Error())
			return
		}
		log.Info("policy changed", "file", file, "in_force", p.ID())
	}
}

// plainCertificate is for a server that proves nothing but its name.
func plainCertificate(keys *state.Keys, names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	return keys.CA.Leaf(key, x509.ExtKeyUsageServerAuth, time.Now(), names...)
}
