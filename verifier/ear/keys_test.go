package ear

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// member is a JWK as a map, for tests to change.
func member(t testing.TB, k Key) map[string]any {
	data, err := MarshalKeys(k)
	require.NoError(t, err)
	m, err := decodeObject(data)
	require.NoError(t, err)
	return m["keys"].([]any)[0].(map[string]any)
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	good := member(t, Key{ID: "k1", Public: &newKey(t).PublicKey})
	second := member(t, Key{ID: "k2", Public: &newKey(t).PublicKey})
	set := func(keys ...any) string { return encode(t, map[string]any{"keys": keys}) }
	with := func(name string, v any) string {
		m := maps.Clone(good)
		if m[name] = v; v == nil {
			delete(m, name)
		}
		return set(m, second)
	}
	seventeen := make([]any, maxKeys+1)
	for i := range seventeen {
		m := maps.Clone(good)
		m["kid"] = strings.Repeat("k", i+1)
		seventeen[i] = m
	}
	for name, c := range map[string]struct {
		data string
		want string // "": taken
	}{
		"good":              {set(good, second), ""},
		"sixteen":           {set(seventeen[1:]...), ""},
		"without kid":       {with("kid", nil), ""},
		"without use":       {with("use", nil), ""},
		"without alg":       {with("alg", nil), ""},
		"verify":            {with("key_ops", []string{"verify"}), ""},
		"unknown member":    {with("x5t", "x"), ""},
		"seventeen":         {set(seventeen...), "17 keys, want at most 16"},
		"empty":             {`{"keys":[]}`, "0 keys, want 1 to 16"},
		"no keys":           {`{}`, "keys is not an array"},
		"a lone key":        {encode(t, good), "keys is not an array"},
		"keys null":         {`{"keys":null}`, "keys is not an array"},
		"not an object":     {set("x"), "key 0: not an object"},
		"not JSON":          {`{"keys":[`, "not a JSON object"},
		"duplicate member":  {`{"keys":[],` + set(good)[1:], "a member name occurs twice"},
		"too long":          {set(good) + strings.Repeat(" ", maxKeySet), "bytes, want at most 65536"},
		"private":           {with("d", "AAAA"), "key 0: it has private parts"},
		"symmetric":         {with("k", "AAAA"), "key 0: it has private parts"},
		"RSA":               {with("kty", "RSA"), "key 0: kty is not EC"},
		"no kty":            {with("kty", nil), "key 0: kty is not EC"},
		"P-384":             {with("crv", "P-384"), "key 0: crv is not P-256"},
		"for encryption":    {with("use", "enc"), "key 0: use is not sig"},
		"ES384":             {with("alg", "ES384"), "key 0: alg is not ES256"},
		"signs":             {with("key_ops", []string{"sign", "verify"}), `key 0: key_ops is not ["verify"]`},
		"kid a number":      {with("kid", 1), "key 0: kid is not a string"},
		"kid empty":         {with("kid", ""), "key 0: kid is not a string"},
		"kid too long":      {with("kid", strings.Repeat("k", maxKeyID+1)), "key 0: kid is not a string"},
		"kid twice":         {with("kid", "k2"), `two keys have the kid "k2"`},
		"no x":              {with("x", nil), "key 0: x is not 32 bytes"},
		"y short":           {with("y", "AAAA"), "key 0: y is not 32 bytes"},
		"y with a line end": {with("y", good["y"].(string)+"\n"), "key 0: y is not 32 bytes"},
		"not on the curve":  {with("x", good["y"]), "key 0: x and y are not a point"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := ParseKeys([]byte(c.data))
			if c.want == "" {
				require.NoError(t, err)
				require.NotEmpty(t, keys)
				return
			}
			require.ErrorIs(t, err, ErrKeySet)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// RFC 7638 defines the thumbprint over the required members in this order.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	point := make([]byte, 65)
	point[0], point[64] = 4, 1
	require.Equal(t, `{"crv":"P-256","kty":"EC","x":"`+strings.Repeat("A", 43)+`","y":"`+strings.Repeat("A", 42)+`E"}`, encode(t, newJWK(point)))
	// sha256 of that text, by another tool.
	require.Equal(t, "PQu7oLDpen5-YzIEv-ZklWwmrUCs8u1Ykp__3zXmaE4", thumbprint(point))
	p := newParty(t)
	issuer, err := NewIssuer(IssuerOptions{Key: p.key, Name: "n", Developer: "d", Build: "b"})
	require.NoError(t, err)
	encoded, err := p.key.PublicKey.Bytes()
	require.NoError(t, err)
	require.Equal(t, thumbprint(encoded), issuer.o.KeyID)
}

func TestStatic(t *testing.T) {
	t.Parallel()
	k1, k2, unnamed := Key{ID: "1", Public: &newKey(t).PublicKey}, Key{ID: "2", Public: &newKey(t).PublicKey}, Key{Public: &newKey(t).PublicKey}
	s, err := Static(k1, k2, unnamed)
	require.NoError(t, err)
	for kid, want := range map[string][]Key{
		"": {k1, k2, unnamed}, "1": {k1, unnamed}, "2": {k2, unnamed}, "3": {unnamed},
	} {
		got, err := s.Keys(context.Background(), kid)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for name, keys := range map[string][]Key{
		"none": nil, "nil": {{ID: "1"}}, "P-384": {{Public: &p384.PublicKey}}, "twice": {k1, k1},
	} {
		_, err := Static(keys...)
		require.ErrorIs(t, err, ErrKeySet, name)
		_, err = MarshalKeys(keys...)
		require.ErrorIs(t, err, ErrKeySet, name)
	}
}

func TestJWKSFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(data []byte) {
		require.NoError(t, os.WriteFile(path+".new", data, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	_, err := JWKSFile(path)
	require.ErrorIs(t, err, ErrKeySet)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = JWKSFile(filepath.Dir(path))
	require.ErrorIs(t, err, ErrKeySet)

	set := func(id string) []byte {
		data, err := MarshalKeys(Key{ID: id, Public: &newKey(t).PublicKey})
		require.NoError(t, err)
		return data
	}
	write(set("old"))
	s, err := JWKSFile(path)
	require.NoError(t, err)
	has := func(kid string) bool {
		keys, err := s.Keys(context.Background(), kid)
		require.NoError(t, err)
		return len(keys) == 1
	}
	require.True(t, has("old"))
	require.True(t, has("old"))
	write(set("new"))
	require.True(t, has("new"))
	require.False(t, has("old"))

	write([]byte(`{"keys":[]}`))
	_, err = s.Keys(context.Background(), "new")
	require.ErrorIs(t, err, ErrKeySet)
	_, err = s.Keys(context.Background(), "new")
	require.ErrorIs(t, err, ErrKeySet, "also without a change")
	require.NoError(t, os.Remove(path))
	_, err = s.Keys(context.Background(), "new")
	require.ErrorIs(t, err, os.ErrNotExist)
	write(set("new"))
	require.True(t, has("new"))
}
