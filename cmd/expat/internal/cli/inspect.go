package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/inspect"
	"github.com/expat-go/expat/cmd/expat/internal/state"
)

func newInspect() *cobra.Command {
	var asJSON bool
	var roots []string
	var at string
	cmd := &cobra.Command{
		Use:   "inspect FILE|-",
		Short: "Say what a request, authenticator, CMW or Evidence is; verifies nothing",
		Long: `inspect says what is in a file, or with - in standard input, field by field: a
request or an authenticator (RFC 9261), a CMW in CBOR or JSON, or Evidence (token of a
simulated TEE, TPM, SEV-SNP report, TDX quote), in binary, hex or base64, at most 256 KiB.

NOTHING IS VERIFIED HERE: anyone can have made these bytes. Of Evidence it is also said
whether its signature leads to a root: AMD's and Intel's are known, others are named
with --root (simulated-root.pem or tpm-ak-ca/ca.pem of --state, or your own). That says
nothing of the connection it was made for, nor whether a policy would accept it: see
expat policy explain.`,
		Example: `  expat inspect request.bin
  expat connect 127.0.0.1:4433 --state /tmp/expat --save-evidence e.cbor --message hi
  expat inspect e.cbor --root /tmp/expat/simulated-root.pem
  base64 -w0 report.bin | expat inspect - --at 2026-01-02T15:04:05Z --json`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		o := inspect.Options{At: time.Now()}
		for _, name := range roots {
			certs, err := state.ReadCertificates(name)
			if err != nil {
				return usage(cmd, fmt.Errorf("--root %w", err))
			}
			o.Roots = append(o.Roots, certs...)
		}
		if at != "" {
			var err error
			if o.At, err = time.Parse(time.RFC3339, at); err != nil {
				return usage(cmd, fmt.Errorf("--at %q is not a time such as 2026-01-02T15:04:05Z", at))
			}
		}
		b, err := readInput(args[0], cmd.InOrStdin(), inspect.MaxInput)
		if err != nil {
			return usage(cmd, err)
		}
		r, err := inspect.Inspect(cmd.Context(), b, o)
		if err != nil {
			return fmt.Errorf("inspect %s: %w", args[0], err)
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		return r.WriteText(cmd.OutOrStdout())
	})
	flags := cmd.Flags()
	flags.StringArrayVar(&roots, "root", nil, "`FILE` of roots of Evidence in PEM; may be given again")
	flags.StringVar(&at, "at", "", "`TIME` at which certificates must be valid; default: now")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// readInput reads a file or, for -, stdin: no more than is needed to see that it has
// more than most bytes.
func readInput(name string, stdin io.Reader, most int64) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	return io.ReadAll(io.LimitReader(stdin, most+1))
}
