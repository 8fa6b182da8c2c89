// Package cli is the command line of expat: a constructor for each command,
// which reads flags, calls a package that does the work, and prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the command of this process and returns its exit code. An interrupt
// ends the command; a second one ends the process.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// Run runs one command line until it ends or ctx does, and returns the exit code.
// Of an error it prints one line to stderr.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var ran *runError
	if !errors.As(err, &ran) {
		err = usage(cmd, err)
	}
	text, code := explain(err)
	fmt.Fprintln(stderr, text)
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "expat",
		Short: "Attested TLS: a peer proves what it is, not only who it is",
		Long: `expat shows and serves attested TLS: after a TLS 1.3 handshake each side can
demand proof of what hardware and software the other is, bound to that very
connection (RFC 9261, draft-fossati-seat-expat).

Start with "expat demo": it needs nothing.

Exit codes: 0 ok, 1 refused by appraisal (by us or by the peer), 2 usage,
3 network, protocol, or a device that is not there.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDemo(), newDoctor(), newInspect(), newServe(), newConnect(), newTrace(), newAttack(), newTPM(), newPolicy(), newVectors(), newVerifier(), newProxy(), newVersion())
	return root
}

// runError marks an error of a command that has started, as against one in the
// command line.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// run makes a RunE out of a function.
func run(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd, args); err != nil {
			return &runError{err}
		}
		return nil
	}
}
