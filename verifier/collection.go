package verifier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// What can be wrong with a collection, besides what is wrong with its leaves. Each
// comes in an [*attestation.RejectedError].
var (
	// ErrNotCollection: the message is a single leaf.
	ErrNotCollection = errors.New("the message is no collection, and the policy names several attesting environments")
	// ErrLeafMissing: there is no leaf for an environment that may not be absent.
	ErrLeafMissing = errors.New("an attesting environment is missing")
	// ErrLeafUnknown: there is a leaf that the policy does not name.
	ErrLeafUnknown = errors.New("the policy names no attesting environment of this label")
	// ErrLeafDoubled: one environment stands under two labels.
	ErrLeafDoubled = errors.New("the same Evidence, or the same device, stands under two labels")
	// ErrLeafBinding: a leaf is bound to another connection, request or key.
	ErrLeafBinding = errors.New("a leaf is not bound to this connection, request and key")
	// ErrLeafTier: a leaf is acceptable to its own policy, but not affirming.
	ErrLeafTier = errors.New("an attesting environment is not affirming")
)

// Environment is one attesting environment of a composite device.
type Environment struct {
	// Label is that of the environment's leaf in the collection.
	Label string
	// Verifier judges the leaf. It is called with the Binding of the connection,
	// as every leaf must carry it.
	Verifier attestation.Verifier
	// MayBeAbsent admits collections without the environment. The peer chooses
	// then whether it is judged. What is there must be good all the same.
	MayBeAbsent bool
}

// LeafError is what is wrong with one leaf of a collection.
type LeafError struct {
	Label string
	Err   error
}

func (e *LeafError) Error() string { return fmt.Sprintf("leaf %.64q: %v", e.Label, e.Err) }

// Unwrap returns Err.
func (e *LeafError) Unwrap() error { return e.Err }

// collection judges composite devices.
type collection struct {
	name         string
	environments map[cmw.Label]Environment
	labels       []cmw.Label // in the order they were given
	mediaTypes   []string
}

// NewCollection makes a Verifier of CMW collections (RFC 9999, Section 3.3), whose
// leaves it gives by label to the Verifiers of the environments, at the same time.
// All must find them affirming. The Result has the given name, an Appraisal for
// each environment, called by its label, and the shortest of their lifetimes. The
// error wraps [ErrPolicy].
//
// The environments are tied to one connection and key by the binder that each
// leaf carries, and by nothing else: that they are in one machine follows only
// from what their policies pin, such as instances.
func NewCollection(name string, environments ...Environment) (attestation.Verifier, error) {
	c := &collection{name: name, environments: make(map[cmw.Label]Environment)}
	required := false
	for i, e := range environments {
		label := cmw.TextLabel(e.Label)
		_, twice := c.environments[label]
		if e.Label == "" || e.Verifier == nil || twice {
			return nil, fmt.Errorf("%w: environment %d needs a Verifier and a Label of its own", ErrPolicy, i)
		}
		required = required || !e.MayBeAbsent
		c.environments[label] = e
		c.labels = append(c.labels, label)
		for _, t := range e.Verifier.MediaTypes() {
			if len(attestation.Common([]string{t}, c.mediaTypes)) == 0 {
				c.mediaTypes = append(c.mediaTypes, t)
			}
		}
	}
	if name == "" || !required {
		return nil, fmt.Errorf("%w: give a name, and an environment that may not be absent", ErrPolicy)
	}
	return c, nil
}

func (c *collection) MediaTypes() []string { return slices.Clone(c.mediaTypes) }

func (c *collection) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	items, err := c.sort(m)
	if err != nil {
		return nil, err
	}
	// In the order of the policy, so that the same message has the same answer.
	var questions []question
	for _, l := range c.labels {
		if items[l] != nil {
			questions = append(questions, question{l.String(), c.environments[l].Verifier, items[l]})
		}
	}
	opinions := make([]opinion, len(questions))
	answers := askAll(ctx, b, questions)
	for range questions {
		select {
		case a := <-answers:
			opinions[a.index] = a.opinion
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", attestation.ErrUnavailable, context.Cause(ctx))
		}
	}
	return c.combine(b, opinions)
}

