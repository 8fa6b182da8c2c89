package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/testdata/vectors"
)

// requireTyped checks that an error is one that callers tell apart.
func requireTyped(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{ErrType, ErrTooLarge, ErrMap, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Fatalf("untyped error: %v", err)
}

// published are the frames of the interop vectors.
func published(f *testing.F) [][]byte {
	f.Helper()
	frames, err := vectors.Seeds("frames", "frame")
	require.NoError(f, err)
	return frames
}

// payloads are those of published frames of one type.
func payloads(f *testing.F, typ Type) (out [][]byte) {
	f.Helper()
	for _, b := range published(f) {
		if len(b) > HeaderSize && Type(b[0]) == typ {
			out = append(out, b[HeaderSize:])
		}
	}
	require.NotEmpty(f, out, "no seeds")
	return out
}

// Property: what is read encodes to the bytes it was read from.
func FuzzRead(f *testing.F) {
	seeds := 0
	for typ, most := range caps {
		for _, n := range []int{0, 1, 2, min(most, 300)} {
			b, err := Append(nil, typ, make([]byte, n))
			if err != nil {
				continue // ALERT holds two bytes
			}
			f.Add(b)
			f.Add(append(b, b...))
			f.Add(b[:len(b)-1])
			seeds++
		}
		f.Add(head(typ, most+1))
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	for _, b := range published(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		typ, payload, err := Read(r, 1000)
		if err != nil {
			require.Nil(t, payload)
			requireTyped(t, err)
			return
		}
		require.LessOrEqual(t, len(payload), caps[typ])
		out, err := Append(nil, typ, payload)
		require.NoError(t, err)
		require.Equal(t, in[:len(in)-r.Len()], out)
	})
}

// Property: what is accepted encodes, and parses to the same value.
func FuzzHello(f *testing.F) {
	seeds := []HelloMap{goldenHello, {}, {CanAttest: true}, {Mux: true, MaxAuthenticator: 5}, {WillRequest: true, MediaTypes: []string{"a"}}}
	for _, h := range seeds {
		b, err := h.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, 0))
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	f.Add(unhex(f, "a4 0001 01f4 02f4 0700"))
	f.Add(unhex(f, "a4 0001 180001 01f4 02f4"))
	for _, b := range payloads(f, Hello) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ParseHello(in)
		if err != nil {
			require.Zero(t, h)
			requireTyped(t, err)
			return
		}
		require.LessOrEqual(t, len(h.MediaTypes), maxMediaTypes)
		require.Equal(t, h.WillRequest, len(h.MediaTypes) > 0)
		require.True(t, h.MaxAuthenticator >= 0 && h.MaxAuthenticator <= MaxMaxAuthenticator)
		out, err := h.Encode()
		if errors.Is(err, ErrTooLarge) {
			return // the keys that we always send did not fit beside long types
		}
		require.NoError(t, err)
		again, err := ParseHello(out)
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}

// Property: as for HELLO, and no lifetime is negative.
func FuzzResult(f *testing.F) {
	seeds := []ResultMap{{}, {Code: 7}, {Lifetime: time.Hour}, {Code: 65535, Lifetime: time.Second}}
	for _, r := range seeds {
		b, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, 0))
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	f.Add(unhex(f, "a20000011bffffffffffffffff"))
	for _, b := range payloads(f, Result) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ParseResult(in)
		if err != nil {
			require.Zero(t, r)
			requireTyped(t, err)
			return
		}
		require.GreaterOrEqual(t, r.Lifetime, time.Duration(0))
		out, err := r.Encode()
		require.NoError(t, err)
		again, err := ParseResult(out)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
