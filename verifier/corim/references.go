package corim

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/verifier"
)

// References is what a CoRIM says, in the terms of a [verifier.Policy].
type References struct {
	// Measurements holds the digests that are good, by name; at least 32 bytes
	// each.
	Measurements map[string][][]byte
	// MinVersions holds the lowest good version, by name of the software.
	MinVersions map[string]string
	// Instances, Vendors and HardwareModels are the identifiers that triples are
	// limited to; nil: they are not. Vendors and models are the text in UTF-8.
	Instances, Vendors, HardwareModels [][]byte
	// DebugOff is the demand that debug facilities are off.
	DebugOff bool
	// NotAfter is when the CoRIM, its signature or its signer's certificates
	// end; zero: never.
	NotAfter time.Time
	// Rules are the demands that the fields above do not express: an exact
	// version, measurements that are good only together, and that the CoRIM has
	// not ended meanwhile. They are part of what the CoRIM says: a policy without
	// them accepts more.
	Rules []verifier.Rule
	// Provenance tells who says so.
	Provenance Provenance
}

// Provenance tells where reference values come from, for error texts and logs.
type Provenance struct {
	ID       string   // of the CoRIM
	Tags     []string // identifiers of its CoMIDs, with their versions: "id@0"
	Profiles []string
	Signer   string // the name that the signer has in corim-meta; "" if unsigned
	KeyID    []byte // SHA-256 of the signer's SubjectPublicKeyInfo; nil if unsigned
}

func (p Provenance) String() string {
	by := "unsigned"
	if p.KeyID != nil {
		by = fmt.Sprintf("signed by %q with key %s", p.Signer, hex.EncodeToString(p.KeyID))
	}
	return fmt.Sprintf("CoRIM %q (%s), %s", p.ID, strings.Join(p.Tags, ", "), by)
}

// LogValue is the provenance for package slog.
func (p Provenance) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("corim", p.ID), slog.Any("tags", p.Tags), slog.Any("profiles", p.Profiles),
		slog.String("signer", p.Signer), slog.String("key-id", hex.EncodeToString(p.KeyID)))
}

// Parse reads a CoRIM of at most [MaxSize] bytes: COSE_Sign1 over a corim-map in
// CBOR. Every error but one of the options wraps [*Error].
func Parse(b []byte, o Options) (*References, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	now := o.now()
	content, by, err := open(b, &o, now)
	if err != nil {
		return nil, err
	}
	manifest, profiles, err := openManifest(content, &o, now)
	if err != nil {
		return nil, err
	}
	r := &References{
		NotAfter:   earlier(by.notAfter, manifest.Validity.end()),
		Provenance: Provenance{ID: manifest.ID.String(), Profiles: profiles, Signer: by.name, KeyID: by.keyID},
	}
	states, err := r.readTags(manifest, &o)
	if err != nil {
		return nil, err
	}
	if err := r.merge(states, &o); err != nil {
		return nil, err
	}
	return r, nil
}

// readTags reads the triples of every CoMID that are for the environment.
func (r *References) readTags(manifest *corimMap, o *Options) ([]*state, error) {
	keys := make(map[string]mkey)
	seen := make(map[string]bool)
	var states []*state
	for _, tag := range manifest.Tags {
		m, triples, err := openComid(tag)
		if err != nil {
			return nil, err
		}
		id := m.Identity.ID.String()
		if seen[id] { // the later version would replace the earlier
			return nil, fail(ErrConflict, "tags", fmt.Sprintf("two CoMIDs have the tag-id %q", id))
		}
		seen[id] = true
		r.Provenance.Tags = append(r.Provenance.Tags, fmt.Sprintf("%s@%d", id, m.Identity.Version))
		for i := range triples {
			step := fmt.Sprintf("CoMID %q, reference triple %d", id, i)
			s, err := readTriple(step, &triples[i], keys, o)
			if err != nil {
				return nil, err
			}
			if s != nil {
				states = append(states, s)
			}
		}
	}
	if len(states) == 0 {
		return nil, fail(ErrNoValues, "reference triples", fmt.Sprintf("none is for the class %q", o.ClassID))
	}
	return states, nil
}

// readTriple returns nil for a triple of another environment.
func readTriple(step string, t *referenceTriple, keys map[string]mkey, o *Options) (*state, error) {
	env, mine, err := t.Environment.read(step, o)
	if err != nil || !mine {
		return nil, err
	}
	if len(t.Measurements) == 0 {
		return nil, fail(ErrFormat, step, "it has no measurements")
	}
	s := newState(env, keys)
	for i := range t.Measurements {
		if err := s.add(step, &t.Measurements[i], o); err != nil {
			return nil, err
		}
	}
	if len(s.digests)+len(s.software) == 0 {
		return nil, fail(ErrUnsupported, step, "it has flags and nothing that is measured")
	}
	return s, nil
}

