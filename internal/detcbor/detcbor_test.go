package detcbor

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// sample has each kind of item that our formats have.
type sample struct {
	Number uint     `cbor:"1,keyasint"`
	Bytes  []byte   `cbor:"2,keyasint"`
	List   [][]byte `cbor:"3,keyasint,omitempty"`
	Inner  *inner   `cbor:"4,keyasint,omitempty"`
}

type inner struct {
	Text string `cbor:"1,keyasint"`
}

// touchy is a type that encodes and decodes itself.
type touchy struct{ fault string }

func (touchy) MarshalCBOR() ([]byte, error) { return nil, errors.New("no, said touchy") }

func (v *touchy) UnmarshalCBOR([]byte) error {
	if v.fault != "" {
		panic(v.fault)
	}
	return nil
}

var good = []byte{0xa3, 1, 5, 2, 0x42, 7, 8, 4, 0xa1, 1, 0x61, 'x'}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := sample{Number: 5, Bytes: []byte{7, 8}, Inner: &inner{"x"}}
	b, err := Encode(&want)
	require.NoError(t, err)
	require.Equal(t, good, b)
	var got sample
	require.NoError(t, NewDecoder(MinElements).Decode(b, &got))
	require.Equal(t, want, got)

	b, err = Encode(&sample{}) // nil is empty, never null
	require.NoError(t, err)
	require.Equal(t, []byte{0xa2, 1, 0, 2, 0x40}, b)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	d := NewDecoder(MinElements)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":           {nil, ErrStructure},
		"cut short":         {good[:len(good)-1], ErrStructure},
		"bytes after it":    {append(slices.Clone(good), 0), ErrStructure},
		"another type":      {[]byte{0x80}, ErrStructure},
		"indefinite map":    {[]byte{0xbf, 1, 5, 2, 0x41, 7, 0xff}, ErrStructure},
		"indefinite bytes":  {[]byte{0xa2, 1, 5, 2, 0x5f, 0x41, 7, 0xff}, ErrStructure},
		"tag":               {[]byte{0xa2, 1, 0xc1, 5, 2, 0x41, 7}, ErrStructure},
		"too deep":          {[]byte{0xa3, 1, 5, 2, 0x41, 7, 3, 0x81, 0x81, 0x81, 0x81, 0x40}, ErrStructure},
		"text not UTF-8":    {[]byte{0xa3, 1, 5, 2, 0x41, 7, 4, 0xa1, 1, 0x61, 0xff}, ErrStructure},
		"key twice":         {[]byte{0xa3, 1, 5, 1, 5, 2, 0x41, 7}, ErrDuplicate},
		"unknown key":       {[]byte{0xa3, 1, 5, 2, 0x41, 7, 9, 0}, ErrUnknown},
		"unknown key below": {[]byte{0xa3, 1, 5, 2, 0x41, 7, 4, 0xa2, 1, 0x61, 'x', 2, 0}, ErrUnknown},
		"key of text":       {[]byte{0xa3, 1, 5, 2, 0x41, 7, 0x61, 'x', 0}, ErrUnknown},
		"long number":       {[]byte{0xa2, 1, 0x18, 5, 2, 0x41, 7}, ErrSpelling},
		"long head":         {[]byte{0xb8, 2, 1, 5, 2, 0x41, 7}, ErrSpelling},
		"another order":     {[]byte{0xa2, 2, 0x41, 7, 1, 5}, ErrSpelling},
		"null for bytes":    {[]byte{0xa2, 1, 5, 2, 0xf6}, ErrSpelling},
		"null for absent":   {[]byte{0xa3, 1, 5, 2, 0x41, 7, 3, 0xf6}, ErrSpelling},
		"empty for absent":  {[]byte{0xa3, 1, 5, 2, 0x41, 7, 3, 0x80}, ErrSpelling},
		"numbers for bytes": {[]byte{0xa2, 1, 5, 2, 0x81, 7}, ErrSpelling},
		"missing":           {[]byte{0xa1, 1, 5}, ErrSpelling},
	} {
		require.Equal(t, c.want, d.Decode(c.data, new(sample)), name)
	}
	for n := range good {
		require.Error(t, d.Decode(good[:n], new(sample)), n)
	}
}

// The bounds, on both sides.
func TestBounds(t *testing.T) {
	t.Parallel()
	list := func(n int) []byte {
		b, err := Encode(&sample{Bytes: []byte{7}, List: slices.Repeat([][]byte{{1}}, n)})
		require.NoError(t, err)
		return b
	}
	for _, limit := range []int{MinElements, 24, MaxElements} {
		d := NewDecoder(limit)
		require.NoError(t, d.Decode(list(limit), new(sample)))
		require.Equal(t, ErrStructure, d.Decode(list(limit+1), new(sample)))
	}
	for _, limit := range []int{-1, 0, MinElements - 1, MaxElements + 1} {
		require.Panics(t, func() { NewDecoder(limit) }, limit)
	}
	d := NewDecoder(MinElements)
	pairs := func(n int) []byte {
		m := map[int]int{}
		for i := range n {
			m[i] = 0
		}
		b, err := Encode(m)
		require.NoError(t, err)
		return b
	}
	var m map[int]int
	require.NoError(t, d.Decode(pairs(MaxPairs), &m))
	require.Equal(t, ErrStructure, d.Decode(pairs(MaxPairs+1), &m))
	var deep any
	require.NoError(t, d.Decode([]byte{0x81, 0x81, 0x81, 0x81, 0}, &deep))
	require.Equal(t, ErrStructure, d.Decode([]byte{0x81, 0x81, 0x81, 0x81, 0x81, 0}, &deep))
}

// Types that decode themselves can refuse and panic; their text goes no further.
func TestTypes(t *testing.T) {
	t.Parallel()
	d := NewDecoder(MinElements)
	require.Equal(t, ErrValue, d.Decode([]byte{0}, new(touchy)))
	require.Equal(t, ErrPanic, d.Decode([]byte{0}, &touchy{"the Evidence"}))
	_, err := Encode(touchy{})
	require.ErrorContains(t, err, "no, said touchy")
	require.Panics(t, func() { must(0, errors.New("an option")) })
}

// What is decoded is the one encoding of its value, and any other parser of CBOR
// agrees that it is well formed.
func FuzzDecode(f *testing.F) {
	seeds := [][]byte{good, {0xa2, 1, 0, 2, 0x40}, {0xa2, 1, 5, 2, 0xf6}, {0xbf, 0xff}, {0xa3, 1, 5, 1, 5, 2, 0x40}}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	d := NewDecoder(MinElements)
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		if err := d.Decode(data, &v); err != nil {
			known := []error{ErrStructure, ErrDuplicate, ErrUnknown, ErrSpelling}
			require.Contains(t, known, err)
			return
		}
		again, err := Encode(&v)
		require.NoError(t, err)
		require.True(t, bytes.Equal(again, data))
		require.NoError(t, cbor.Wellformed(data))
	})
}
