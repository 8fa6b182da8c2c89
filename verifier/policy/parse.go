package policy

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier"
)

// validName is what policies and environments can be called.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,63}$`)

const nameRemedy = "write 1 to 64 letters, digits and . _ + / -"

// policy reads a whole file; where anything is wrong the result is not to be used.
func (f *file) policy(data []byte) *Policy {
	root := f.Parse(data)
	if root == nil {
		return nil
	}
	s := f.section(root, "")
	f.head(s)
	p := &Policy{name: s.name("name", true)}
	alternatives, composite := s.Sections("environments"), s.Section("composite")
	var all []*environment
	if p.composite = composite.There(); p.composite {
		all = f.environments(composite.Sections("environments"), true)
		if !composite.Has("environments") {
			composite.Fail("environments", "it is missing", "list the environments that a composite device has")
		}
	} else {
		all = f.environments(alternatives, false)
	}
	if s.Has("environments") == s.Has("composite") {
		s.Fail("environments", "exactly one of environments and composite must be given", "list environments for one leaf, or composite for a collection of several")
	}
	f.distinct(all, p.composite)
	f.unknown()
	if len(f.Errors) > 0 {
		return nil
	}
	p.digest, p.sources = f.digest(), f.sources
	if p.build(f, all); len(f.Errors) > 0 {
		return nil
	}
	return p
}

// head reads what says how to read the rest.
func (f *file) head(s *Section) {
	n := s.take("version", yaml.ScalarNode, "1")
	switch {
	case !s.Has("version"):
		s.Fail("version", "it is missing", `write "version: 1"`)
	case n == nil: // reported
	case n.Tag != "!!int":
		s.Fail("version", "it is "+strictyaml.KindName(n), "write 1")
	case n.Value != "1":
		s.Fail("version", fmt.Sprintf("this program does not know version %.20q of the format", n.Value), "write 1")
	}
	if s.Flag("draft") {
		s.fail("draft", "nobody has confirmed this draft", "review every line, then remove this one", ErrDraft)
	}
}

// name reads the name of something.
func (s *Section) name(field string, required bool) string {
	value := s.Text(field)
	switch {
	case !s.Has(field) && required:
		s.Fail(field, "it is missing", nameRemedy)
	case value != "" && !validName.MatchString(value):
		s.Fail(field, fmt.Sprintf("%.64q is no name", value), nameRemedy)
	}
	return value
}

// distinct demands that a leaf has one environment to judge it.
func (f *file) distinct(all []*environment, composite bool) {
	required := false
	names := make(map[string]bool)
	var types []string
	for _, e := range all {
		field := "name"
		if composite {
			field = "label"
		}
		if names[e.name] && e.name != "" {
			e.section.Fail(field, "another environment has it", "give each its own "+field)
		}
		names[e.name] = true
		required = required || !e.MayBeAbsent
		for _, t := range e.MediaTypes {
			if !composite && slices.ContainsFunc(types, func(other string) bool { return cmw.SameMediaType(t, other) }) {
				e.section.Fail("platform", fmt.Sprintf("another environment reads %q too", t), "list what is good of both in one environment")
			}
			types = append(types, t)
		}
	}
	if composite && len(all) > 0 && !required {
		all[0].section.Fail("may_be_absent", "every environment may be absent", "remove it from one that is always needed")
	}
}

func (f *file) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, s := range f.sources {
		h.Write(s.digest[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// build makes the Verifier of environments that are good each.
func (p *Policy) build(f *file, all []*environment) {
	var verifiers []attestation.Verifier
	var labelled []verifier.Environment
	for _, e := range all {
		name := p.name
		if e.name != "" {
			name += "/" + e.name
		} else if len(all) > 1 {
			name += "/" + e.Platform
		}
		e.policy.Name = identify(name, p.digest)
		a, err := verifier.New(e.policy, e.extractor)
		if err != nil {
			e.section.fail("", "it is not usable: "+err.Error(), "change what it says", err)
			continue
		}
		e.appraiser = a
		e.Name = e.name
		verifiers = append(verifiers, a)
		labelled = append(labelled, verifier.Environment{Label: e.name, Verifier: a, MayBeAbsent: e.MayBeAbsent})
		p.environments = append(p.environments, e.Environment)
	}
	if len(f.Errors) > 0 {
		return
	}
	var err error
	switch {
	case p.composite:
		p.verifier, err = verifier.NewCollection(p.ID(), labelled...)
	case len(verifiers) == 1:
		p.verifier = verifiers[0]
	default:
		p.verifier, err = verifier.NewDispatch(verifiers...)
	}
	if err != nil {
		f.Whole(err, "it is not usable: "+err.Error(), "change the environments")
	}
}
