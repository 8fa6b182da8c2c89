package verifier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
)

// Appraiser judges the Evidence of one attesting environment by a [Policy]. It is
// immutable and safe for concurrent use.
type Appraiser struct {
	policy     Policy // without the lists that references holds
	references references
	routes     routes[evidence.Extractor]
	mediaTypes []string
}

var _ attestation.Verifier = (*Appraiser)(nil)

// New makes an Appraiser that understands what the extractors read. The error
// wraps [ErrPolicy] and lists everything that is to be set, or [ErrRoute] if no
// extractor is given or two read one media type.
func New(p Policy, extractors ...evidence.Extractor) (*Appraiser, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	r, err := newRoutes(extractors)
	if err != nil {
		return nil, err
	}
	return &Appraiser{policy: p.settings(), references: newReferences(&p), routes: r, mediaTypes: r.mediaTypes()}, nil
}

// MediaTypes lists what the extractors read, in their order.
func (a *Appraiser) MediaTypes() []string { return slices.Clone(a.mediaTypes) }

// Appraise judges a message with exactly one leaf; one with several is rejected
// with [ErrComposite]. A rejection is an [*attestation.RejectedError] whose
// checks [FailedChecks] lists. Malformed Evidence wraps
// [attestation.ErrMalformed]; the end of ctx, and no answer of [Policy.Revoked] or
// of a [Rule], wrap [attestation.ErrUnavailable].
func (a *Appraiser) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	v, err := a.appraise(ctx, b, m, false)
	if err != nil {
		return nil, err
	}
	if err := v.err(a.policy.AcceptWarning); err != nil {
		return nil, err
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier:      a.policy.Name,
		Appraisals:    []attestation.Appraisal{v.appraisal},
		Lifetime:      v.lifetime,
		AcceptWarning: a.policy.AcceptWarning,
	})
}

// verdict is what one leaf amounts to.
type verdict struct {
	appraisal attestation.Appraisal
	failed    []error
	warned    []error
	undecided []error
	lifetime  time.Duration // not set where a check failed
	outcomes  []Outcome     // where they were asked for
}

// err is nil where the verdict is acceptable. A no is a no, whatever else gave no
// answer.
func (v *verdict) err(acceptWarning bool) error {
	switch {
	case len(v.failed) > 0, len(v.warned) > 0 && !acceptWarning:
		return &attestation.RejectedError{
			Appraisals: []attestation.Appraisal{v.appraisal},
			Err:        errors.Join(slices.Concat(v.failed, v.warned)...),
		}
	case len(v.undecided) > 0:
		return errors.Join(v.undecided...)
	}
	return nil
}

// appraise judges the one leaf of a message. A verdict comes also from Evidence
// whose signature or chain is bad; an error means that there is none.
func (a *Appraiser) appraise(ctx context.Context, b attestation.Binding, m *cmw.Message, explain bool) (*verdict, error) {
	leaves := m.Leaves()
	if len(leaves) != 1 {
		return nil, attestation.Reject(fmt.Errorf("%w (it has %d)", ErrComposite, len(leaves)))
	}
	leaf := leaves[0]
	if leaf.Indicator != 0 && leaf.Indicator != cmw.Evidence {
		return nil, fmt.Errorf("%w: the message is %v, want evidence", attestation.ErrMalformed, leaf.Indicator)
	}
	extractor, ok := a.routes.find(leaf.MediaType)
	if !ok {
		return nil, fmt.Errorf("%w: no extractor reads %q", attestation.ErrMalformed, leaf.MediaType)
	}
	now := a.policy.Now()
	claims, err := extractor.Extract(ctx, leaf.MediaType, leaf.Value, a.policy.Roots, now)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", attestation.ErrUnavailable, context.Cause(ctx))
	case errors.Is(err, evidence.ErrFormat):
		return nil, fmt.Errorf("%w: %w", attestation.ErrMalformed, err)
	case errors.Is(err, evidence.ErrSignature):
		return a.unverified(leaf, &CheckError{Check: CheckSignature, Err: err}), nil
	case errors.Is(err, evidence.ErrChain):
		return a.unverified(leaf, &CheckError{Check: CheckChain, Err: err}), nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", attestation.ErrUnavailable, err)
	case claims == nil:
		return nil, fmt.Errorf("%w: the extractor gave neither claims nor an error", attestation.ErrUnavailable)
	}
	return a.judge(ctx, b, claims, now, explain), nil
}

// unverified is the verdict on Evidence that nobody trusted has signed: nothing in
// it is looked at.
func (a *Appraiser) unverified(leaf cmw.Leaf, failed *CheckError) *verdict {
	return &verdict{
		appraisal: attestation.Appraisal{
			Environment: leaf.MediaType,
			Status:      attestation.TierContraindicated,
			Vector:      attestation.TrustVector{InstanceIdentity: cryptoFailed, Hardware: cryptoFailed},
			Policy:      a.policy.Name,
		},
		failed:   []error{failed},
		outcomes: unverifiedOutcomes(failed),
	}
}

// judge compares verified claims with the Binding, the reference values and the
// rules. This is the one list of checks.
func (a *Appraiser) judge(ctx context.Context, b attestation.Binding, c *evidence.Claims, now time.Time, explain bool) *verdict {
	j := newJudgement(&a.policy, &a.references, c, explain)
	j.verified()
	j.binding(b)
	j.expiry(now)
	j.instance()
	j.hardware()
	j.debug()
	j.provenance()
	j.measurements()
	j.software()
	j.platform()
	j.rules(ctx)
	j.revocation(ctx)
	return &verdict{
		appraisal: attestation.Appraisal{
			Environment: c.Platform,
			Status:      j.status(),
			Vector:      j.vector,
			Policy:      a.policy.Name,
			Instance:    hex.EncodeToString(c.Instance),
			Claims:      c.Map(),
		},
		failed:    j.failed,
		warned:    j.warned,
		undecided: j.undecided,
		lifetime:  j.lifetime,
		outcomes:  j.outcomes,
	}
}
