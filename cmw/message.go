package cmw

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Limits of a message, applied when decoding and when constructing or encoding one.
const (
	// MaxSize is the longest encoded message in bytes. The cmw_attestation extension
	// shares a 65535-byte extension block with its own two-byte type and two two-byte
	// length prefixes (RFC 8446 §4.4.2), which leaves 65529.
	MaxSize = 65529
	// MaxDepth is the number of levels of the tree: a lone record has one, a collection
	// one more than its deepest item. RFC 9999 §3.3 permits a limit; composite devices
	// use two or three.
	MaxDepth = 4
	// MaxLeaves is the number of records and tags in the whole tree: each costs its
	// receiver an appraisal.
	MaxLeaves = 16
)

// Kind tells the three forms of a CMW apart (RFC 9999 §3). The zero Kind is invalid.
type Kind uint8

// The kinds of RFC 9999 §3.1, §3.2 and §3.3.
const (
	KindRecord Kind = iota + 1
	KindTag
	KindCollection
)

func (k Kind) String() string {
	switch k {
	case KindRecord:
		return "record"
	case KindTag:
		return "tag"
	case KindCollection:
		return "collection"
	default:
		return "invalid"
	}
}

// Indicator is the bitmap of conceptual message types in a record (RFC 9999 §3.1, cm-type).
// Zero means that the record has none.
type Indicator uint32

// The registered bits of RFC 9999 §3.1.
const (
	ReferenceValues Indicator = 1 << iota
	Endorsements
	Evidence
	AttestationResults
	AppraisalPolicy
)

// allIndicators is the largest value of the registered bits.
const allIndicators = 31

// The names are kept here because the library calls bit 4 TrustAnchors, as older drafts did.
var indicatorNames = []string{
	"reference-values", "endorsements", "evidence", "attestation-results", "appraisal-policy",
}