// merge puts states side by side: what each field may be, and the rules for what
// fields may be together.
func (r *References) merge(states []*state, o *Options) error {
	groups, err := groupStates(states)
	if err != nil {
		return err
	}
	if err := r.identify(states); err != nil {
		return err
	}
	for _, s := range states {
		r.DebugOff = r.DebugOff || s.debugOff
		for name, digests := range s.digests {
			if r.Measurements == nil {
				r.Measurements = make(map[string][][]byte)
			}
			for _, d := range digests {
				r.Measurements[name] = appendNew(r.Measurements[name], d)
			}
		}
		for name, v := range s.software {
			if r.MinVersions == nil {
				r.MinVersions = make(map[string]string)
			}
			old, there := r.MinVersions[name]
			if order, _ := verifier.CompareVersions(v.version, old); !there || order < 0 { // both were checked
				r.MinVersions[name] = v.version
			}
		}
	}
	prefix := fmt.Sprintf("CoRIM %q", r.Provenance.ID)
	for _, g := range groups {
		if rule, needed := g.rule(prefix, alike(states)); needed {
			r.Rules = append(r.Rules, rule)
		}
	}
	if !r.NotAfter.IsZero() {
		r.Rules = append(r.Rules, expiry(prefix, r.NotAfter, o.now))
	}
	return nil
}

// identify collects the identifiers. Either every triple has one of a kind or none
// has: a list in the policy limits all.
func (r *References) identify(states []*state) error {
	for _, kind := range []struct {
		name string
		into *[][]byte
		of   func(s *state) []byte
	}{
		{"vendor", &r.Vendors, func(s *state) []byte { return s.vendor }},
		{"model", &r.HardwareModels, func(s *state) []byte { return s.model }},
		{"instance", &r.Instances, func(s *state) []byte { return s.instance }},
	} {
		for i, s := range states {
			id := kind.of(s)
			if (id == nil) != (kind.of(states[0]) == nil) {
				return fail(ErrConflict, "reference triples", fmt.Sprintf("some state the %s and some, such as number %d, do not or do", kind.name, i))
			}
			if id != nil {
				*kind.into = appendNew(*kind.into, id)
			}
		}
	}
	return nil
}

func appendNew(list [][]byte, b []byte) [][]byte {
	if slices.ContainsFunc(list, func(x []byte) bool { return bytes.Equal(x, b) }) {
		return list
	}
	return append(list, b)
}

// Apply adds the reference values to a policy. It never widens one: a name that the
// policy has already is [ErrConflict], and a list of identifiers becomes what both
// accept. A CoRIM that demands that debug is off contradicts a policy that gives
// that up. On an error the policy is unchanged.
func (r *References) Apply(p *verifier.Policy) error {
	for name := range r.Measurements {
		if _, twice := p.Measurements[name]; twice {
			return fail(ErrConflict, "policy", fmt.Sprintf("it has the measurement %q already", name))
		}
	}
	for name := range r.MinVersions {
		if _, twice := p.MinVersions[name]; twice {
			return fail(ErrConflict, "policy", fmt.Sprintf("it has the version of %q already", name))
		}
	}
	if r.DebugOff && (p.AllowDebugExposingMemory || p.AllowDebugLeftToSoftware) {
		return fail(ErrConflict, "policy", "it gives up what the CoRIM demands: that debug is off")
	}
	if r.Instances != nil && p.AnyInstance {
		return fail(ErrConflict, "policy", "AnyInstance, and the CoRIM is for certain instances: leave both out, and they are set")
	}
	var both [3][][]byte
	lists := [3]struct {
		name string
		own  *[][]byte
		ours [][]byte
	}{
		{"Instances", &p.Instances, r.Instances},
		{"Vendors", &p.Vendors, r.Vendors},
		{"HardwareModels", &p.HardwareModels, r.HardwareModels},
	}
	for i, l := range lists {
		if both[i] = intersect(*l.own, l.ours); both[i] != nil && len(both[i]) == 0 {
			return fail(ErrConflict, "policy", fmt.Sprintf("no one of its %s is in the CoRIM", l.name))
		}
	}
	for i, l := range lists {
		*l.own = both[i]
	}
	p.Measurements, p.MinVersions = join(p.Measurements, r.Measurements), join(p.MinVersions, r.MinVersions)
	p.Rules = slices.Concat(p.Rules, r.Rules)
	return nil
}

// intersect treats nil as a list of everything.
func intersect(a, b [][]byte) [][]byte {
	if a == nil || b == nil {
		return slices.Concat(a, b)
	}
	out := [][]byte{}
	for _, x := range a {
		if slices.ContainsFunc(b, func(y []byte) bool { return bytes.Equal(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

func join[V any](a, b map[string]V) map[string]V {
	if a == nil && b == nil {
		return nil
	}
	out := make(map[string]V, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}
