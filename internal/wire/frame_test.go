package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const maxAuth = 300 << 10

// caps are DESIGN's, written down a second time.
var caps = map[Type]int{Hello: 4096, Request: 16384, Authenticator: maxAuth, Result: 256, Alert: 2, Data: 16380}

func head(t Type, n int) []byte { return []byte{byte(t), byte(n >> 16), byte(n >> 8), byte(n)} }

// Golden bytes: type, uint24 length, payload.
func TestFrameGolden(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]struct {
		typ     Type
		payload string
	}{
		"0100000161":     {Hello, "a"},
		"020000026162":   {Request, "ab"},
		"03000000":       {Authenticator, ""},
		"04000003616263": {Result, "abc"},
		"050000020007":   {Alert, "\x00\x07"},
		"0600000178":     {Data, "x"},
	} {
		b, err := Append([]byte("before"), f.typ, []byte(f.payload))
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(b[len("before"):]))
		typ, payload, err := Read(bytes.NewReader(b[len("before"):]), maxAuth)
		require.NoError(t, err)
		require.Equal(t, f.typ, typ)
		require.Equal(t, f.payload, string(payload))
	}
	b, err := Append(nil, Authenticator, make([]byte, 0x012345))
	require.NoError(t, err)
	require.Equal(t, []byte{3, 0x01, 0x23, 0x45}, b[:4])
}

// I-17: both sides of every cap, for reading and writing.
func TestFrameCaps(t *testing.T) {
	t.Parallel()
	for typ, most := range caps {
		for _, n := range []int{0, 1, most - 1, most} {
			body := bytes.Repeat([]byte{0xab}, n)
			got, payload, err := Read(bytes.NewReader(append(head(typ, n), body...)), maxAuth)
			require.NoError(t, err, "%v %d", typ, n)
			require.Equal(t, typ, got)
			require.True(t, bytes.Equal(body, payload))
		}
		for _, n := range []int{most + 1, 1<<24 - 1} {
			in := bytes.NewReader(append(head(typ, n), make([]byte, 64)...))
			_, payload, err := Read(in, maxAuth)
			require.ErrorIs(t, err, ErrTooLarge, "%v %d", typ, n)
			require.Nil(t, payload)
			require.Equal(t, 64, in.Len(), "nothing of the payload is read")
		}
		if typ == Authenticator {
			most = MaxMaxAuthenticator
		}
		_, err := Append(nil, typ, make([]byte, most))
		require.NoError(t, err)
		b, err := Append(nil, typ, make([]byte, most+1))
		require.ErrorIs(t, err, ErrTooLarge)
		require.Nil(t, b)
	}
}

func TestFrameTypes(t *testing.T) {
	t.Parallel()
	names := map[Type]string{Hello: "HELLO", Request: "REQUEST", Authenticator: "AUTHENTICATOR", Result: "RESULT", Alert: "ALERT", Data: "DATA"}
	for i := range 256 {
		typ := Type(i)
		_, _, err := Read(bytes.NewReader(head(typ, 0)), maxAuth)
		_, err2 := Append(nil, typ, nil)
		if name, known := names[typ]; known {
			require.NoError(t, err)
			require.NoError(t, err2)
			require.Equal(t, name, typ.String())
			continue
		}
		require.ErrorIs(t, err, ErrType)
		require.ErrorIs(t, err2, ErrType)
		require.Equal(t, fmt.Sprintf("frame type %d", i), typ.String())
	}
}

// An end before a frame is io.EOF, inside one io.ErrUnexpectedEOF, at every byte.
func TestFrameTruncated(t *testing.T) {
	t.Parallel()
	whole, err := Append(nil, Request, bytes.Repeat([]byte{7}, 40))
	require.NoError(t, err)
	for n := range whole {
		_, payload, err := Read(bytes.NewReader(whole[:n]), maxAuth)
		require.Nil(t, payload)
		if n == 0 {
			require.Equal(t, io.EOF, err)
			continue
		}
		require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
	}
	broken := errors.New("broken")
	_, _, err = Read(io.MultiReader(bytes.NewReader(whole[:9]), iotest.ErrReader(broken)), maxAuth)
	require.Equal(t, broken, err)
}

// Read takes one frame and not a byte more, however the bytes are cut up.
func TestFrameNotAByteMore(t *testing.T) {
	t.Parallel()
	b, err := Append(nil, Hello, []byte("hello"))
	require.NoError(t, err)
	b, err = Append(b, Result, []byte("result"))
	require.NoError(t, err)
	r := iotest.OneByteReader(bytes.NewReader(append(b, "application"...)))
	typ, payload, err := Read(r, maxAuth)
	require.NoError(t, err)
	require.Equal(t, Hello, typ)
	require.Equal(t, "hello", string(payload))
	typ, payload, err = Read(r, maxAuth)
	require.NoError(t, err)
	require.Equal(t, Result, typ)
	require.Equal(t, "result", string(payload))
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "application", string(rest))
}

// watch records the largest buffer that it was asked to fill.
type watch struct {
	r       io.Reader
	largest int
}

func (w *watch) Read(b []byte) (int, error) {
	w.largest = max(w.largest, len(b))
	return w.r.Read(b)
}

// I-17: a header that announces a mebibyte costs a step of memory, not a mebibyte.
func TestFrameMemoryGrowsWithBytes(t *testing.T) {
	w := &watch{r: bytes.NewReader(append(head(Authenticator, MaxMaxAuthenticator), make([]byte, 100)...))}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := Read(w, MaxMaxAuthenticator)
	runtime.ReadMemStats(&after)
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, step, w.largest)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8*step))

	w = &watch{r: bytes.NewReader(append(head(Authenticator, 5*step+3), make([]byte, 5*step+3)...))}
	_, payload, err := Read(w, MaxMaxAuthenticator)
	require.NoError(t, err)
	require.Len(t, payload, 5*step+3)
	require.Equal(t, step, w.largest)
}

func TestAlert(t *testing.T) {
	t.Parallel()
	for _, code := range []uint16{0, 1, 13, 14, 0x0102, 0xffff} {
		b := EncodeAlert(code)
		require.Equal(t, []byte{byte(code >> 8), byte(code)}, b)
		got, err := ParseAlert(b)
		require.NoError(t, err)
		require.Equal(t, code, got)
	}
	for _, b := range [][]byte{nil, {}, {1}, {0, 1, 2}} {
		_, err := ParseAlert(b)
		require.ErrorIs(t, err, ErrMap)
	}
}
