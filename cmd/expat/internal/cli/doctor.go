package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/doctor"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/show"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	var tpm string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can attest, and what it lacks",
		Long: `doctor looks for a TPM, the devices of confidential VMs, configfs-tsm and a TPM in
software, says whether this user can use them, and what to do where not. What is
missing is no error: the exit code is 0. It changes nothing on this machine.

With --tpm it asks that TPM in place of the machine's own, such as one in software.
A TPM in software serves one program at a time: end expat serve first.`,
		Example: `  expat doctor
  expat doctor --tpm unix:/tmp/tpm.sock --json`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = run(func(cmd *cobra.Command, _ []string) error {
		if _, err := platform.ParseTPM(tpm); tpm != "" && err != nil {
			return usage(cmd, fmt.Errorf("--tpm %q: %w", tpm, err))
		}
		r := doctor.Run(cmd.Context(), doctor.Options{TPM: tpm})
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		return writeDiagnosis(cmd.OutOrStdout(), r)
	})
	cmd.Flags().StringVar(&tpm, "tpm", "", "`ADDR` of the TPM to ask: a device, unix:PATH or tcp:HOST:PORT; default: the machine's")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func writeDiagnosis(w io.Writer, r *doctor.Report) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "%-8s %-16s %s\n", f.State, f.Name, show.Line(f.Detail, 0)); err != nil {
			return err
		}
		if f.Do == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-25s -> %s\n", "", f.Do); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "This machine can use --attester %s.\n", strings.Join(r.Attesters, ", "))
	return err
}
