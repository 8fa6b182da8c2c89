package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/cmd/expat/internal/attack"
)

func newAttack() *cobra.Command {
	var o attack.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "attack ADDR --state DIR [--json]",
		Short: "Attack expat serve, and a client of it, with all that must be refused",
		Long: `attack plays every attack of docs/attacks.md on the endpoint at ADDR, with test keys
from its state directory DIR, and on a client of it that runs in this process. It
prints what each attack came to. Attack what is yours: ADDR must be on this machine,
unless told otherwise. Each attack opens one to three connections, a few at a time.

It takes a little longer than the endpoint's deadline (30 s), for which some attacks
wait. Those on renewals need an endpoint that lets itself be asked anew and asks anew
meanwhile. What is not applicable says why. Exit code 1 means that an attack was accepted
or could not be tried.

Attacks, for --only:
` + attackNames(),
		Example: `  expat serve --state /tmp/expat --attester simulated --verify --reattest-every 5s --listen 127.0.0.1:4433
  expat attack 127.0.0.1:4433 --state /tmp/expat`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		o.Address = args[0]
		if o.State == "" {
			return usage(cmd, errors.New("--state DIR is required"))
		}
		report, err := attack.Run(cmd.Context(), o)
		if errors.Is(err, attack.ErrAddress) || errors.Is(err, attacktest.ErrTarget) {
			return usage(cmd, err)
		}
		if report == nil {
			return err
		}
		write := report.WriteText
		if asJSON {
			write = func(w io.Writer) error { return writeJSON(w, report) }
		}
		return cmp.Or(write(cmd.OutOrStdout()), err, report.Check())
	})
	flags := cmd.Flags()
	flags.StringVar(&o.State, "state", "", "`DIR` of the endpoint's test keys, roots and reference values (required)")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object")
	flags.StringArrayVar(&o.Only, "only", nil, "try only the attack of this `NAME`; may be given again")
	flags.DurationVar(&o.Patience, "patience", attacktest.DefaultPatience, "`TIME` after which a connection that is still open was not refused")
	flags.BoolVar(&o.BeyondLoopback, "attack-beyond-loopback", false, "attack an endpoint that is not on this machine")
	return cmd
}

func attackNames() string {
	var b strings.Builder
	var seen []string
	for _, a := range attacktest.Attacks() {
		if !slices.Contains(seen, a.Name) {
			seen = append(seen, a.Name)
			fmt.Fprintf(&b, "  %s\n", a.Name)
		}
	}
	return b.String()
}
