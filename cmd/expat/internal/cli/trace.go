package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/picture"
	"github.com/expat-go/expat/cmd/expat/internal/show"
)

type traceFlags struct {
	connectFlags
	html string
}

func newTrace() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace ADDR --state DIR --html FILE",
		Short: "Connect as expat connect does, and draw what happened as one HTML page",
		Long: `trace connects to the server at ADDR, judges it as "expat connect" does, sends
nothing, and writes one HTML page that shows the exchange as a sequence: every frame
with its size, every act of this side with its time, the verdict, and what was learned.
A connection that is refused is drawn too, up to where it ended, and trace then fails as
connect does. The page holds no Evidence, and needs no network and no script.`,
		Example: `  expat trace 127.0.0.1:4433 --state /tmp/expat --html exchange.html`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		err := f.check(args[0])
		if f.html == "" {
			err = errors.Join(err, errors.New("--html FILE is required; - is standard output"))
		}
		if err != nil {
			return usage(cmd, err)
		}
		return f.trace(cmd.Context(), args[0], cmd.OutOrStdout())
	})
	f.add(cmd)
	cmd.Flags().DurationVar(&f.timeout, "timeout", expat.DefaultTimeout, "`TIME` for connecting, the TLS handshake and the proof together")
	cmd.Flags().StringVar(&f.html, "html", "", "write the page to `FILE`; - is standard output (required)")
	return cmd
}

// trace runs one connection, and writes the page whatever came of it.
func (f *traceFlags) trace(ctx context.Context, addr string, stdout io.Writer) error {
	log := show.NewLog(nil)
	cfg, judge, own, err := f.config(ctx, log.Trace("client", "server", true))
	if err != nil {
		return err
	}
	defer own.Close()
	defer judge.Close()
	p := picture.Page{Title: "Exchange with " + addr, Subtitle: "As this client saw it. What the server does by itself is not seen from here."}
	conn, failure := expat.Dial(ctx, "tcp", addr, cfg)
	if failure != nil {
		p.Error = failure.Error()
	} else {
		defer conn.Close()
		p.Learned = []*show.Learned{show.Learn(conn, "server")}
	}
	p.Steps = log.Steps()
	return errors.Join(f.keepEvidence(judge, failure), writePage(f.html, stdout, p))
}

// toStdout is the name of a file that stands for standard output.
const toStdout = "-"

// writePage writes a page to a file or to stdout.
func writePage(file string, stdout io.Writer, p picture.Page) error {
	var b bytes.Buffer
	if err := picture.Write(&b, p); err != nil {
		return fmt.Errorf("draw page: %w", err)
	}
	if file == toStdout {
		_, err := stdout.Write(b.Bytes())
		return err
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
