package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier/policy"
)

// errPolicyRefuses: a policy does not accept Evidence.
var errPolicyRefuses = errors.New("the policy refuses")

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check and explain policy files, and draft them of Evidence",
		Long: `policy works with appraisal policies in files: which hardware and software of a peer
is acceptable. See docs/policy.md for the format.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyCheck(), newPolicyExplain(), newPolicyLearn(), newPolicySchema())
	return cmd
}

// checked is what policy check --json prints.
type checked struct {
	File         string               `json:"file"`
	Good         bool                 `json:"good"`
	Name         string               `json:"name,omitempty"`
	Digest       string               `json:"digest,omitempty"`
	Composite    bool                 `json:"composite,omitempty"`
	Environments []checkedEnvironment `json:"environments,omitempty"`
	Errors       []checkedError       `json:"errors,omitempty"`
}

type checkedEnvironment struct {
	Platform        string `json:"platform"`
	Name            string `json:"name,omitempty"`
	ReferenceValues int    `json:"reference_values"`
	Rules           int    `json:"rules"`
}

type checkedError struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy,omitempty"`
}

func newPolicyCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a policy file",
		Long: `check reads a policy file, with the files that it names, as every command does. It
prints one line about a good policy, else each error with line and column, what is
wrong and what to write instead, and exits with 2.`,
		Example: `  expat policy check /tmp/expat/policy-server.yaml`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		p, err := policy.Load(cmd.Context(), args[0], platform.PolicyOptions())
		if cmd.Context().Err() != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return errors.Join(writeJSON(out, newChecked(args[0], p, err)), summary(err))
		}
		if err != nil {
			for _, e := range policy.Errors(err) {
				if _, err := fmt.Fprintln(out, show.Line(e.Error(), 0)); err != nil {
					return err
				}
			}
			return summary(err)
		}
		values, rules := 0, 0
		for _, e := range p.Environments() {
			values, rules = values+e.ReferenceValues, rules+e.Rules
		}
		kind := "environments"
		if p.Composite() {
			kind = "environments of a composite device"
		}
		_, err = fmt.Fprintf(out, "%s is good: policy %q, %s: %d, reference values: %d, rules: %d, sha256:%x\n",
			show.Line(args[0], 0), p.Name(), kind, len(p.Environments()), values, rules, p.Digest())
		return err
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// summary is the one line at the end of all errors.
func summary(err error) error {
	all := policy.Errors(err)
	if len(all) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s has %d to correct", policy.ErrFile, all[0].File, len(all))
}

func newChecked(file string, p *policy.Policy, err error) checked {
	c := checked{File: file, Good: err == nil}
	for _, e := range policy.Errors(err) {
		c.Errors = append(c.Errors, checkedError{e.Line, e.Column, e.Path, e.Problem, e.Remedy})
	}
	if p == nil {
		return c
	}
	c.Name, c.Composite, c.Digest = p.Name(), p.Composite(), fmt.Sprintf("sha256:%x", p.Digest())
	for _, e := range p.Environments() {
		c.Environments = append(c.Environments, checkedEnvironment{e.Platform, e.Name, e.ReferenceValues, e.Rules})
	}
	return c
}

func newPolicySchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of policy files, for editors",
		Args:  cobra.NoArgs,
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(policy.Schema())
			return err
		}),
	}
}

// policyError is for commands that are about something else than the policy: of its
// errors it tells the first.
func policyError(file string, err error) error {
	return strictyaml.First(err, "expat policy check "+file)
}
