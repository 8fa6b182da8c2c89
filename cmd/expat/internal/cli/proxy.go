package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/proxy"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/internal/strictyaml"
)

func newProxy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Attested TLS for programs that cannot change: the sidecar",
		Long: `proxy puts attested TLS between programs that know nothing of it. Its server side
accepts attested connections and speaks plain text, or TLS, to a backend; its client
side accepts plain connections on loopback and speaks attested TLS to a server side.
See docs/sidecar.md for the configuration file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newProxyRun(), newProxyCheck(), newProxySchema())
	return cmd
}

func newProxyRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run the sidecar that a configuration file describes",
		Long: `run prints "listening on ADDRESS for NAME" for each listener and logs to standard
error. The content of the files that FILE names, and its upstreams and limits, are taken
anew where they change, and on SIGHUP; what is not good changes nothing. An interrupt or
SIGTERM takes nothing new and lets open connections end.`,
		Example: `  expat proxy run /etc/expat/sidecar.yaml`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		signal.Ignore(syscall.SIGPIPE) // whoever reads the log may go away
		err := proxy.Run(cmd.Context(), proxy.Options{
			Path: args[0], Stdout: cmd.OutOrStdout(), Log: cmd.ErrOrStderr(), Reload: hangups(cmd.Context()),
		})
		return configurationError(cmd, args[0], err)
	})
	return cmd
}

// hangups sends for each SIGHUP until ctx ends.
func hangups(ctx context.Context) <-chan struct{} {
	signals, out := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-signals:
				select {
				case out <- struct{}{}:
				case <-ctx.Done():
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func newProxyCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration file",
		Long: `check reads a configuration file, and the certificates, keys and policies that it
names, as run does. It prints one line about a good file, else each error with line and
column, what is wrong and what to write instead, and exits with 2.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		f, err := proxy.Check(cmd.Context(), args[0])
		for _, e := range config.Errors(err) {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), show.Line(e.Error(), 0)); err != nil {
				return err
			}
		}
		if err != nil {
			return configurationError(cmd, args[0], err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: proxies: %d\n", args[0], len(f.Proxies))
		return err
	})
	return cmd
}

func newProxySchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of configuration files, for editors",
		Args:  cobra.NoArgs,
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		}),
	}
}

// configurationError makes one line of the errors of a configuration, which are errors
// of use; others stay as they are.
func configurationError(cmd *cobra.Command, file string, err error) error {
	if !errors.Is(err, config.ErrFile) {
		return err
	}
	return usage(cmd, strictyaml.First(err, "expat proxy check "+file))
}
