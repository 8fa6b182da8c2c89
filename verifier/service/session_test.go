package service

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// serve posts Evidence from a reader, of unknown length.
func serve(w *world, where string, body io.Reader) int {
	r := httptest.NewRequest(http.MethodPost, where, body)
	r.Header.Set("Content-Type", toyType)
	r.ContentLength = -1
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out.Code
}

// raw builds a token by hand.
func raw(version byte, expiry uint64, n byte, rest ...[]byte) string {
	b := binary.BigEndian.AppendUint64([]byte{version}, expiry)
	b = append(b, n)
	return encode(append(b, bytes.Join(rest, nil)...))
}

func TestToken(t *testing.T) {
	t.Parallel()
	b := newBinding(t, 48)
	now := time.Unix(1_800_000_000, 0)
	s, err := newSession(b.Binder(), b.SPKI(), now.Add(time.Minute))
	require.NoError(t, err)
	expiry := uint64(s.expiry.Unix())
	got, err := parseToken(s.token(), now)
	require.NoError(t, err)
	require.Equal(t, s, got)
	require.Equal(t, s.token(), raw(1, expiry, 48, b.Binder(), b.SPKI()))
	for name, tc := range map[string]struct {
		token string
		want  error
	}{
		"empty":        {"", errToken},
		"too long":     {string(bytes.Repeat([]byte("A"), maxToken+1)), errToken},
		"padded":       {base64.URLEncoding.EncodeToString([]byte("0123")), errToken},
		"line end":     {s.token()[:8] + "\n" + s.token()[8:], errToken},
		"version":      {raw(2, expiry, 48, b.Binder(), b.SPKI()), errToken},
		"short binder": {raw(1, expiry, 47, b.Binder()[:47], b.SPKI()), errToken},
		"binder ends":  {raw(1, expiry, 48, b.Binder()[:40]), errToken},
		"no key":       {raw(1, expiry, 48, b.Binder()), errToken},
		"key and more": {raw(1, expiry, 48, b.Binder(), b.SPKI(), []byte{0}), errToken},
		"year 10000":   {raw(1, maxExpiry+1, 48, b.Binder(), b.SPKI()), errToken},
		"year 9999":    {raw(1, maxExpiry, 48, b.Binder(), b.SPKI()), nil},
		"run out":      {raw(1, uint64(now.Unix()), 48, b.Binder(), b.SPKI()), errExpired},
		"head alone":   {raw(1, expiry, 0), errToken},
		"less":         {encode([]byte{1, 0, 0}), errToken},
	} {
		_, err := parseToken(tc.token, now)
		require.ErrorIs(t, err, tc.want, name)
	}
}

// What is taken for a session is one in one form only.
func FuzzToken(f *testing.F) {
	b := newBinding(f, 32)
	s, err := newSession(b.Binder(), b.SPKI(), time.Unix(1_800_000_000, 0))
	require.NoError(f, err)
	seeds := []string{s.token(), raw(1, 0, 32, b.Binder(), b.SPKI()), raw(1, 1, 255), "", "AQ"}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseToken(text, time.Unix(0, 0))
		if err != nil {
			require.Nil(t, s)
			return
		}
		require.Equal(t, text, s.token())
		require.True(t, s.binding.MatchBinder(s.binder))
		require.True(t, s.binding.MatchKey(s.spki))
	})
}

// What is taken for a query becomes the session that it asks for.
func FuzzQuery(f *testing.F) {
	b := newBinding(f, 32)
	seeds := []string{
		query(b)[len("/challenge-response/v1/newSession?"):],
		"nonce=" + encode(b.Binder()), "nonce=a&key=b", "nonce=%0a&key=%", "nonceSize=32", "",
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		now := time.Unix(1_800_000_000, 5)
		s, err := parseQuery(text, now)
		if err != nil {
			require.ErrorIs(t, err, errQuery)
			return
		}
		again, err := parseToken(s.token(), time.Unix(0, 0))
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}
