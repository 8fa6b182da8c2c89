package corim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/corim/comid"
	"github.com/veraison/swid"
)

// corimMap is the corim-map (Section 4.1 of the draft).
type corimMap struct {
	ID            swid.TagID        `cbor:"0,keyasint"`
	Tags          []cbor.RawMessage `cbor:"1,keyasint"`
	DependentRIMs cbor.RawMessage   `cbor:"2,keyasint,omitempty"`
	Profile       cbor.RawMessage   `cbor:"3,keyasint,omitempty"`
	Validity      *validity         `cbor:"4,keyasint,omitempty"`
	Entities      cbor.RawMessage   `cbor:"5,keyasint,omitempty"` // who had a part in it; judged by nothing
}

// comidMap is the concise-mid-tag (Section 5.1 of the draft).
type comidMap struct {
	Language cbor.RawMessage `cbor:"0,keyasint,omitempty"` // of the texts, which are not read
	Identity struct {
		ID      swid.TagID `cbor:"0,keyasint"`
		Version uint64     `cbor:"1,keyasint,omitempty"`
	} `cbor:"1,keyasint"`
	Entities   cbor.RawMessage            `cbor:"2,keyasint,omitempty"`
	LinkedTags cbor.RawMessage            `cbor:"3,keyasint,omitempty"`
	Triples    map[uint64]cbor.RawMessage `cbor:"4,keyasint"`
}

// referenceTriple is the reference-triple-record (Section 5.1.4 of the draft).
type referenceTriple struct {
	_            struct{} `cbor:",toarray"`
	Environment  environmentMap
	Measurements []measurementMap
}

type environmentMap struct {
	Class    *classMap       `cbor:"0,keyasint,omitempty"`
	Instance cbor.RawMessage `cbor:"1,keyasint,omitempty"`
	Group    cbor.RawMessage `cbor:"2,keyasint,omitempty"`
}

type classMap struct {
	ID     cbor.RawMessage `cbor:"0,keyasint,omitempty"`
	Vendor *string         `cbor:"1,keyasint,omitempty"`
	Model  *string         `cbor:"2,keyasint,omitempty"`
	Layer  cbor.RawMessage `cbor:"3,keyasint,omitempty"`
	Index  cbor.RawMessage `cbor:"4,keyasint,omitempty"`
}

// Tags of a CoRIM that are known. Only a CoMID holds reference triples.
const (
	tagUnsigned = 501
	tagCoMID    = 506
)

var tagNames = map[uint64]string{505: "a CoSWID", 507: "a CoTS", 508: "a CoTL"}

var tripleNames = map[uint64]string{
	1: "endorsed values", 2: "identity or attest keys", 3: "attest or identity keys", 4: "dependencies",
	5: "domain memberships", 6: "CoSWID links", 8: "conditional endorsement series", 10: "conditional endorsements",
}

// openManifest decodes the corim-map and checks its validity and its profile.
func openManifest(b []byte, o *Options, now time.Time) (*corimMap, []string, error) {
	const step = "corim-map"
	if bytes.HasPrefix(b, []byte{0xd9, tagUnsigned >> 8, tagUnsigned & 0xff}) {
		b = b[3:]
	}
	var m corimMap
	if err := decode(step, b, &m); err != nil {
		return nil, nil, err
	}
	if !usable(m.ID) || len(m.Tags) == 0 {
		return nil, nil, fail(ErrFormat, step, "it has no id of 1 to 256 bytes or no tags")
	}
	if err := m.Validity.check(step, now); err != nil {
		return nil, nil, err
	}
	profiles, err := readProfiles(m.Profile)
	if err != nil {
		return nil, nil, err
	}
	if len(profiles) == 0 && len(o.Profiles) > 0 {
		return nil, nil, fail(ErrProfile, "profile", fmt.Sprintf("it has none, want one of %q", o.Profiles))
	}
	for _, p := range profiles {
		if !slices.Contains(o.Profiles, p) {
			return nil, nil, fail(ErrProfile, "profile", fmt.Sprintf("it is %q, want one of %q", p, o.Profiles))
		}
	}
	if len(m.DependentRIMs) > 0 {
		return nil, nil, fail(ErrUnsupported, step, "it depends on other CoRIMs")
	}
	return &m, profiles, nil
}

// usable tells whether an identifier is there, and short enough for error texts.
func usable(id swid.TagID) bool { return id != (swid.TagID{}) && len(id.String()) <= maxName }

// readProfiles reads one profile, or the list of them that earlier drafts had: URIs
// and OIDs, tagged as the draft has it or bare as earlier ones did.
func readProfiles(raw cbor.RawMessage) ([]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var value any
	if err := decode("profile", raw, &value); err != nil {
		return nil, err
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	if len(list) == 0 {
		return nil, fail(ErrFormat, "profile", "the list of profiles is empty")
	}
	var profiles []string
	for _, v := range list {
		if tag, ok := v.(cbor.Tag); ok && (tag.Number == 32 || tag.Number == 111) {
			v = tag.Content
		}
		text, _ := v.(string)
		if oid, ok := v.([]byte); ok {
			text = comid.OID(oid).String()
		}
		if text == "" {
			return nil, fail(ErrFormat, "profile", "it is neither a URI nor an OID")
		}
		profiles = append(profiles, text)
	}
	return profiles, nil
}

// unwrapTag returns the content of a CoMID: a byte string inside tag 506 as the draft
// has it, or as earlier ones did tag 506 inside a byte string.
func unwrapTag(raw cbor.RawMessage) ([]byte, error) {
	const step = "tags"
	inner := majorType(raw) == majorBytes
	if inner {
		var content []byte
		if err := decode(step, raw, &content); err != nil {
			return nil, err
		}
		raw = content
	}
	var tag cbor.RawTag
	if err := decode(step, raw, &tag); err != nil {
		return nil, err
	}
	if tag.Number != tagCoMID {
		what := tagNames[tag.Number]
		if what == "" {
			what = fmt.Sprintf("a tag %d", tag.Number)
		}
		return nil, fail(ErrUnsupported, step, "it has "+what+"; only CoMIDs state reference values")
	}
	if inner {
		return tag.Content, nil
	}
	var content []byte
	err := decode(step, tag.Content, &content)
	return content, err
}

// openComid decodes one CoMID and returns its reference triples.
func openComid(raw cbor.RawMessage) (*comidMap, []referenceTriple, error) {
	content, err := unwrapTag(raw)
	if err != nil {
		return nil, nil, err
	}
	step := "CoMID"
	var m comidMap
	if err := decode(step, content, &m); err != nil {
		return nil, nil, err
	}
	if !usable(m.Identity.ID) {
		return nil, nil, fail(ErrFormat, step, "it has no tag-id of 1 to 256 bytes")
	}
	step = fmt.Sprintf("CoMID %q", m.Identity.ID)
	if len(m.LinkedTags) > 0 {
		return nil, nil, fail(ErrUnsupported, step, "it supplements or replaces other tags")
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Triples)) {
		if kind != 0 {
			what := tripleNames[kind]
			if what == "" {
				what = "unknown"
			}
			return nil, nil, fail(ErrUnsupported, step, fmt.Sprintf("it has triples of kind %d (%s)", kind, what))
		}
	}
	var triples []referenceTriple
	if raw, ok := m.Triples[0]; ok {
		if err := decode(step, raw, &triples); err != nil {
			return nil, nil, err
		}
	}
	if len(triples) == 0 {
		return nil, nil, fail(ErrNoValues, step, "it has no reference triples")
	}
	return &m, triples, nil
}
