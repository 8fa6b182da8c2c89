package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier"
)

// Explanation says why a message is acceptable to a policy or not, check by check.
// It opens no connection.
type Explanation struct {
	// Bound is whether the binding was compared. Where it was not, anyone who has
	// seen the message could show it.
	Bound        bool
	Environments []EnvironmentExplanation
	// Err is why the message is not acceptable; nil where it is, as far as it was
	// compared.
	Err error
}

// EnvironmentExplanation is the part of one attesting environment.
type EnvironmentExplanation struct {
	Name        string // of the environment, or its label
	Platform    string
	Explanation *verifier.Explanation // nil where the Evidence is missing, or Err says why
	Err         error                 // nil where the Evidence is acceptable
}

// Explain judges a message as [Policy.Appraise] does and says how each check ended.
// With the zero Binding, which is that of no connection, the binding is not
// compared. The error is the end of ctx; that the message is not acceptable, or not
// readable, is in the Explanation.
func (p *Policy) Explain(ctx context.Context, m *cmw.Message, b attestation.Binding) (*Explanation, error) {
	x := &Explanation{Bound: b.Valid()}
	if p.composite {
		x.composite(ctx, p, m, b)
	} else {
		x.single(ctx, p, m, b)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if x.Bound && x.Err == nil {
		// What is between environments is judged where connections are.
		_, x.Err = p.Appraise(ctx, b, m)
	}
	return x, nil
}

func (x *Explanation) single(ctx context.Context, p *Policy, m *cmw.Message, b attestation.Binding) {
	leaves := m.Leaves()
	if len(leaves) != 1 {
		x.Err = fmt.Errorf("%w (it has %d); the policy lists environments, not a composite", verifier.ErrComposite, len(leaves))
		return
	}
	for _, e := range p.environments {
		if slices.ContainsFunc(e.MediaTypes, func(t string) bool { return cmw.SameMediaType(t, leaves[0].MediaType) }) {
			x.Err = x.add(ctx, e, m, b)
			return
		}
	}
	x.Err = fmt.Errorf("no environment of the policy takes Evidence of %.100q", leaves[0].MediaType)
}

func (x *Explanation) composite(ctx context.Context, p *Policy, m *cmw.Message, b attestation.Binding) {
	if m.Kind() != cmw.KindCollection {
		x.Err = verifier.ErrNotCollection
		return
	}
	var wrong []error
	items := make(map[string]*cmw.Message)
	for _, item := range m.Items() {
		label, known := item.Label.Text()
		known = known && slices.ContainsFunc(p.environments, func(e Environment) bool { return e.Name == label })
		if !known {
			wrong = append(wrong, &verifier.LeafError{Label: item.Label.String(), Err: verifier.ErrLeafUnknown})
			continue
		}
		items[label] = item.Message
	}
	devices := make(map[[2]string]bool)
	for _, e := range p.environments {
		item := items[e.Name]
		if item == nil {
			if !e.MayBeAbsent {
				wrong = append(wrong, &verifier.LeafError{Label: e.Name, Err: verifier.ErrLeafMissing})
				x.Environments = append(x.Environments, EnvironmentExplanation{Name: e.Name, Platform: e.Platform, Err: verifier.ErrLeafMissing})
			}
			continue
		}
		if err := x.add(ctx, e, item, b); err != nil {
			wrong = append(wrong, &verifier.LeafError{Label: e.Name, Err: err})
			continue
		}
		a := x.Environments[len(x.Environments)-1].Explanation.Appraisal
		device := [2]string{a.Environment, a.Instance}
		if devices[device] && a.Instance != "" {
			wrong = append(wrong, &verifier.LeafError{Label: e.Name, Err: verifier.ErrLeafDoubled})
		}
		devices[device] = true
	}
	x.Err = errors.Join(wrong...)
}

// add explains one leaf and returns why it is not acceptable.
func (x *Explanation) add(ctx context.Context, e Environment, m *cmw.Message, b attestation.Binding) error {
	part := EnvironmentExplanation{Name: e.Name, Platform: e.Platform}
	part.Explanation, part.Err = e.appraiser.Explain(ctx, m, b)
	if part.Err == nil {
		part.Err = part.Explanation.Err
	}
	x.Environments = append(x.Environments, part)
	return part.Err
}