// String returns the cm-type names of RFC 9999 §3.1 joined by "|", or "none".
func (i Indicator) String() string {
	if i == 0 {
		return "none"
	}
	var names []string
	for bit, name := range indicatorNames {
		if i&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	if i > allIndicators {
		names = append(names, fmt.Sprintf("%#x", uint32(i&^allIndicators)))
	}
	return strings.Join(names, "|")
}

// A Message is one CMW. It is immutable and safe for concurrent use: accessors return
// copies. The zero Message is invalid; obtain one from [Decode] or a constructor.
type Message struct {
	kind Kind

	// Leaves. mediaType is empty only if the content format is unknown.
	mediaType string
	format    contentFormat
	value     []byte
	indicator Indicator

	// Collections.
	ctype string
	items []Item
}

// An Item is one entry of a collection (RFC 9999 §3.3).
type Item struct {
	Label   Label
	Message *Message
}

// A Leaf is one record or tag together with its place in the tree.
type Leaf struct {
	Path      []Label // labels from the outermost collection inwards; empty for a lone record or tag
	MediaType string  // "" if the leaf has a Content-Format unknown to this package
	Value     []byte
	Indicator Indicator // 0 if absent, always so for a tag
}

// NewRecord returns a record CMW (RFC 9999 §3.1) with a copy of value. The indicator is
// left out if ind is zero. It fails with ErrMediaType, ErrEmptyValue, ErrTooLarge or
// ErrIndicator.
func NewRecord(mediaType string, value []byte, ind Indicator) (*Message, error) {
	if !validMediaType(mediaType) {
		return nil, fmt.Errorf("cmw: new record: %w", ErrMediaType)
	}
	if err := checkValue(value); err != nil {
		return nil, fmt.Errorf("cmw: new record: %w", err)
	}
	if ind > allIndicators {
		return nil, fmt.Errorf("cmw: new record: %w", ErrIndicator)
	}
	return &Message{kind: KindRecord, mediaType: mediaType, value: bytes.Clone(value), indicator: ind}, nil
}

// NewTag returns a tag CMW (RFC 9999 §3.2) with a copy of value. The media type must have
// a Content-Format in the table of this package (see [ContentFormatOf]); one with
// parameters, such as eat_profile, has none. It fails with ErrContentFormat,
// ErrAmbiguousTag, ErrEmptyValue or ErrTooLarge.
func NewTag(mediaType string, value []byte) (*Message, error) {
	cf, ok := ContentFormatOf(mediaType)
	if !ok {
		return nil, fmt.Errorf("cmw: new tag: %w", ErrContentFormat)
	}
	if ambiguous(cf) {
		return nil, fmt.Errorf("cmw: new tag: %w", ErrAmbiguousTag)
	}
	if err := checkValue(value); err != nil {
		return nil, fmt.Errorf("cmw: new tag: %w", err)
	}
	m := &Message{kind: KindTag, value: bytes.Clone(value)}
	m.setFormat(cf)
	return m, nil
}

// NewCollection returns a collection CMW (RFC 9999 §3.3). ctype is its type, an absolute URI
// or an OID, or empty for none. It fails with ErrCollectionType, ErrEmptyCollection,
// ErrLabel, ErrDuplicateLabel, ErrInvalidMessage, ErrTooDeep or ErrTooManyLeaves.
func NewCollection(ctype string, items []Item) (*Message, error) {
	if ctype != "" && !validCollectionType(ctype) {
		return nil, fmt.Errorf("cmw: new collection: %w", ErrCollectionType)
	}
	m := &Message{kind: KindCollection, ctype: ctype, items: slices.Clone(items)}
	if err := checkItems(m.items); err != nil {
		return nil, fmt.Errorf("cmw: new collection: %w", err)
	}
	if depth, leaves := m.extent(); depth > MaxDepth {
		return nil, fmt.Errorf("cmw: new collection: %w", ErrTooDeep)
	} else if leaves > MaxLeaves {
		return nil, fmt.Errorf("cmw: new collection: %w", ErrTooManyLeaves)
	}
	return m, nil
}

func checkItems(items []Item) error {
	if len(items) == 0 {
		return ErrEmptyCollection
	}
	seen := make(map[Label]bool, len(items))
	for _, it := range items {
		switch {
		case !it.Label.valid() || it.Label == collectionTypeLabel:
			return ErrLabel
		case seen[it.Label]:
			return ErrDuplicateLabel
		case it.Message == nil || it.Message.kind == 0:
			return ErrInvalidMessage
		}
		seen[it.Label] = true
	}
	return nil
}

// checkValue bounds a value so that an unsendable message fails where it is made;
// the exact size is checked when encoding.
func checkValue(value []byte) error {
	switch {
	case len(value) == 0:
		return ErrEmptyValue
	case len(value) > MaxSize:
		return ErrTooLarge
	}
	return nil
}

// extent counts levels and leaves. It ends, because messages are immutable and so
// cannot contain themselves.
func (m *Message) extent() (depth, leaves int) {
	if m.kind != KindCollection {
		return 1, 1
	}
	for _, it := range m.items {
		d, l := it.Message.extent()
		depth, leaves = max(depth, d), leaves+l
	}
	return depth + 1, leaves
}

// Kind returns which form the message has.
func (m *Message) Kind() Kind { return m.kind }

// MediaType returns the media type of a record or tag, as it was written or as the
// Content-Format is registered. It is empty for a collection and for a leaf whose
// Content-Format is unknown. Compare with [SameMediaType].
func (m *Message) MediaType() string { return m.mediaType }

// ContentFormat returns the CoAP Content-Format (RFC 7252 §12.3) of a tag or of a CBOR
// record typed by number, and whether the message has one.
func (m *Message) ContentFormat() (uint16, bool) { return m.format.number, m.format.present }

// Value returns a copy of the value of a record or tag, nil for a collection.
func (m *Message) Value() []byte { return bytes.Clone(m.value) }

// Indicator returns the indicator of a record, zero if it has none, is a tag or a collection.
func (m *Message) Indicator() Indicator { return m.indicator }

// CollectionType returns the type of a collection ("__cmwc_t"), empty if it has none or
// the message is a leaf.
func (m *Message) CollectionType() string { return m.ctype }

// Items returns a copy of the entries of a collection in wire order, nil for a leaf. The
// order has no meaning (RFC 9999 §3.3).
func (m *Message) Items() []Item { return slices.Clone(m.items) }

// Leaves returns the records and tags of the message, depth first in wire order: at
// least one and at most [MaxLeaves]. A record or tag is its own only leaf.
func (m *Message) Leaves() []Leaf { return m.appendLeaves(nil, nil) }

func (m *Message) appendLeaves(leaves []Leaf, path []Label) []Leaf {
	if m.kind != KindCollection {
		return append(leaves, Leaf{
			Path:      slices.Clone(path),
			MediaType: m.mediaType,
			Value:     m.Value(),
			Indicator: m.indicator,
		})
	}
	for _, it := range m.items {
		leaves = it.Message.appendLeaves(leaves, append(path, it.Label))
	}
	return leaves
}

// String describes the message without its values, so that Evidence does not reach a log by
// way of fmt.
func (m *Message) String() string {
	switch m.kind {
	case KindRecord, KindTag:
		return fmt.Sprintf("CMW %v %q, %d bytes", m.kind, m.mediaType, len(m.value))
	case KindCollection:
		_, leaves := m.extent()
		return fmt.Sprintf("CMW collection, %d leaves", leaves)
	default:
		return "invalid CMW"
	}
}

// LogValue is String for log/slog, which would otherwise write the message as JSON.
func (m *Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// Equal reports whether two messages say the same: kind, media type as written,
// Content-Format, value and indicator for leaves; type and items in any order for
// collections.
func (m *Message) Equal(other *Message) bool {
	if m == nil || other == nil {
		return m == other
	}
	if m.kind != other.kind || m.mediaType != other.mediaType || m.format != other.format ||
		!bytes.Equal(m.value, other.value) || m.indicator != other.indicator ||
		m.ctype != other.ctype || len(m.items) != len(other.items) {
		return false
	}
	byLabel := make(map[Label]*Message, len(other.items))
	for _, it := range other.items {
		byLabel[it.Label] = it.Message
	}
	for _, it := range m.items {
		if o, ok := byLabel[it.Label]; !ok || !it.Message.Equal(o) {
			return false
		}
	}
	return true
}