// sort gives the items of a collection by label. Labels that are there twice do
// not pass package cmw.
func (c *collection) sort(m *cmw.Message) (map[cmw.Label]*cmw.Message, error) {
	if m.Kind() != cmw.KindCollection {
		return nil, attestation.Reject(ErrNotCollection)
	}
	var wrong []error
	items := make(map[cmw.Label]*cmw.Message)
	values := make(map[string]string) // label by value of the leaf
	for _, item := range m.Items() {
		name := item.Label.String()
		if _, known := c.environments[item.Label]; !known {
			wrong = append(wrong, &LeafError{name, ErrLeafUnknown})
			continue
		}
		items[item.Label] = item.Message
		for _, leaf := range item.Message.Leaves() {
			value := string(leaf.Value)
			if _, twice := values[value]; twice {
				wrong = append(wrong, &LeafError{name, ErrLeafDoubled})
			}
			values[value] = name
		}
	}
	for _, l := range c.labels {
		if items[l] == nil && !c.environments[l].MayBeAbsent {
			wrong = append(wrong, &LeafError{l.String(), ErrLeafMissing})
		}
	}
	return items, attestation.Reject(wrong...)
}

// combine makes one Result of all, or one error of all that is wrong: a no of
// one environment is a no; else no verdict on one is none on the whole.
func (c *collection) combine(b attestation.Binding, opinions []opinion) (*attestation.Result, error) {
	lifetime := attestation.ConnectionLifetime
	var appraisals []attestation.Appraisal
	var rejected, undecided []error
	devices := make(map[[2]string]string)
	for _, o := range opinions {
		switch {
		case errors.Is(o.err, attestation.ErrRejected):
			found, reason := o.rejection()
			appraisals = append(appraisals, named(o.name, found)...)
			rejected = append(rejected, &LeafError{o.name, bindingError(reason)})
			continue
		case o.err != nil:
			undecided = append(undecided, &LeafError{o.name, o.err})
			continue
		}
		lifetime = min(lifetime, o.result.Lifetime())
		for _, a := range o.result.Appraisals() {
			device := [2]string{a.Environment, a.Instance}
			if _, twice := devices[device]; twice && a.Instance != "" {
				rejected = append(rejected, &LeafError{o.name, ErrLeafDoubled})
			}
			devices[device] = o.name
		}
		appraisals = append(appraisals, named(o.name, o.result.Appraisals())...)
	}
	if err := errors.Join(rejected...); err != nil {
		return nil, &attestation.RejectedError{Appraisals: appraisals, Err: err}
	}
	if err := errors.Join(undecided...); err != nil {
		return nil, err
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: c.name, Appraisals: appraisals, Lifetime: lifetime,
	})
}

// bindingError adds ErrLeafBinding where the binding is what failed.
func bindingError(err error) error {
	for _, check := range FailedChecks(err) {
		switch check.Check {
		case CheckBinder, CheckKeyHash, CheckReportData, CheckCertifiedKey:
			return fmt.Errorf("%w: %w", ErrLeafBinding, err)
		}
	}
	return err
}

// named calls appraisals by the label of their leaf. What they were called, the
// platform, remains among the claims.
func named(label string, appraisals []attestation.Appraisal) []attestation.Appraisal {
	out := prefixed(label, appraisals) // of a collection in the collection
	if len(out) == 1 {
		out[0].Environment = label
	}
	return out
}

// prefixed tells the appraisals that a Verifier of a composition made from those
// that another made.
func prefixed(name string, appraisals []attestation.Appraisal) []attestation.Appraisal {
	out := slices.Clone(appraisals)
	for i := range out {
		out[i].Claims = maps.Clone(out[i].Claims)
		out[i].Environment = name + "/" + out[i].Environment
	}
	return out
}
