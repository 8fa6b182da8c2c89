package policy

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier"
)

// ErrNothingLearned: there is nothing of which a policy could be made.
var ErrNothingLearned = errors.New("there is nothing to make a policy of")

// Draft is a policy that is made of what Evidence said. It is a description of what
// is there, not a judgement that it is good: [Parse] refuses it until a person has
// removed the line "draft: true".
type Draft struct {
	Name string
	// Comment stands above the policy, without "#".
	Comment []string
	// Confirmed leaves out "draft: true": whoever calls has judged the values.
	Confirmed    bool
	Composite    bool
	Environments []DraftEnvironment
}

// DraftEnvironment is one attesting environment of a draft.
type DraftEnvironment struct {
	Label    string // of a composite's
	Platform string
	Root     DraftRoot
	// Observed is what pieces of Evidence said, whose signatures were verified.
	Observed []Observation
	// Section holds the lines of the platform's section.
	Section []string
}

// DraftRoot is one of its fields.
type DraftRoot struct {
	Vendor, File string
	PEM          []byte
}

// Observation is what one piece of Evidence said, and where it came from.
type Observation struct {
	Source string
	Claims *evidence.Claims
}

// Marshal writes the draft as YAML, with a comment at each value that says where it
// came from.
func (d *Draft) Marshal() ([]byte, error) {
	w := new(writer)
	for _, c := range d.Comment {
		w.line(0, strings.TrimRight("# "+c, " "))
	}
	w.line(0, fmt.Sprintf("version: %d", Version))
	w.line(0, "name: "+quote(d.Name))
	if !d.Confirmed {
		w.line(0, "draft: true  # review every line below; then remove this one, which puts the policy in force")
	}
	indent := 0
	if d.Composite {
		w.line(0, "composite:")
		indent = 2
	}
	w.line(indent, "environments:")
	for _, e := range d.Environments {
		if len(e.Observed) == 0 {
			return nil, fmt.Errorf("%w: no Evidence of %s", ErrNothingLearned, e.Platform)
		}
		w.environment(indent+2, &e, d.Composite)
	}
	if len(d.Environments) == 0 {
		return nil, ErrNothingLearned
	}
	return w.Bytes(), nil
}

// writer writes YAML of which every value is in quotes, and every name that needs it.
type writer struct{ bytes.Buffer }

func (w *writer) line(indent int, text string) {
	w.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

// quote writes text that means itself in YAML.
func quote(s string) string {
	if strictyaml.Plain(s) && !slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfeff || r == 0x2028 || r == 0x2029 || r == 0xfffd:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func (w *writer) environment(n int, e *DraftEnvironment, composite bool) {
	w.line(n, "- platform: "+quote(e.Platform))
	n += 2
	if composite {
		w.line(n, "label: "+quote(e.Label))
	}
	w.root(n, e.Root)
	w.measurements(n, e.Observed)
	w.versions(n, e.Observed)
	w.identifiers(n, "instances", e.Observed, func(c *evidence.Claims) []byte { return c.Instance })
	w.identifiers(n, "hardware_models", e.Observed, func(c *evidence.Claims) []byte { return c.HardwareModel })
	w.identifiers(n, "vendors", e.Observed, func(c *evidence.Claims) []byte { return c.Vendor })
	w.weak(n, e.Observed)
	if len(e.Section) > 0 {
		w.line(n, e.Platform+":")
		for _, l := range e.Section {
			w.line(n+2, l)
		}
	}
}

func (w *writer) root(n int, r DraftRoot) {
	w.line(n, "roots:")
	switch {
	case r.Vendor != "":
		w.line(n+2, "- vendor: "+quote(r.Vendor))
	case r.File != "":
		w.line(n+2, "- file: "+quote(r.File))
	default:
		w.line(n+2, "- pem: |")
		for block, rest := pem.Decode(r.PEM); block != nil; block, rest = pem.Decode(rest) {
			block.Headers = nil
			for l := range strings.Lines(string(pem.EncodeToMemory(block))) {
				w.line(n+6, strings.TrimRight(l, "\n"))
			}
		}
	}
}

// seen lists values in the order in which they were observed, each with its sources.
type seen struct {
	order   []string
	sources map[string][]string
}

func (s *seen) add(value, source string) {
	if s.sources == nil {
		s.sources = make(map[string][]string)
	}
	if s.sources[value] == nil {
		s.order = append(s.order, value)
	}
	if !slices.Contains(s.sources[value], source) {
		s.sources[value] = append(s.sources[value], source)
	}
}

// from is the comment that says where a value came from.
func (s *seen) from(value string) string {
	return "  # " + comment(strings.Join(s.sources[value], ", "))
}

// comment is text that ends with its line.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff {
			return '?'
		}
		return r
	}, s)
}

