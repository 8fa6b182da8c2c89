package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
	"github.com/expat-go/expat/verifier/policy"
)

// quorumName is what results call the quorum of a configuration.
const quorumName = "quorum"

// policyChanged is told of what became of a changed policy file.
type policyChanged func(file string, in *policy.Policy, err error)

// judge is what judges peers; the zero judge demands nothing.
type judge struct {
	attestation.Verifier
	every    time.Duration // policies are looked at; 0: as they want
	policies []*policy.Reloading
	closers  []func() error
}

func (j *judge) Close() error {
	var errs []error
	for _, c := range j.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// newJudge makes what a configuration demands of peers. Policies are looked at so often.
func newJudge(ctx context.Context, v *config.Verify, every time.Duration, changed policyChanged) (*judge, error) {
	j := &judge{every: every}
	var err error
	switch {
	case v == nil:
	case v.Quorum != nil:
		j.Verifier, err = j.quorum(ctx, v.Quorum, changed)
	case v.Passport != nil:
		j.Verifier, err = j.passport(v.Passport)
	default:
		j.Verifier, err = j.one(ctx, v.Policy, v.Remote, changed)
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// one judges by a policy, or asks a Verifier elsewhere.
func (j *judge) one(ctx context.Context, file string, c *config.Remote, changed policyChanged) (attestation.Verifier, error) {
	if c != nil {
		v, stop, err := newRemote(c)
		if err != nil {
			return nil, err
		}
		j.closers = append(j.closers, stop)
		return v, nil
	}
	r, err := policy.NewReloading(ctx, file, policy.ReloadOptions{
		Options: platform.PolicyOptions(), Interval: j.every,
		Changed: func(in *policy.Policy, err error) { changed(file, in, err) },
	})
	if err != nil {
		return nil, strictyaml.First(err, "expat policy check "+file)
	}
	j.policies = append(j.policies, r)
	return r, nil
}

func (j *judge) quorum(ctx context.Context, c *config.Quorum, changed policyChanged) (attestation.Verifier, error) {
	var members []verifier.Member
	for _, m := range c.Members {
		v, err := j.one(ctx, m.Policy, m.Remote, changed)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", m.Name, err)
		}
		members = append(members, verifier.Member{Name: m.Name, Verifier: v})
	}
	return verifier.NewQuorum(quorumName, c.Need, members...)
}

func (j *judge) passport(c *config.Passport) (attestation.Verifier, error) {
	checker, stop, err := newChecker(c.Keys, c.Roots, false, ear.CheckerOptions{
		Issuer: c.Issuer, AllowUnnamedIssuer: c.AllowUnnamedIssuer, Audience: c.Audience, MaxAge: c.MaxAge,
	})
	if err != nil {
		return nil, err
	}
	j.closers = append(j.closers, stop)
	return passport.NewVerifier(passport.VerifierOptions{Checker: checker, KeyBound: c.KeyBound})
}
