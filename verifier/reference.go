package verifier

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// references are the lists of a [Policy] in the form in which they are looked up:
// the cost of one look-up does not depend on how many values a policy has. They
// share nothing with what the caller could change later.
type references struct {
	measurements map[string]set
	measured     []string // names of measurements, sorted
	versions     map[string]minVersion
	software     []string // names of versions, sorted

	instances, revoked, vendors, models set
}

// newReferences takes a policy that was checked.
func newReferences(p *Policy) references {
	r := references{
		measurements: make(map[string]set, len(p.Measurements)),
		measured:     slices.Sorted(maps.Keys(p.Measurements)),
		versions:     make(map[string]minVersion, len(p.MinVersions)),
		software:     slices.Sorted(maps.Keys(p.MinVersions)),
		instances:    newSet(p.Instances),
		revoked:      newSet(p.RevokedInstances),
		vendors:      newSet(p.Vendors),
		models:       newSet(p.HardwareModels),
	}
	for name, digests := range p.Measurements {
		r.measurements[name] = newSet(digests)
	}
	for name, text := range p.MinVersions {
		version, _ := parseVersion(text) // checked with the policy
		r.versions[name] = minVersion{text, version}
	}
	return r
}

// set is a list of reference values. The zero set was not given.
type set struct {
	members map[string]struct{}
	text    string // the first few values, for errors
}

func newSet(list [][]byte) set {
	if list == nil {
		return set{}
	}
	s := set{members: make(map[string]struct{}, len(list)), text: oneOf(list)}
	for _, b := range list {
		s.members[string(b)] = struct{}{}
	}
	return s
}

func (s set) given() bool { return s.members != nil }

// has compares in variable time: reference values are no secrets.
func (s set) has(b []byte) bool {
	_, ok := s.members[string(b)]
	return ok
}

func show(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return hex.EncodeToString(b)
}

// maxShown bounds how many alternatives an error lists.
const maxShown = 3

func oneOf(list [][]byte) string {
	var out []string
	for _, b := range list[:min(len(list), maxShown)] {
		out = append(out, show(b))
	}
	if more := len(list) - maxShown; more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, " or ")
}
