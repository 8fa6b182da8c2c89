package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/verifier/policy"
)

type learnFlags struct {
	roots     string
	mediaType string
	out       string
	name      string
}

func newPolicyLearn() *cobra.Command {
	var f learnFlags
	cmd := &cobra.Command{
		Use:   "learn EVIDENCE...",
		Short: "Draft a policy of Evidence that was seen",
		Long: `learn writes a policy that accepts what the Evidence says, with a comment at each
value that says where it came from. Evidence is looked at only once its signature
leads to --roots, or to the roots of AMD or Intel where the platform is theirs.

The draft REFUSES everything until a person removes the line "draft: true": it says
what was there, not that it was good.`,
		Example: `  expat connect 127.0.0.1:4433 --state /tmp/expat --message hi --save-evidence server.cmw
  expat policy learn server.cmw --roots /tmp/expat/simulated-root.pem --out server.yaml`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		text, err := f.learn(cmd, args)
		if err != nil {
			return err
		}
		if f.out == "" {
			_, err = cmd.OutOrStdout().Write(text)
			return err
		}
		if err := writeNew(f.out, text); err != nil {
			return usage(cmd, err)
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s is a draft: review it, remove the line \"draft: true\", then expat policy check %s\n", f.out, f.out)
		return err
	})
	flags := cmd.Flags()
	flags.StringVar(&f.roots, "roots", "", "`FILE` of roots of the Evidence in PEM")
	flags.StringVar(&f.mediaType, "media-type", "", "EVIDENCE is bare, of this `TYPE`, not a CMW")
	flags.StringVar(&f.out, "out", "", "write the draft to a new `FILE`; default: standard output")
	flags.StringVar(&f.name, "name", "learned", "`NAME` of the policy")
	return cmd
}

func (f *learnFlags) learn(cmd *cobra.Command, args []string) ([]byte, error) {
	o := policy.LearnOptions{Name: f.name, Platforms: platform.PolicyOptions().Platforms}
	if f.roots != "" {
		var err error
		if o.Roots, err = os.ReadFile(f.roots); err != nil {
			return nil, usage(cmd, err)
		}
	}
	var inputs []policy.LearnInput
	for _, name := range args {
		m, err := readMessage(name, f.mediaType, cmd.InOrStdin())
		if err != nil {
			return nil, usage(cmd, err)
		}
		inputs = append(inputs, policy.LearnInput{Source: name, Message: m})
	}
	d, err := policy.Learn(cmd.Context(), inputs, o)
	if err != nil {
		return nil, fmt.Errorf("%w %w", errPolicyRefuses, err)
	}
	text, err := d.Marshal()
	if err != nil {
		return nil, err
	}
	// The draft must be refused for being one, and for nothing else.
	options := platform.PolicyOptions()
	options.Name = f.out
	if _, err := policy.Parse(cmd.Context(), text, options); !errors.Is(err, policy.ErrDraft) || len(policy.Errors(err)) != 1 {
		return nil, fmt.Errorf("%w: no usable policy follows from this Evidence: %w", errPolicyRefuses, policyError("FILE", err))
	}
	return text, nil
}

// writeNew writes a file that must not be there: a policy is not overwritten.
func writeNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
