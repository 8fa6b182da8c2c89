package cli

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/demo"
)

func newDemo() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch two simulated TEEs attest to each other, and three attacks fail",
		Long: `demo starts a server and a client on 127.0.0.1, each in a simulated TEE, lets them
prove to each other what they are, and prints every step. Then it tries three
attacks, each on a real connection. It needs no network, no files and no setup.

It succeeds only if the honest sides accept each other and every attack is
refused for the reason it must be.`,
		Args: cobra.NoArgs,
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			report, err := demo.Run(cmd.Context(), demo.Options{})
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), report)
			} else {
				err = report.WriteText(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return report.Check()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
