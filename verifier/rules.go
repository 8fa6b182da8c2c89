package verifier

import (
	"context"
	"errors"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
)

// Rule is one condition of a policy that its reference values cannot express.
type Rule struct {
	// Name is unique within a policy, not empty.
	Name string
	// Check returns nil where the rule holds. An error says why it does not, and
	// quotes no Evidence; one that wraps [attestation.ErrUnavailable], and a
	// panic, mean that no verdict is reached. Check must not modify the claims,
	// is called from several goroutines and returns when ctx ends.
	Check func(ctx context.Context, c *evidence.Claims) error
}

// checkRules lists what is wrong with the rules of a policy.
func checkRules(rules []Rule, need func(ok bool, what string)) {
	names := make(map[string]bool, len(rules))
	for i, r := range rules {
		need(r.Name != "" && !names[r.Name], fmt.Sprintf("Rules[%d] needs a Name of its own", i))
		need(r.Check != nil, fmt.Sprintf("Rules[%d] has no Check", i))
		names[r.Name] = true
	}
}

// rules asks all rules of the policy, so that every one that fails is reported.
// They see only claims that are bound to this connection.
func (j *judgement) rules(ctx context.Context) {
	if len(j.policy.Rules) == 0 {
		j.skip(CheckRule, "", "the policy has no rules")
	}
	for _, r := range j.policy.Rules {
		if j.unbound {
			j.skip(CheckRule, r.Name, "the Evidence is not bound to this connection, request and key")
			continue
		}
		err := guard(ctx, func() error { return r.Check(ctx, j.claims) })
		if errors.Is(err, attestation.ErrUnavailable) {
			j.undecide(CheckRule, r.Name, err)
			continue
		}
		j.require(err == nil, &j.vector.Configuration, unsupportableConfig, func() *CheckError {
			e := &CheckError{Check: CheckRule, Subject: r.Name, Err: err}
			if err == nil {
				e.Got = "it does"
			}
			return e
		})
	}
}

// revocation asks the policy's own source, which may be far away: only about claims
// that nothing speaks against.
func (j *judgement) revocation(ctx context.Context) {
	switch {
	case j.policy.Revoked == nil:
		return
	case len(j.failed) > 0:
		j.skip(CheckRevocation, "", "the source of revocations is asked only where no check has failed")
		return
	}
	revoked := true
	err := guard(ctx, func() (err error) {
		revoked, err = j.policy.Revoked(ctx, j.claims)
		return err
	})
	if err != nil {
		j.undecide(CheckRevocation, "", err)
		return
	}
	j.require(!revoked, &j.vector.InstanceIdentity, untrustworthyInstance, j.describeRevocation)
}

// guard calls what the policy plugs in. A panic, whose text could repeat Evidence,
// and the end of ctx are no answer.
func guard(ctx context.Context, ask func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: it panicked with a %T", attestation.ErrUnavailable, p)
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", attestation.ErrUnavailable, context.Cause(ctx))
		}
	}()
	return ask()
}
