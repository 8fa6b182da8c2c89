package corim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier"
)

// software is what a triple says of the version of one piece of software.
type software struct {
	version string
	exact   bool // the only good version, not the lowest
}

// state is one reference triple: a state in which the environment is good, all of it
// together (Section 5.1.5 of the draft).
type state struct {
	environment
	digests  map[string][][]byte
	software map[string]software
	debugOff bool
	keys     map[string]mkey // by name, shared by all states
}

func newState(env environment, keys map[string]mkey) *state {
	return &state{environment: env, digests: make(map[string][][]byte), software: make(map[string]software), keys: keys}
}

// shape lists what a state speaks of. States of one shape are alternatives.
func (s *state) shape() []string {
	var out []string
	for name := range s.digests {
		out = append(out, fmt.Sprintf("digests of %q", name))
	}
	for name := range s.software {
		out = append(out, fmt.Sprintf("version of %q", name))
	}
	slices.Sort(out)
	return out
}

// holds tells whether the claims are in this state. The claims have passed the
// policy's own checks, so that every name is measured; one that is measured twice is
// good only if both are.
func (s *state) holds(c *evidence.Claims) bool {
	for _, id := range []struct{ want, got []byte }{
		{s.vendor, c.Vendor}, {s.model, c.HardwareModel}, {s.instance, c.Instance},
	} {
		if id.want != nil && !bytes.Equal(id.want, id.got) {
			return false
		}
	}
	left := len(s.digests) + len(s.software)
	for name, digests := range s.digests {
		found := false
		for _, m := range c.Measurements {
			if m.Name != name {
				continue
			}
			if !slices.ContainsFunc(digests, func(d []byte) bool { return bytes.Equal(d, m.Digest) }) {
				return false
			}
			found = true
		}
		if found {
			left--
		}
	}
	for name, want := range s.software {
		found := false
		for _, got := range c.Software {
			if got.Name != name {
				continue
			}
			order, err := verifier.CompareVersions(got.Version, want.version)
			if err != nil || order < 0 || (want.exact && order != 0) {
				return false
			}
			found = true
		}
		if found {
			left--
		}
	}
	return left == 0
}

// group is the states of one shape.
type group struct {
	shape  []string
	states []*state
}

// groupStates sorts states by shape. Two shapes that overlap in part would leave open
// what belongs together.
func groupStates(states []*state) ([]*group, error) {
	byShape := make(map[string]*group)
	var groups []*group
	for _, s := range states {
		shape := s.shape()
		key := strings.Join(shape, "\n")
		g := byShape[key]
		if g == nil {
			g = &group{shape: shape}
			byShape[key] = g
			groups = append(groups, g)
		}
		g.states = append(g.states, s)
	}
	owner := make(map[string]*group)
	for _, g := range groups {
		for _, field := range g.shape {
			if owner[field] != nil {
				return nil, fail(ErrConflict, "reference triples", field+" are stated together with different other measurements")
			}
			owner[field] = g
		}
	}
	return groups, nil
}

// alike tells whether states speak of the same environment.
func alike(states []*state) bool {
	return !slices.ContainsFunc(states, func(s *state) bool {
		first := states[0]
		return !bytes.Equal(s.vendor, first.vendor) || !bytes.Equal(s.model, first.model) || !bytes.Equal(s.instance, first.instance)
	})
}

// rule demands that one of the states holds as a whole, where comparing field by
// field, as the policy does, would mix them: with each other, or, where the CoRIM
// speaks of several environments, with those of another environment.
func (g *group) rule(prefix string, oneEnvironment bool) (verifier.Rule, bool) {
	exact := slices.ContainsFunc(g.states, func(s *state) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(s.software)), func(v software) bool { return v.exact })
	})
	mixes := !oneEnvironment || len(g.states) > 1 && len(g.shape) > 1
	if !exact && !mixes {
		return verifier.Rule{}, false
	}
	what := strings.Join(g.shape, ", ")
	return verifier.Rule{
		Name: prefix + ": state of " + what,
		Check: func(_ context.Context, c *evidence.Claims) error {
			if slices.ContainsFunc(g.states, func(s *state) bool { return s.holds(c) }) {
				return nil
			}
			return errors.New("none of the reference triples for this holds as a whole")
		},
	}, true
}

// expiry ends what the CoRIM says with the CoRIM.
func expiry(prefix string, notAfter time.Time, now func() time.Time) verifier.Rule {
	return verifier.Rule{
		Name: prefix + ": valid",
		Check: func(context.Context, *evidence.Claims) error {
			if at := now(); at.After(notAfter) {
				return fmt.Errorf("%w at %s; load a newer one", ErrExpired, notAfter.UTC().Format(time.RFC3339))
			}
			return nil
		},
	}
}
