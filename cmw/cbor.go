package cmw

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// strictCBOR is the only CBOR decoder of this package. Its limits bound the check for
// well-formedness that precedes everything else.
var strictCBOR = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxNestedLevels:  MaxDepth,      // a record is an array, a collection a map: CBOR depth is CMW depth
		MaxMapPairs:      MaxLeaves + 1, // every item holds a leaf; one pair more for __cmwc_t
		MaxArrayElements: 16,            // a record has 3; no smaller limit can be set
		IndefLength:      cbor.IndefLengthAllowed,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic("cmw: strict CBOR mode: " + err.Error())
	}
	return mode
}()

// A cborReader checks the outline of a CBOR CMW and collects its leaves. Collections are
// read here and not by the library, which keeps the last of two equal labels, takes any
// CBOR type as a label, loses the order, and panics when asked to list negative labels.
type cborReader struct {
	leaves []pendingLeaf
}

// A pendingLeaf is a record or tag that has been checked and is still to be decoded by the
// library, which sees nothing before all of the message has been checked.
type pendingLeaf struct {
	message *Message
	item    cborItem
}

// A cborItem is one well-formed encoded data item and its position in the message.
type cborItem struct {
	raw    []byte
	offset int
}

func decodeCBOR(b []byte) (*Message, error) {
	if err := checkWellFormed(b); err != nil {
		return nil, err
	}
	var r cborReader
	m, err := r.message(cborItem{raw: b}, 1)
	if err != nil {
		return nil, err
	}
	for _, leaf := range r.leaves {
		if err := leaf.decode(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func checkWellFormed(b []byte) error {
	err := strictCBOR.Wellformed(b)
	var (
		trailing *cbor.ExtraneousDataError
		depth    *cbor.MaxNestedLevelError
		pairs    *cbor.MaxMapPairsError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &trailing):
		return refuse(0, ErrTrailing)
	case errors.As(err, &depth):
		return refuse(0, ErrTooDeep)
	case errors.As(err, &pairs):
		return refuse(0, ErrTooManyLeaves)
	default:
		return refuse(0, ErrSyntax)
	}
}

// message reads one CMW at a level counted from 1.
func (r *cborReader) message(it cborItem, depth int) (*Message, error) {
	if err := checkStart(it.raw[0], it.offset); err != nil {
		return nil, err
	}
	switch {
	case depth > MaxDepth: // a tag, which CBOR does not count as a level
		return nil, refuse(it.offset, ErrTooDeep)
	case cborStart(it.raw[0]) == startCollection:
		return r.collection(it, depth)
	case len(r.leaves) == MaxLeaves:
		return nil, refuse(it.offset, ErrTooManyLeaves)
	}
	m := new(Message)
	outline := m.outlineRecord
	if cborStart(it.raw[0]) == startTag {
		outline = m.outlineTag
	}
	if err := outline(it); err != nil {
		return nil, err
	}
	r.leaves = append(r.leaves, pendingLeaf{m, it})
	return m, nil
}

// collection reads a map whose labels are text or integers (RFC 9999 §3.3).
func (r *cborReader) collection(it cborItem, depth int) (*Message, error) {
	pairs, err := it.children()
	if err != nil {
		return nil, err
	}
	m := &Message{kind: KindCollection}
	seen := make(map[Label]bool, len(pairs)/2)
	for ; len(pairs) > 0; pairs = pairs[2:] {
		label, err := pairs[0].label()
		switch {
		case err != nil:
			return nil, err
		case seen[label]:
			return nil, refuse(pairs[0].offset, ErrDuplicateLabel)
		}
		seen[label] = true
		if label == collectionTypeLabel {
			if m.ctype, err = pairs[1].collectionType(); err != nil {
				return nil, err
			}
			continue
		}
		child, err := r.message(pairs[1], depth+1)
		if err != nil {
			return nil, err
		}
		m.items = append(m.items, Item{label, child})
	}
	if len(m.items) == 0 {
		return nil, refuse(it.offset, ErrEmptyCollection)
	}
	return m, nil
}

// outlineRecord checks the element types of a record (RFC 9999 §3.1), because the library
// also takes tagged values, null, and arrays of small integers for byte strings.
func (m *Message) outlineRecord(it cborItem) error {
	fields, err := it.children()
	if err != nil {
		return err
	}
	if len(fields) != 2 && len(fields) != 3 {
		return refuse(it.offset, ErrSyntax)
	}
	m.kind = KindRecord
	switch h := readHead(fields[0].raw); {
	case h.is(majorUint) && h.arg <= math.MaxUint16:
		m.setFormat(uint16(h.arg))
	case !h.is(majorText) || !validMediaType(string(fields[0].raw[h.size:])):
		return refuse(fields[0].offset, ErrMediaType)
	}
	if err := fields[1].checkValue(); err != nil {
		return err
	}
	if len(fields) == 3 {
		h := readHead(fields[2].raw)
		if !h.is(majorUint) || h.arg == 0 || h.arg > allIndicators {
			return refuse(fields[2].offset, ErrIndicator)
		}
	}
	return nil
}

// outlineTag checks a tag CMW (RFC 9999 §3.2).
func (m *Message) outlineTag(it cborItem) error {
	h := readHead(it.raw)
	cf, ok := tagFormat(h.arg)
	switch {
	case !ok:
		return refuse(it.offset, ErrTag)
	case ambiguous(cf):
		return refuse(it.offset, ErrAmbiguousTag)
	}
	m.kind = KindTag
	m.setFormat(cf)
	return cborItem{it.raw[h.size:], it.offset + h.size}.checkValue()
}

func (it cborItem) checkValue() error {
	switch h := readHead(it.raw); {
	case !h.is(majorBytes):
		return refuse(it.offset, ErrValue)
	case h.arg == 0:
		return refuse(it.offset, ErrEmptyValue)
	}
	return nil
}

// decode lets the library take the fields out of the checked bytes. What it makes of a
// Content-Format is not used: its table is older than RFC 9999.
func (p pendingLeaf) decode() error {
	leaf, err := libraryDecode(p.item.raw)
	if err != nil {
		return refuse(p.item.offset, err)
	}
	if !p.message.format.present {
		p.message.mediaType = leaf.mediaType
	}
	p.message.value, p.message.indicator = leaf.value, leaf.indicator
	return nil
}

// label reads a map key. Any spelling of a number or text gives the same Label, so
// comparing Labels finds every duplicate.
func (it cborItem) label() (Label, error) {
	var l Label
	var err error
	switch h := readHead(it.raw); {
	case h.is(majorText):
		err = strictCBOR.Unmarshal(it.raw, &l.text)
	case h.is(majorUint), h.is(majorNegative):
		l.integer = true
		err = strictCBOR.Unmarshal(it.raw, &l.number)
	}
	if err != nil || !l.valid() {
		return Label{}, refuse(it.offset, ErrLabel)
	}
	return l, nil
}

func (it cborItem) collectionType() (string, error) {
	var s string
	if !readHead(it.raw).is(majorText) || strictCBOR.Unmarshal(it.raw, &s) != nil || !validCollectionType(s) {
		return "", refuse(it.offset, ErrCollectionType)
	}
	return s, nil
}

// children splits an array or map into its items, a map as key, value, key, value: the
// CBOR library has no reader that keeps the order of a map.
func (it cborItem) children() ([]cborItem, error) {
	h := readHead(it.raw)
	rest, left := it.raw[h.size:], h.arg
	if h.major == majorMap {
		left *= 2
	}
	var items []cborItem
	for {
		if h.indefinite && rest[0] == breakCode || !h.indefinite && left == 0 {
			return items, nil
		}
		var raw cbor.RawMessage
		next, err := strictCBOR.UnmarshalFirst(rest, &raw)
		if err != nil {
			return nil, refuse(it.offset, ErrSyntax)
		}
		items = append(items, cborItem{raw, it.offset + len(it.raw) - len(rest)})
		rest, left = next, left-1
	}
}

// Major types and the break code of RFC 8949 §3.1 and §3.2.1.
const (
	majorUint     = 0
	majorNegative = 1
	majorBytes    = 2
	majorText     = 3
	majorMap      = 5
	breakCode     = 0xff
)

// A head is the first bytes of a data item (RFC 8949 §3).
type head struct {
	major      byte
	arg        uint64
	indefinite bool
	size       int // of the head, in bytes
}

// is reports whether the item is a number or a definite-length string of a major type.
func (h head) is(major byte) bool { return h.major == major && !h.indefinite }

// readHead reads the head of an item known to be well-formed.
func readHead(raw []byte) head {
	h := head{major: raw[0] >> 5, size: 1}
	switch info := raw[0] & 0x1f; info {
	case 24:
		h.arg, h.size = uint64(raw[1]), 2
	case 25:
		h.arg, h.size = uint64(binary.BigEndian.Uint16(raw[1:])), 3
	case 26:
		h.arg, h.size = uint64(binary.BigEndian.Uint32(raw[1:])), 5
	case 27:
		h.arg, h.size = binary.BigEndian.Uint64(raw[1:]), 9
	case 31:
		h.indefinite = true
	default:
		h.arg = uint64(info)
	}
	return h
}
