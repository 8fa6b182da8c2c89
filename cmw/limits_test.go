package cmw_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/expat-go/expat/cmw"
	"github.com/stretchr/testify/require"
)

const jsonRecord = `["a/b","YQ"]`

// nest wraps a leaf into collections until the tree has depth levels.
func nest(depth int, open, leaf, end string) string {
	return strings.Repeat(open, depth-1) + leaf + strings.Repeat(end, depth-1)
}

// G-8: four levels pass, five do not.
func TestDepthLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, open, leaf, end string }{
		{"JSON", `{"a":`, jsonRecord, `}`},
		{"CBOR record", "a101", recAB, ""},
		{"CBOR record, indefinite", "bf01", "9f" + mtAB + valA + "ff", "ff"},
	} {
		m, err := cmw.Decode(wireBytes(nest(cmw.MaxDepth, c.open, c.leaf, c.end)))
		require.NoError(t, err, c.name)
		require.Len(t, m.Leaves(), 1, c.name)
		require.Len(t, m.Leaves()[0].Path, cmw.MaxDepth-1, c.name)

		_, err = cmw.Decode(wireBytes(nest(cmw.MaxDepth+1, c.open, c.leaf, c.end)))
		require.ErrorIs(t, err, cmw.ErrTooDeep, c.name)
	}
}

// A tag is not a level of CBOR nesting of its own, so its depth is the tree's to check.
func TestDepthLimitOfTags(t *testing.T) {
	t.Parallel()
	const tag = "da63740209" + valA
	_, err := cmw.Decode(unhex(nest(cmw.MaxDepth, "a101", tag, "")))
	require.NoError(t, err)
	_, err = cmw.Decode(unhex(nest(cmw.MaxDepth+1, "a101", tag, "")))
	require.ErrorIs(t, err, cmw.ErrTooDeep)
}

// jsonItems and cborItems are n labelled records of a collection.
func jsonItems(prefix string, n int) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`"%s%d":%s`, prefix, i, jsonRecord))
	}
	return strings.Join(items, ",")
}

func cborItems(n int) string {
	var items strings.Builder
	for i := range n {
		fmt.Fprintf(&items, "18%02x%s", i, recAB)
	}
	return items.String()
}

func TestLeafLimit(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]func(n int) string{
		"JSON":             func(n int) string { return `{` + jsonItems("a", n) + `}` },
		"JSON, two levels": func(n int) string { return `{` + jsonItems("a", n-2) + `,"b":{` + jsonItems("a", 2) + `}}` },
		"JSON, typed":      func(n int) string { return `{"__cmwc_t":"a:b",` + jsonItems("a", n) + `}` },
		"CBOR":             func(n int) string { return fmt.Sprintf("b8%02x", n) + cborItems(n) },
		"CBOR, typed":      func(n int) string { return fmt.Sprintf("b8%02x", n+1) + cmwct + "63613a62" + cborItems(n) },
		"CBOR, indefinite": func(n int) string { return "bf" + cborItems(n) + "ff" },
		"CBOR, two levels": func(n int) string {
			return "a2" + "01a2" + cborItems(2) + "02" + fmt.Sprintf("b8%02x", n-2) + cborItems(n-2)
		},
		"CBOR, far too many": func(n int) string { return fmt.Sprintf("b8%02x", n+n%2*100) + cborItems(n+n%2*100) },
	} {
		m, err := cmw.Decode(wireBytes(wire(cmw.MaxLeaves)))
		require.NoError(t, err, name)
		require.Len(t, m.Leaves(), cmw.MaxLeaves, name)
		_, err = cmw.Decode(wireBytes(wire(cmw.MaxLeaves + 1)))
		require.ErrorIs(t, err, cmw.ErrTooManyLeaves, name)
	}
}

// B-3, AMBIGUITIES 27: a message of MaxSize bytes passes in both directions, one more byte
// in neither.
func TestSizeLimit(t *testing.T) {
	t.Parallel()
	const overhead = 1 + 4 + 3 // array, "a/b", head of the byte string
	value := bytes.Repeat([]byte{1}, cmw.MaxSize-overhead)
	m, err := cmw.NewRecord("a/b", value, 0)
	require.NoError(t, err)
	wire, err := m.MarshalCBOR()
	require.NoError(t, err)
	require.Len(t, wire, cmw.MaxSize)
	back, err := cmw.Decode(wire)
	require.NoError(t, err)
	require.True(t, m.Equal(back))

	// JSON needs four bytes for three.
	_, err = m.MarshalJSON()
	require.ErrorIs(t, err, cmw.ErrTooLarge)

	m, err = cmw.NewRecord("a/b", append(value, 1), 0)
	require.NoError(t, err)
	_, err = m.MarshalCBOR()
	require.ErrorIs(t, err, cmw.ErrTooLarge)
	require.ErrorContains(t, err, "65529 bytes: send an Attestation Result (passport)")

	_, err = cmw.Decode(append(wire, 1))
	require.ErrorIs(t, err, cmw.ErrTooLarge)
	_, err = cmw.Decode(wire[:len(wire)-1])
	require.ErrorIs(t, err, cmw.ErrSyntax)
}

// Messages that would cost time or memory if they were parsed before they were measured
// are refused after a few allocations.
func TestRefusalIsCheap(t *testing.T) {
	fill := func(open string) []byte {
		return bytes.Repeat(unhex(open), cmw.MaxSize/(len(open)/2))
	}
	for _, c := range []struct {
		name string
		wire []byte
		want error
	}{
		{"JSON objects", bytes.Repeat([]byte(`{"a":`), cmw.MaxSize/5), cmw.ErrTooDeep},
		{"JSON arrays", bytes.Repeat([]byte(`[`), cmw.MaxSize), cmw.ErrMediaType},
		{"JSON records", []byte("{" + jsonItems("", 3200) + "}"), cmw.ErrTooManyLeaves},
		{"CBOR maps", fill("a101"), cmw.ErrTooDeep},
		{"CBOR indefinite maps", fill("bf01"), cmw.ErrTooDeep},
		{"CBOR records", fill("82"), cmw.ErrTooDeep},
		{"CBOR tags", fill("da63740209"), cmw.ErrTooDeep},
		{"CBOR map of 2^64-1 pairs", append(unhex("bbffffffffffffffff"), fill("01")[:60000]...), cmw.ErrSyntax},
		{"CBOR map of 2^40 pairs", append(unhex("bb0000010000000000"), fill("01")[:60000]...), cmw.ErrTooManyLeaves},
		{"CBOR value of 2^62 bytes", append(unhex("82"+mtAB+"5b4000000000000000"), fill("01")[:60000]...), cmw.ErrSyntax},
		{"too large", bytes.Repeat([]byte(`[`), cmw.MaxSize+1), cmw.ErrTooLarge},
	} {
		require.LessOrEqual(t, len(c.wire), cmw.MaxSize+1, c.name)
		_, err := cmw.Decode(c.wire)
		require.ErrorIs(t, err, c.want, c.name)
		allocs := testing.AllocsPerRun(5, func() { _, _ = cmw.Decode(c.wire) })
		require.LessOrEqual(t, allocs, 500.0, c.name) // MaxLeaves records are read, at most
		t.Logf("%s: %.0f allocations", c.name, allocs)
	}
}
