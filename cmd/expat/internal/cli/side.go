package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier/policy"
)

// sideFlags are what serve and connect have in common.
type sideFlags struct {
	state    string
	attester string
	expect   string
	tpm      string
	lie      string
	lieAfter time.Duration
	json     bool
	policy   string
	save     string

	reattest      bool
	reattestEvery time.Duration

	elsewhere elsewhereFlags
	turned    func() // told when --lie-after is over; may be nil
}

func (f *sideFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "`DIR` of test keys, roots and reference values (required)")
	flags.StringVar(&f.attester, "attester", "", "prove what this side is; `PLATFORM` is "+platformNames())
	flags.StringVar(&f.expect, "expect", "", "judge the other side as this `PLATFORM`; default: as --attester, or simulated")
	flags.StringVar(&f.policy, "policy", "", "judge the other side by this policy `FILE` instead of the reference values in --state")
	flags.StringVar(&f.save, "save-evidence", "", "write the other side's Evidence to `FILE`, and what it is bound to to FILE.binding,\nfor expat policy explain and learn")
	f.elsewhere.add(cmd)
	addTPM(cmd, &f.tpm)
	flags.StringVar(&f.lie, "lie", "", "have the simulated attester tell a `LIE`, to see the other side refuse:\n"+lieNames())
	flags.BoolVar(&f.reattest, "reattest", false, "agree to re-attestation on the open connection: if both sides do, either may ask\nthe other anew, and does so before its verdict runs out")
}

// addLive adds what is about connections that last.
func (f *sideFlags) addLive(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.DurationVar(&f.reattestEvery, "reattest-every", 0, "ask the other side anew every `TIME`, 1s or more; implies --reattest, and demands it\nof the other side")
	flags.DurationVar(&f.lieAfter, "lie-after", 0, "with --lie: tell the truth at first, and the lie once this `TIME` has passed since the\nfirst Evidence, as a TEE whose state turns bad while it runs")
}

func addTPM(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "tpm", platform.DefaultTPM, "`ADDR` of the TPM: a device, unix:PATH or tcp:HOST:PORT")
}

func platformNames() string {
	return strings.Join(platform.Names(), ", ") + ", or several such as simulated+tpm"
}

// check finds flags that cannot be meant, and fills in what --expect is by default.
func (f *sideFlags) check() error {
	if f.state == "" {
		return errors.New("--state DIR is required")
	}
	if f.policy != "" && f.expect != "" {
		return errors.New("--policy says what --expect says: give one of the two")
	}
	if err := f.elsewhere.check(f); err != nil {
		return err
	}
	if f.expect == "" {
		f.expect = f.attester
	}
	if f.expect == "" {
		f.expect = platform.Simulated
	}
	if f.attester != "" {
		if _, err := platform.Parse(f.attester); err != nil {
			return fmt.Errorf("--attester %w", err)
		}
	}
	if _, err := platform.Parse(f.expect); err != nil {
		return fmt.Errorf("--expect %w", err)
	}
	if _, err := platform.ParseTPM(f.tpm); err != nil {
		return fmt.Errorf("--tpm %q: %w", f.tpm, err)
	}
	if f.lie != "" && f.attester != platform.Simulated {
		return errors.New("--lie needs --attester simulated: somebody has to tell it")
	}
	if _, err := f.lies(); err != nil {
		return err
	}
	return f.checkLive()
}

// lowestReattest is the shortest interval, as in the configuration of expat proxy.
const lowestReattest = time.Second

func (f *sideFlags) checkLive() error {
	switch {
	case f.reattestEvery != 0 && f.reattestEvery < lowestReattest:
		return fmt.Errorf("--reattest-every must be %v or more", lowestReattest)
	case f.reattestEvery > expat.MaxReattestEvery:
		return fmt.Errorf("--reattest-every must be %v or less", expat.MaxReattestEvery)
	case f.lieAfter < 0:
		return errors.New("--lie-after must not be negative")
	case f.lieAfter > 0 && f.lie == "":
		return errors.New("--lie-after needs --lie LIE: what is it to tell then?")
	case f.lieAfter > 0 && f.lie == simulated.ForeignKey.String():
		return fmt.Errorf("--lie %s cannot begin later: a key lies outside the TEE from the start or not at all", f.lie)
	}
	return nil
}

// live are the fields of a Config that are about connections that last.
func (f *sideFlags) live(cfg *expat.Config) {
	cfg.Reattest, cfg.ReattestEvery = f.reattest, f.reattestEvery
}

// lies parses --lie.
func (f *sideFlags) lies() ([]simulated.Lie, error) {
	if f.lie == "" {
		return nil, nil
	}
	for l := firstLie; l <= lastLie; l++ {
		if l.String() == f.lie {
			return []simulated.Lie{l}, nil
		}
	}
	return nil, fmt.Errorf("--lie %q is not known; it can be one of %s", f.lie, lieNames())
}

const firstLie, lastLie = simulated.WrongNonce, simulated.TamperedClaims

func lieNames() string {
	var names []string
	for l := firstLie; l <= lastLie; l++ {
		names = append(names, l.String())
	}
	return strings.Join(names, ", ")
}

// attest makes what --attester names; names are those in a certificate made now.
func (f *sideFlags) attest(ctx context.Context, side state.Side, names ...string) (*platform.Own, error) {
	lies, err := f.lies()
	if err != nil {
		return nil, err
	}
	own, err := platform.Attest(ctx, platform.Options{
		State: f.state, Platform: f.attester, Side: side, TPM: f.tpm, Names: names, Lies: lies, LieAfter: f.lieAfter, Turned: f.turned,
	})
	if err != nil {
		return nil, err
	}
	return f.elsewhere.attester(own)
}

// judging is what judges the other side, and what goes with it.
type judging struct {
	attestation.Verifier
	reloading *policy.Reloading  // nil without --policy
	recorder  *platform.Recorder // nil without --save-evidence
	close     func() error       // nil without --verifier
}

// Close lets go of connections to a verifier elsewhere.
func (j *judging) Close() error {
	if j == nil || j.close == nil {
		return nil
	}
	return j.close()
}

// judge makes what judges the other side; changed is told where the policy changes.
func (f *sideFlags) judge(ctx context.Context, other state.Side, changed func(*policy.Policy, error)) (*judging, error) {
	j := new(judging)
	var err error
	switch {
	case f.elsewhere.judges():
		err = f.elsewhere.judge(j, f.expect)
	case f.policy == "":
		j.Verifier, err = platform.Judge(f.state, f.expect, other)
	default:
		j.reloading, err = policy.NewReloading(ctx, f.policy, policy.ReloadOptions{Options: platform.PolicyOptions(), Changed: changed})
		j.Verifier, err = j.reloading, policyError(f.policy, err)
	}
	if err != nil {
		return nil, err
	}
	if f.save != "" {
		j.recorder = &platform.Recorder{Verifier: j.Verifier}
		j.Verifier = j.recorder
	}
	return j, nil
}

// saveEvidence writes what the other side showed, if that is wanted.
func (j *judging) saveEvidence(name string) error {
	if j == nil || j.recorder == nil {
		return nil
	}
	return j.recorder.Save(name)
}
