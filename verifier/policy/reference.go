package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier"
)

// references reads the reference values that the file holds, and those of files it
// names.
func (e *environment) references(f *file) {
	s, p := e.section, &e.policy
	p.Measurements = s.measurements()
	p.MinVersions = s.minVersions()
	given := s.Has("measurements") || s.Has("min_versions") || s.Has("reference_values")
	for _, r := range s.Sections("reference_values") {
		if found, ok := r.references(f.options.References); ok {
			e.merge(r, found)
		}
	}
	if !given {
		s.Fail("measurements", "there are no reference values", "list measurements, min_versions or reference_values: expat policy learn makes a draft of Evidence")
	}
	for _, digests := range p.Measurements {
		e.ReferenceValues += len(digests)
	}
	e.ReferenceValues += len(p.MinVersions)
}

// measurements reads the digests that are good, by name of the measurement.
func (s *Section) measurements() map[string][][]byte {
	m := s.Section("measurements")
	if !m.There() {
		return nil
	}
	out := make(map[string][][]byte)
	for _, name := range m.Names() {
		digests := m.ByteLists(name)
		if name == "" {
			m.Fail(name, "a measurement has no name", "write the name that the platform gives it")
		}
		for i, d := range digests {
			if len(d) < minDigest || len(d) > maxDigest {
				m.file.At(m.item(name, i), fmt.Sprintf("%s[%d]", strictyaml.Path(m.path, name), i),
					fmt.Sprintf("it has %d bytes", len(d)), fmt.Sprintf("write a digest of %d to %d bytes in hex", minDigest, maxDigest))
			}
		}
		if len(digests) > 0 {
			out[name] = digests
		}
	}
	return out
}

func (s *Section) minVersions() map[string]string {
	m := s.Section("min_versions")
	if !m.There() {
		return nil
	}
	out := make(map[string]string)
	for _, name := range m.Names() {
		value := m.Text(name)
		if value == "" {
			continue // reported
		}
		if name == "" {
			m.Fail(name, "a piece of software has no name", "write the name that the platform gives it")
		}
		if _, err := verifier.CompareVersions(value, value); err != nil {
			m.fail(name, fmt.Sprintf("%.40q is no version", value), `write numbers separated by dots, as in "1.10"`, err)
		}
		out[name] = value
	}
	return out
}

// references reads a file of another format.
func (s *Section) references(known map[string]func(ReferenceInput) (References, error)) (References, bool) {
	before := len(s.file.Errors)
	format := s.Text("format")
	in := ReferenceInput{Content: s.Read("file"), Profile: s.Text("profile")}
	for i, key := range s.Texts("keys") {
		b, err := s.file.read(key)
		if err != nil {
			s.failItem("keys", s.item("keys", i), i, "the file cannot be read: "+err.Error(), "name a file of a key")
		}
		in.Keys = append(in.Keys, b)
	}
	for _, field := range []string{"format", "file"} {
		if !s.Has(field) {
			s.Fail(field, "it is missing", "write format, and file")
		}
	}
	read, ok := known[format]
	if !ok && format != "" {
		remedy := "this program reads none; github.com/expat-go/expat/cmd/expat/expat-full does"
		if len(known) > 0 {
			remedy = "write one of " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
		}
		s.Fail("format", fmt.Sprintf("%.40q is not known here", format), remedy)
	}
	if len(s.file.Errors) > before {
		return References{}, false
	}
	found, err := read(in)
	switch {
	case err != nil:
		s.fail("file", err.Error(), "name a file of reference values, and the keys that signed it", err)
		return References{}, false
	case len(found.Measurements)+len(found.MinVersions) == 0:
		s.Fail("file", "it holds no reference values", "name one that does, and the profile of this platform")
		return References{}, false
	}
	return found, true
}

// merge adds reference values. Two sources must say the same of one name: which of
// them is meant otherwise nobody knows.
func (e *environment) merge(s *Section, found References) {
	p := &e.policy
	for _, name := range slices.Sorted(maps.Keys(found.Measurements)) {
		digests := found.Measurements[name]
		if old, there := p.Measurements[name]; there && !sameSet(old, digests) {
			s.Fail("file", fmt.Sprintf("it contradicts other reference values of the measurement %.64q", name), "state each measurement in one place")
			continue
		}
		if p.Measurements == nil {
			p.Measurements = make(map[string][][]byte)
		}
		p.Measurements[name] = digests
	}
	for _, name := range slices.Sorted(maps.Keys(found.MinVersions)) {
		version := found.MinVersions[name]
		if old, there := p.MinVersions[name]; there && old != version {
			s.Fail("file", fmt.Sprintf("it contradicts the other lowest version of %.64q", name), "state each version in one place")
			continue
		}
		if p.MinVersions == nil {
			p.MinVersions = make(map[string]string)
		}
		p.MinVersions[name] = version
	}
	p.Rules = append(p.Rules, found.Rules...)
}

func sameSet(a, b [][]byte) bool {
	in := func(list [][]byte, x []byte) bool {
		return slices.ContainsFunc(list, func(y []byte) bool { return bytes.Equal(x, y) })
	}
	all := func(list, of [][]byte) bool {
		return !slices.ContainsFunc(list, func(x []byte) bool { return !in(of, x) })
	}
	return all(a, b) && all(b, a)
}
