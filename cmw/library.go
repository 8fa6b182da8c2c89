package cmw

import (
	"errors"
	"fmt"

	wire "github.com/veraison/cmw"
)

// guard runs calls into the library, which panics on some inputs. A panic or an error means
// that it disagrees with the checks of this package, and becomes ErrLibrary. Every use
// of the library is inside guard.
func guard(call func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = ErrLibrary
		}
	}()
	if call() != nil {
		return ErrLibrary
	}
	return nil
}

// wireLeaf is what the library reads from a record or tag.
type wireLeaf struct {
	mediaType string
	value     []byte
	indicator Indicator
}

// libraryDecode decodes a checked CBOR record or tag.
func libraryDecode(raw []byte) (leaf wireLeaf, err error) {
	err = guard(func() error {
		var c wire.CMW
		if err := c.UnmarshalCBOR(raw); err != nil {
			return err
		}
		mediaType, typeErr := c.GetMonadType()
		value, valueErr := c.GetMonadValue()
		ind, indErr := c.GetMonadIndicator()
		leaf = wireLeaf{mediaType, value, Indicator(ind)}
		return errors.Join(typeErr, valueErr, indErr)
	})
	return leaf, err
}

// MarshalCBOR returns the message in deterministic CBOR (RFC 8949 §4.2.1). A record typed by
// a Content-Format stays so. It fails with ErrTooLarge beyond [MaxSize] bytes.
func (m *Message) MarshalCBOR() ([]byte, error) {
	return m.marshal("CBOR", wire.CMW.MarshalCBOR)
}

// MarshalJSON returns the message in JSON without white space, labels sorted. It fails
// with ErrTooLarge beyond [MaxSize] bytes, and with ErrNotJSON for what RFC 9999 has in CBOR
// only: tags (§3.2), integer labels (§3.3), and a Content-Format (§3.1) whose media type
// is unknown. A Content-Format with a known media type is written as the media type.
func (m *Message) MarshalJSON() ([]byte, error) {
	if m.onlyCBOR() {
		return nil, fmt.Errorf("cmw: encode JSON: %w", ErrNotJSON)
	}
	return m.marshal("JSON", wire.CMW.MarshalJSON)
}

func (m *Message) onlyCBOR() bool {
	switch m.kind {
	case KindTag:
		return true
	case KindRecord:
		return m.mediaType == ""
	}
	for _, it := range m.items {
		if it.Label.integer || it.Message.onlyCBOR() {
			return true
		}
	}
	return false
}

func (m *Message) marshal(format string, encode func(wire.CMW) ([]byte, error)) ([]byte, error) {
	if m.kind == 0 {
		return nil, fmt.Errorf("cmw: encode %s: %w", format, ErrInvalidMessage)
	}
	var out []byte
	err := guard(func() error {
		c, err := m.toWire(format == "JSON")
		if err != nil {
			return err
		}
		out, err = encode(*c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cmw: encode %s: %w", format, err)
	}
	if len(out) > MaxSize {
		return nil, fmt.Errorf("cmw: encode %s: %w", format, ErrTooLarge)
	}
	return out, nil
}

// toWire builds the library's form of the message anew: a message that the library has
// decoded from JSON panics when encoded to CBOR.
func (m *Message) toWire(json bool) (*wire.CMW, error) {
	if m.kind != KindCollection {
		return m.leafToWire(json)
	}
	c, err := wire.NewCollection(m.ctype)
	if err != nil {
		return nil, err
	}
	for _, it := range m.items {
		child, err := it.Message.toWire(json)
		if err != nil {
			return nil, err
		}
		var key any = it.Label.text
		if it.Label.integer {
			key = it.Label.number
		}
		if err := c.AddCollectionItem(key, child); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// leafToWire gives the library numbers where it would look a media type up in its own
// table, which is older than RFC 9999.
func (m *Message) leafToWire(json bool) (*wire.CMW, error) {
	var typ any = m.mediaType
	switch {
	case m.kind == KindTag:
		typ = tagNumber(m.format.number)
	case m.format.present && !json:
		typ = m.format.number
	}
	c, err := wire.NewMonad(typ, m.value, wire.Indicator(m.indicator))
	if err == nil && m.kind == KindTag {
		c.UseCBORTagFormat()
	}
	return c, err
}
