package cmw

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	wire "github.com/veraison/cmw"
)

// The library panics when a message decoded from JSON is encoded to CBOR, and when asked to
// list a collection with a negative label. Such a panic, and any error, becomes ErrLibrary.
func TestGuard(t *testing.T) {
	t.Parallel()
	var fromJSON, negative wire.CMW
	require.NoError(t, fromJSON.UnmarshalJSON([]byte(`["a/b","YQ"]`)))
	require.NoError(t, negative.UnmarshalCBOR([]byte("\xa2\x20\x82\x19\x01\x07\x41\x01\x61a\x82\x19\x01\x07\x41\xff")))
	for name, call := range map[string]func() error{
		"encode JSON message to CBOR": func() error { _, err := fromJSON.MarshalCBOR(); return err },
		"list negative label":         func() error { _, err := negative.GetCollectionMeta(); return err },
		"decode JSON digit":           func() error { return new(wire.CMW).UnmarshalJSON([]byte(`["a/b",5]`)) },
		"nil dereference":             func() error { _, err := (*wire.CMW)(nil).GetCollectionMeta(); return err },
	} {
		require.Panics(t, func() { _ = call() }, name)
		require.Equal(t, ErrLibrary, guard(call), name)
	}
	require.Equal(t, ErrLibrary, guard(func() error { return errors.New("cause") }))
	require.NoError(t, guard(func() error { return nil }))
}

// A library that refuses what was checked is reported, not believed.
func TestLibraryDisagrees(t *testing.T) {
	t.Parallel()
	_, err := libraryDecode([]byte{0x82, 0x00})
	require.Equal(t, ErrLibrary, err)
	err = pendingLeaf{new(Message), cborItem{[]byte{0x82}, 7}}.decode()
	require.Equal(t, &DecodeError{Offset: 7, Err: ErrLibrary}, err)

	leaf := &Message{kind: KindRecord, mediaType: "not a media type", value: []byte{1}}
	for name, m := range map[string]*Message{
		"leaf":  leaf,
		"child": {kind: KindCollection, items: []Item{{TextLabel("a"), leaf}}},
		"label": {kind: KindCollection, items: []Item{{Label{}, &Message{kind: KindRecord, mediaType: "a/b", value: []byte{1}}}}},
		"type":  {kind: KindCollection, ctype: "relative"},
	} {
		_, err = m.MarshalCBOR()
		require.ErrorIs(t, err, ErrLibrary, name)
		_, err = m.MarshalJSON()
		require.ErrorIs(t, err, ErrLibrary, name)
	}
}

// TN() and its inverse agree with the library's over all content formats (RFC 9277
// Appendix B); the numbers that are the image of none are refused.
func TestTagNumbers(t *testing.T) {
	t.Parallel()
	images := make(map[uint64]bool)
	for cf := range uint16(65025) {
		want, err := wire.TN(cf)
		require.NoError(t, err)
		require.Equal(t, want, tagNumber(cf))
		back, ok := tagFormat(want)
		require.True(t, ok)
		require.Equal(t, cf, back)
		images[want] = true
	}
	for tag := uint64(firstTag - 1); tag <= lastTag+1; tag++ {
		if _, ok := tagFormat(tag); ok != images[tag] {
			t.Fatalf("tag %d: valid is %v", tag, ok)
		}
	}
	require.Len(t, images, 65025)
}

func TestAllIndicators(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, AppraisalPolicy<<1-1, allIndicators)
	require.Len(t, indicatorNames, 5)
}
