package cli

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/demo"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/verifier/policy"
)

type demoFlags struct {
	state  string
	policy string
	save   string
	html   string
	json   bool
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch two simulated TEEs attest to each other, and three attacks fail",
		Long: `demo starts a server and a client on 127.0.0.1, each in a simulated TEE, lets them
prove to each other what they are, and prints every step. Then it tries three
attacks, each on a real connection. It needs no network, no files and no setup.

It succeeds only if the honest sides accept each other and every attack is
refused for the reason it must be.

With --state the server's TEE is the one of a state directory, and the client judges
it by a policy file: DIR/policy-server.yaml, or --policy. Change a value there and
watch the server be refused.`,
		Example: `  expat demo
  expat demo --state /tmp/expat --save-evidence /tmp/expat/server.cmw
  expat policy explain /tmp/expat/policy-server.yaml /tmp/expat/server.cmw`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = run(func(cmd *cobra.Command, _ []string) error {
		if f.state == "" && f.policy+f.save != "" {
			return usage(cmd, errors.New("--policy and --save-evidence need --state DIR: without it the server's TEE is another each time"))
		}
		return f.demo(cmd.Context(), cmd.OutOrStdout())
	})
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "take the server's TEE from this `DIR` of test keys, which is made if it is not there")
	flags.StringVar(&f.policy, "policy", "", "judge the server by this policy `FILE`; default: DIR/policy-server.yaml")
	flags.StringVar(&f.save, "save-evidence", "", "write the server's Evidence to `FILE`, and what it is bound to to FILE.binding")
	flags.StringVar(&f.html, "html", "", "also write a picture of it to `FILE`, one HTML page; - is standard output, and nothing else then")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func (f *demoFlags) demo(ctx context.Context, w io.Writer) error {
	o, recorder, err := f.options(ctx)
	if err != nil {
		return err
	}
	report, err := demo.Run(ctx, o)
	if err != nil {
		return errors.Join(err, f.saveEvidence(recorder))
	}
	if err := f.saveEvidence(recorder); err != nil {
		return err
	}
	if f.html != "" {
		if err := writePage(f.html, w, report.Page()); err != nil || f.html == toStdout {
			return errors.Join(err, report.Check())
		}
	}
	if f.json {
		err = writeJSON(w, report)
	} else {
		err = report.WriteText(w)
	}
	if err != nil {
		return err
	}
	return report.Check()
}

// options take the server's device and the client's policy from --state.
func (f *demoFlags) options(ctx context.Context) (demo.Options, *platform.Recorder, error) {
	if f.state == "" {
		return demo.Options{}, nil, nil
	}
	trust, keys, err := state.Create(f.state, time.Now())
	if err == nil {
		err = platform.WritePolicies(f.state, trust)
	}
	if err != nil {
		return demo.Options{}, nil, err
	}
	file := f.policy
	if file == "" {
		file = platform.PolicyFile(f.state, state.Server)
	}
	p, err := policy.Load(ctx, file, platform.PolicyOptions())
	if err != nil {
		return demo.Options{}, nil, policyError(file, err)
	}
	e := trust.Reference.Server
	device, err := e.Device(keys.Vendor)
	if err != nil {
		return demo.Options{}, nil, err
	}
	recorder := &platform.Recorder{Verifier: p, First: true}
	return demo.Options{
		Server: &demo.Device{Device: device, Vendor: keys.Vendor, Maker: "the test vendor", Software: e.SoftwareName, Version: e.SoftwareVersion},
		Client: recorder, Accepts: "what " + filepath.Base(file) + " says",
	}, recorder, nil
}

func (f *demoFlags) saveEvidence(r *platform.Recorder) error {
	if f.save == "" {
		return nil
	}
	return r.Save(f.save)
}