func (w *writer) measurements(n int, observed []Observation) {
	byName := make(map[string]*seen)
	var names []string
	in := make(map[string]int) // how many observations have it
	for _, o := range observed {
		here := make(map[string]bool)
		for _, m := range o.Claims.Measurements {
			if byName[m.Name] == nil {
				byName[m.Name] = new(seen)
				names = append(names, m.Name)
			}
			byName[m.Name].add(hex.EncodeToString(m.Digest), o.Source+", "+m.Algorithm)
			here[m.Name] = true
		}
		for name := range here {
			in[name]++
		}
	}
	if len(names) == 0 {
		return
	}
	w.line(n, "measurements:  # every one must be measured and match; no other may be measured")
	for _, name := range names {
		note := ""
		if in[name] < len(observed) {
			note = fmt.Sprintf("  # only in %d of %d pieces of Evidence: those without it are refused", in[name], len(observed))
		}
		w.line(n+2, quote(name)+":"+note)
		for _, d := range byName[name].order {
			w.line(n+4, "- "+`"`+d+`"`+byName[name].from(d))
		}
	}
}

// versions writes the lowest version of each software that was seen.
func (w *writer) versions(n int, observed []Observation) {
	lowest, from := make(map[string]string), make(map[string]string)
	var without []string
	for _, o := range observed {
		for _, s := range o.Claims.Software {
			if _, err := verifier.CompareVersions(s.Version, s.Version); err != nil {
				without = append(without, s.Name)
				continue
			}
			if old, there := lowest[s.Name]; there {
				if order, _ := verifier.CompareVersions(s.Version, old); order >= 0 {
					continue
				}
			}
			lowest[s.Name], from[s.Name] = s.Version, o.Source
		}
	}
	if len(without) > 0 { // and min_versions admits no software that it does not name
		w.line(n, fmt.Sprintf("# min_versions is left out: the version of %s is not numbers separated by dots", comment(quote(without[0]))))
		return
	}
	if len(lowest) == 0 {
		return
	}
	w.line(n, "min_versions:  # the lowest that was seen: raise it where that has known holes")
	for _, name := range slices.Sorted(maps.Keys(lowest)) {
		w.line(n+2, quote(name)+": \""+lowest[name]+"\"  # "+comment(from[name]))
	}
}

func (w *writer) identifiers(n int, field string, observed []Observation, of func(*evidence.Claims) []byte) {
	var values seen
	missing := 0
	for _, o := range observed {
		if id := of(o.Claims); len(id) > 0 {
			values.add(identifier(id), o.Source)
		} else {
			missing++
		}
	}
	switch {
	case missing > 0 && field == "instances":
		w.line(n, "any_instance: true  # the Evidence names no device: any of the vendor will do")
		return
	case missing > 0:
		return
	}
	w.line(n, field+":")
	for _, v := range values.order {
		w.line(n+2, "- "+v+values.from(v))
	}
}

// identifier is text where the bytes are a name, else hex.
func identifier(id []byte) string {
	if strictyaml.Plain(string(id)) {
		return `"` + textPrefix + string(id) + `"`
	}
	return `"` + hex.EncodeToString(id) + `"`
}

// weak writes what the platform needs by its nature, and as a comment what only this
// Evidence needs: that is for a person to decide.
func (w *writer) weak(n int, observed []Observation) {
	has := func(is func(c *evidence.Claims) bool) bool {
		return slices.ContainsFunc(observed, func(o Observation) bool { return is(o.Claims) })
	}
	if has(func(c *evidence.Claims) bool { return c.Key == evidence.KeyNamedBySoftware }) {
		w.line(n, "allow_key_named_by_software: true  # the measured software is trusted to keep its key inside")
	}
	if has(func(c *evidence.Claims) bool { return c.Debug == evidence.DebugLeftToSoftware }) {
		w.line(n, "allow_debug_left_to_software: true  # the measured software is trusted to let nobody look inside")
	}
	if has(func(c *evidence.Claims) bool { return !c.Debug.Off() && c.Debug != evidence.DebugLeftToSoftware }) {
		w.line(n, "# allow_debug_exposing_memory: true  # DEBUG WAS ON: anyone can read keys and data there")
	}
	if has(func(c *evidence.Claims) bool {
		return c.Key != evidence.KeyNamedBySoftware && c.Key != evidence.KeyBornInside
	}) {
		w.line(n, "# allow_external_key: true  # THE KEY WAS MADE OUTSIDE: the peer can be anywhere")
	}
	for _, o := range observed {
		for _, f := range o.Claims.Findings {
			w.line(n, comment(fmt.Sprintf("# %s: the strictest policy of the platform refuses this: %s: want %s, got %s", o.Source, f.Check, f.Want, f.Got)))
		}
	}
}
