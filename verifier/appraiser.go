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
	policy     Policy
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
	return &Appraiser{policy: p.clone(), routes: r, mediaTypes: r.mediaTypes()}, nil
}

// MediaTypes lists what the extractors read, in their order.
func (a *Appraiser) MediaTypes() []string { return slices.Clone(a.mediaTypes) }

// Appraise judges a message with exactly one leaf; one with several is rejected
// with [ErrComposite]. A rejection is an [*attestation.RejectedError] whose
// checks [FailedChecks] lists. Malformed Evidence wraps
// [attestation.ErrMalformed]; the end of ctx, and an error of [Policy.Revoked],
// wrap [attestation.ErrUnavailable].
func (a *Appraiser) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	leaves := m.Leaves()
	if len(leaves) != 1 {
		return nil, attestation.Reject(fmt.Errorf("%w (it has %d)", ErrComposite, len(leaves)))
	}
	v, err := a.appraiseLeaf(ctx, b, leaves[0])
	if err != nil {
		return nil, err
	}
	if err := v.rejection(a.policy.AcceptWarning); err != nil {
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
	lifetime  time.Duration // not set where a check failed
}

// rejection is nil where the verdict is acceptable.
func (v *verdict) rejection(acceptWarning bool) error {
	if len(v.failed) == 0 && (len(v.warned) == 0 || acceptWarning) {
		return nil
	}
	return &attestation.RejectedError{
		Appraisals: []attestation.Appraisal{v.appraisal},
		Err:        errors.Join(slices.Concat(v.failed, v.warned)...),
	}
}

// appraiseLeaf judges one leaf. A verdict comes also from Evidence whose
// signature or chain is bad; an error means that there is none.
func (a *Appraiser) appraiseLeaf(ctx context.Context, b attestation.Binding, leaf cmw.Leaf) (*verdict, error) {
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
		return a.unverified(leaf, CheckSignature, err), nil
	case errors.Is(err, evidence.ErrChain):
		return a.unverified(leaf, CheckChain, err), nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", attestation.ErrUnavailable, err)
	case claims == nil:
		return nil, fmt.Errorf("%w: the extractor gave neither claims nor an error", attestation.ErrUnavailable)
	}
	return a.judge(ctx, b, claims, now)
}

// unverified is the verdict on Evidence that nobody trusted has signed: nothing in
// it is looked at.
func (a *Appraiser) unverified(leaf cmw.Leaf, check Check, err error) *verdict {
	return &verdict{
		appraisal: attestation.Appraisal{
			Environment: leaf.MediaType,
			Status:      attestation.TierContraindicated,
			Vector:      attestation.TrustVector{InstanceIdentity: cryptoFailed, Hardware: cryptoFailed},
			Policy:      a.policy.Name,
		},
		failed: []error{&CheckError{Check: check, Err: err}},
	}
}

// judge compares verified claims with the Binding and the reference values.
func (a *Appraiser) judge(ctx context.Context, b attestation.Binding, c *evidence.Claims, now time.Time) (*verdict, error) {
	j := newJudgement(&a.policy, c)
	j.binding(b)
	j.expiry(now)
	j.instance()
	j.hardware()
	j.debug()
	j.provenance()
	j.measurements()
	j.software()
	j.platform()
	if len(j.failed) == 0 {
		if err := j.revocation(ctx); err != nil {
			return nil, err
		}
	}
	return &verdict{
		appraisal: attestation.Appraisal{
			Environment: c.Platform,
			Status:      j.status(),
			Vector:      j.vector,
			Policy:      a.policy.Name,
			Instance:    hex.EncodeToString(c.Instance),
			Claims:      c.Map(),
		},
		failed:   j.failed,
		warned:   j.warned,
		lifetime: j.lifetime,
	}, nil
}
