package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier"
)

// minDigest is the size of the shortest digest that can be a reference value, that
// of SHA-256 in bytes; maxDigest is that of SHA-512.
const (
	minDigest = 32
	maxDigest = 64
)

// environment is one attesting environment while the file is read.
type environment struct {
	Environment
	name      string // or label
	section   *Section
	policy    verifier.Policy
	extractor evidence.Extractor
}

func (f *file) environments(sections []*Section, composite bool) []*environment {
	var out []*environment
	for _, s := range sections {
		out = append(out, f.environment(s, composite))
	}
	return out
}

// environment reads one environment, every field whatever is wrong with others.
func (f *file) environment(s *Section, composite bool) *environment {
	e := &environment{section: s}
	if composite {
		e.name = s.name("label", true)
		e.MayBeAbsent = s.Flag("may_be_absent")
	} else {
		e.name = s.name("name", false)
	}
	e.policy.Now, e.policy.Revoked = f.options.Now, f.options.Revoked
	platform := e.platform(f)
	e.policy.Roots = s.roots(platform)
	e.references(f)
	e.identities()
	e.weak(composite)
	e.policy.Rules = append(e.policy.Rules, s.rules(f.options.Rules)...)
	e.policy.Lifetime = s.Duration("lifetime", time.Second)
	e.Rules = len(e.policy.Rules)
	return e
}

// platform finds the platform and makes its Extractor.
func (e *environment) platform(f *file) *Platform {
	s := e.section
	name := s.Text("platform")
	types := s.Texts("media_types")
	var platform *Platform
	var names []string
	for i := range f.options.Platforms {
		p := &f.options.Platforms[i]
		names = append(names, p.Name)
		if p.Name == name {
			platform = p
			continue
		}
		if s.known = append(s.known, p.Name); s.Has(p.Name) && slices.ContainsFunc(f.options.Platforms, func(p Platform) bool { return p.Name == name }) {
			s.Fail(p.Name, "it is a section of another platform than "+name, "remove it, or change platform")
		}
	}
	switch {
	case platform == nil && name == "" && s.Has("platform"): // reported
		return nil
	case platform == nil && name == "":
		s.Fail("platform", "it is missing", "write one of "+strings.Join(names, ", "))
		return nil
	case platform == nil:
		s.Fail("platform", fmt.Sprintf("%.40q is not known here", name), "write one of "+strings.Join(names, ", "))
		return nil
	}
	e.Platform = name
	before := len(f.Errors)
	own := s.Section(name)
	x, err := platform.Build(own)
	switch {
	case len(f.Errors) > before: // field by field
		return platform
	case err != nil:
		s.fail(name, err.Error(), "change this section", err)
		return platform
	}
	e.extractor, e.MediaTypes = x, x.MediaTypes()
	for _, t := range types {
		if !slices.ContainsFunc(x.MediaTypes(), func(known string) bool { return cmw.SameMediaType(known, t) }) {
			s.Fail("media_types", fmt.Sprintf("%s has no Evidence of %.80q", name, t), "write "+strings.Join(x.MediaTypes(), ", "))
		}
	}
	if types != nil {
		e.extractor, e.MediaTypes = &limited{x, types}, types
	}
	return platform
}

// limited is an Extractor of which only some media types are accepted.
type limited struct {
	evidence.Extractor
	types []string
}

func (l *limited) MediaTypes() []string { return slices.Clone(l.types) }

// identities reads which devices are meant.
func (e *environment) identities() {
	s, p := e.section, &e.policy
	p.Instances, p.AnyInstance = s.Identifiers("instances"), s.Flag("any_instance")
	p.HardwareModels, p.Vendors = s.Identifiers("hardware_models"), s.Identifiers("vendors")
	p.RevokedInstances = s.Identifiers("revoked_instances")
	switch {
	case !s.Has("instances") && !p.AnyInstance:
		s.Fail("instances", "it is missing", "list the devices that are meant, or write any_instance: true to accept every device of the vendor")
	case s.Has("instances") && p.AnyInstance:
		s.Fail("any_instance", "it contradicts instances", "keep one of the two")
	}
	for i, r := range p.RevokedInstances {
		if slices.ContainsFunc(p.Instances, func(b []byte) bool { return bytes.Equal(b, r) }) {
			s.file.At(s.item("revoked_instances", i), fmt.Sprintf("%s[%d]", strictyaml.Path(s.path, "revoked_instances"), i),
				"instances accepts the same device", "keep one of the two")
		}
	}
}

// item is the node of a list's item. Lists that are used have no item left out: a
// bad one is an error of the file.
func (s *Section) item(name string, i int) *yaml.Node {
	if _, v := s.find(name); v != nil && i < len(v.Content) {
		return v.Content[i]
	}
	return s.node
}

// weak reads the fields that give something up. Which need others is checked by
// package verifier too, in words of its fields.
func (e *environment) weak(composite bool) {
	s, p := e.section, &e.policy
	p.AllowUnlistedMeasurements = s.Flag("allow_unlisted_measurements")
	p.AllowDebugExposingMemory = s.Flag("allow_debug_exposing_memory")
	p.AllowDebugLeftToSoftware = s.Flag("allow_debug_left_to_software")
	p.AllowKeyNamedBySoftware = s.Flag("allow_key_named_by_software")
	p.AllowExternalKey = s.Flag("allow_external_key")
	p.AcceptWarning = s.Flag("accept_warning")
	if composite && p.AcceptWarning {
		s.Fail("accept_warning", "every environment of a composite device must be affirming", "remove it")
	}
	for name, set := range map[string]bool{
		"allow_debug_exposing_memory": p.AllowDebugExposingMemory, "allow_external_key": p.AllowExternalKey,
	} {
		if set && !p.AcceptWarning {
			s.Fail(name, "it makes the tier warning at best, which opens no connection", "remove it, or add accept_warning: true")
		}
	}
	pinned := len(p.Measurements) > 0 && !p.AllowUnlistedMeasurements
	for name, set := range map[string]bool{
		"allow_key_named_by_software": p.AllowKeyNamedBySoftware, "allow_debug_left_to_software": p.AllowDebugLeftToSoftware,
	} {
		if set && !pinned {
			s.Fail(name, "it trusts the software, which measurements do not pin", "list measurements, and remove allow_unlisted_measurements")
		}
	}
	if p.AllowUnlistedMeasurements && len(p.Measurements) == 0 {
		s.Fail("allow_unlisted_measurements", "no measurements are listed", "list measurements, or remove it")
	}
}

// rules compiles the conditions that no field expresses.
func (s *Section) rules(compile func(name, expr string) (verifier.Rule, error)) []verifier.Rule {
	var out []verifier.Rule
	names := make(map[string]bool)
	for _, r := range s.Sections("rules") {
		name, expr := r.name("name", true), r.Text("cel")
		switch {
		case names[name] && name != "":
			r.Fail("name", "another rule has it", "give each its own name")
		case !r.Has("cel"):
			r.Fail("cel", "it is missing", "write an expression that is true where the rule holds")
		case name == "" || expr == "":
		case compile == nil:
			r.fail("cel", errNoRules.Error(), "use the program github.com/expat-go/expat/cmd/expat/expat-full, or set Options.Rules", errNoRules)
		default:
			rule, err := compile(name, expr)
			if err != nil {
				r.fail("cel", err.Error(), "correct the expression", err)
				continue
			}
			out = append(out, rule)
		}
		names[name] = true
	}
	return out
}
