package cmw_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/expat-go/expat/cmw"
	published "github.com/expat-go/expat/testdata/vectors"
	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// reasons are all the errors that Decode may give; ErrLibrary is not among them.
var reasons = []error{
	cmw.ErrEmpty, cmw.ErrTooLarge, cmw.ErrTooDeep, cmw.ErrTooManyLeaves, cmw.ErrTrailing, cmw.ErrSyntax,
	cmw.ErrSigned, cmw.ErrTag, cmw.ErrAmbiguousTag, cmw.ErrMediaType, cmw.ErrValue, cmw.ErrEmptyValue,
	cmw.ErrIndicator, cmw.ErrLabel, cmw.ErrDuplicateLabel, cmw.ErrCollectionType, cmw.ErrEmptyCollection,
}

func FuzzDecode(f *testing.F) {
	if len(vectors) == 0 {
		f.Fatal("no seeds")
	}
	for _, v := range vectors {
		f.Add(wireBytes(v.wire))
	}
	for _, s := range []string{
		"bf" + cborItems(2) + "ff", "da63740209" + valA, "a1" + cmwct + "65613a622f63", "83" + mtAB + valA + "00",
		`{"__cmwc_t":"1.2","a":{"b":["a/b; x=\"y\"","YQ",31]}}`, "d28443a10126a0416140", `{"payload":"YQ"}`,
	} {
		f.Add(wireBytes(s))
	}
	messages, err := published.Seeds("cmw", "message")
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range messages {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := cmw.Decode(b)
		if err != nil {
			checkRefused(t, m, err, len(b))
			return
		}
		checkAccepted(t, m, b)
	})
}

func checkRefused(t *testing.T, m *cmw.Message, err error, size int) {
	var refused *cmw.DecodeError
	if m != nil || !errors.As(err, &refused) || refused.Offset < 0 || refused.Offset > size {
		t.Fatalf("message %v with error %v", m, err)
	}
	if !slices.Contains(reasons, refused.Err) {
		t.Fatalf("unexpected reason %v", err)
	}
}

func checkAccepted(t *testing.T, m *cmw.Message, b []byte) {
	if isJSON(b) != json.Valid(b) || isJSON(b) == (cbor.Wellformed(b) == nil) {
		t.Fatal("accepted what a plain parser refuses")
	}
	leaves := m.Leaves()
	if len(b) > cmw.MaxSize || len(leaves) == 0 || len(leaves) > cmw.MaxLeaves {
		t.Fatalf("%d bytes, %d leaves", len(b), len(leaves))
	}
	for _, leaf := range leaves {
		if len(leaf.Path) >= cmw.MaxDepth || len(leaf.Value) == 0 || leaf.Indicator > 31 ||
			leaf.MediaType != "" && !cmw.SameMediaType(leaf.MediaType, leaf.MediaType) {
			t.Fatalf("bad leaf %v", leaf)
		}
	}
	first, err := encodeLike(m, b)
	if isJSON(b) && errors.Is(err, cmw.ErrTooLarge) && len(b) > cmw.MaxSize/6 {
		return // one byte of a label may need an escape of six
	}
	require.NoError(t, err)
	if !isJSON(b) && len(first) > len(b) {
		t.Fatal("deterministic CBOR is longer than what was received")
	}
	back, err := cmw.Decode(first)
	require.NoError(t, err)
	require.True(t, m.Equal(back))
	second, err := encodeLike(back, b)
	require.NoError(t, err)
	require.Equal(t, first, second)
}
