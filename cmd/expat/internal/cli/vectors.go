package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/internal/vectors"
	published "github.com/expat-go/expat/testdata/vectors"
)

// errVectors: a case did not come out as its file says.
var errVectors = errors.New("test vectors do not hold")

func newVectors() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vectors",
		Short: "Check or write the interop test vectors",
		Long: `vectors checks or writes the published interop vectors, with which implementations
in any language test themselves without a TLS stack. Their format is specified in
testdata/vectors/README.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newVectorsCheck(), newVectorsGenerate())
	return cmd
}

func newVectorsCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Run every test vector against this implementation",
		Long: `check runs every case of the vectors in DIR, or of those in this binary, prints a
line for each group and for each case that does not come out as its file says, and
fails if there is one.`,
		Args: cobra.MaximumNArgs(1),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			var files fs.FS = published.Files
			if len(args) == 1 {
				if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
					return usage(cmd, fmt.Errorf("%q is no directory", args[0]))
				}
				files = os.DirFS(args[0])
			}
			return writeReport(cmd.OutOrStdout(), vectors.Check(files))
		}),
	}
}

func writeReport(w io.Writer, r *vectors.Report) error {
	for _, t := range r.Tallies {
		if _, err := fmt.Fprintf(w, "%-20s %4d valid %4d invalid\n", t.Group, t.Valid, t.Invalid); err != nil {
			return err
		}
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintln(w, "FAIL", show.Line(fmt.Sprint(p), 0)); err != nil {
			return err
		}
	}
	if n := len(r.Problems); n > 0 {
		return fmt.Errorf("%w: %d of %d cases or files differ from what this version makes of them", errVectors, n, r.Cases())
	}
	_, err := fmt.Fprintf(w, "%d cases hold\n", r.Cases())
	return err
}

func newVectorsGenerate() *cobra.Command {
	return &cobra.Command{
		Use:   "generate DIR",
		Short: "Write the test vectors, the same bytes each time",
		Args:  cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			if err := vectors.WriteFiles(args[0]); err != nil {
				return usage(cmd, err)
			}
			return nil
		}),
	}
}
