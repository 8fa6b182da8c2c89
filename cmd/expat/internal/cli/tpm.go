package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/cmd/expat/internal/state"
)

func newTPM() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tpm",
		Short: "Prepare a TPM for expat serve and expat connect",
		Long: `tpm has the commands that prepare a TPM 2.0, of the machine or in software, for
--attester tpm. docs/evidence/tpm.md shows them from the start, and says what a TPM
proves and what not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEnroll())
	return cmd
}

type enrollFlags struct {
	state, tpm, side     string
	roots, intermediates []string
	pcrs                 []int
	names                []string
	json                 bool
}

// defaultPCRs are those of the firmware and its configuration, which change with
// updates only.
var defaultPCRs = []int{0, 1, 2, 3, 4, 5, 6, 7}

func newEnroll() *cobra.Command {
	var f enrollFlags
	cmd := &cobra.Command{
		Use:   "enroll --tpm ADDR --state DIR --ek-root FILE",
		Short: "Make keys in a TPM, certify them, and take its PCRs as reference values",
		Long: `enroll makes an attestation key and a TLS key in the TPM. The TPM proves by its
maker's certificate and credential activation that it is one; then a test CA in DIR
certifies the attestation key, and the test CA of "expat serve" the TLS key. The
private keys never leave the TPM: what DIR/tpm-SIDE keeps of them is of use to this
TPM alone.

The PCRs of this moment become the TEST reference values, in DIR/tpm-SIDE/reference.json:
by them, and by the CA for attestation keys, the other side judges this one. They are
as good as the machine is now. Without --side the TPM is enrolled for both sides.

Nothing is overwritten: to enrol again remove DIR/tpm-SIDE. The certificates last 90
days.`,
		Example: `  expat tpm enroll --state /tmp/expat --ek-root maker-root.pem --ek-intermediate maker-ca.pem
  expat serve --state /tmp/expat --attester tpm --listen 127.0.0.1:4433`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = run(func(cmd *cobra.Command, _ []string) error {
		options, err := f.options()
		if err != nil {
			return err
		}
		var done []*platform.Enrolled
		for _, o := range options {
			e, err := platform.Enroll(cmd.Context(), o)
			if err != nil {
				return err
			}
			done = append(done, e)
		}
		if f.json {
			return writeJSON(cmd.OutOrStdout(), map[string]any{"enrolled": done})
		}
		return writeEnrolled(cmd.OutOrStdout(), done)
	})
	flags := cmd.Flags()
	addTPM(cmd, &f.tpm)
	flags.StringVar(&f.state, "state", "", "`DIR` for keys, certificates and reference values (required)")
	flags.StringVar(&f.side, "side", "both", "`SIDE` that the TPM is for: server, client or both")
	flags.StringArrayVar(&f.roots, "ek-root", nil, "`FILE` of roots of the TPM's maker in PEM; may be given again (required)")
	flags.StringArrayVar(&f.intermediates, "ek-intermediate", nil, "`FILE` of CAs between a root and the TPM; may be given again")
	flags.IntSliceVar(&f.pcrs, "pcrs", defaultPCRs, "`PCRS` to quote")
	flags.StringSliceVar(&f.names, "name", nil, "further `NAME` or IP address in the TLS certificate")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// options reads the flags and the files they name.
func (f *enrollFlags) options() ([]platform.EnrollOptions, error) {
	wrong := func(err error) error { return fmt.Errorf("%w: %w; see %q", errUsage, err, "expat tpm enroll --help") }
	if f.state == "" || len(f.roots) == 0 {
		return nil, wrong(errors.New("--state DIR and --ek-root FILE are required"))
	}
	if _, err := platform.ParseTPM(f.tpm); err != nil {
		return nil, wrong(fmt.Errorf("--tpm %q: %w", f.tpm, err))
	}
	pcrs, err := platform.ParsePCRs(f.pcrs)
	if err != nil {
		return nil, wrong(fmt.Errorf("--pcrs: %w", err))
	}
	o := platform.EnrollOptions{State: f.state, TPM: f.tpm, PCRs: pcrs}
	for _, name := range f.roots {
		certs, err := state.ReadCertificates(name)
		if err != nil {
			return nil, wrong(fmt.Errorf("--ek-root %w", err))
		}
		o.EKRoots = append(o.EKRoots, certs...)
	}
	for _, name := range f.intermediates {
		certs, err := state.ReadCertificates(name)
		if err != nil {
			return nil, wrong(fmt.Errorf("--ek-intermediate %w", err))
		}
		o.EKIntermediates = append(o.EKIntermediates, certs...)
	}
	var all []platform.EnrollOptions
	for _, side := range []state.Side{state.Server, state.Client} {
		if f.side == string(side) || f.side == "both" {
			o.Side, o.Names = side, append(defaultNames(side), f.names...)
			all = append(all, o)
		}
	}
	if all == nil {
		return nil, wrong(fmt.Errorf("--side %q is not known; it can be server, client or both", f.side))
	}
	return all, nil
}

// defaultNames are those in a side's certificate.
func defaultNames(side state.Side) []string {
	if side == state.Client {
		return []string{"client.test"}
	}
	return []string{"localhost", "127.0.0.1", "::1"}
}

func writeEnrolled(w io.Writer, done []*platform.Enrolled) error {
	for _, e := range done {
		_, err := fmt.Fprintf(w, "enrolled TPM %s for the %s\n  certificate for  %s\n  PCRs             %s (test reference values of this moment)\n  kept in          %s\n",
			show.Short(e.Instance), e.Side, strings.Join(e.Names, ", "), platform.PCRNames(e.PCRs), e.Dir)
		if err != nil {
			return err
		}
	}
	return nil
}
