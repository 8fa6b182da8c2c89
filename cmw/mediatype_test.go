package cmw_test

import (
	"strings"
	"testing"

	"github.com/expat-go/expat/cmw"
	"github.com/stretchr/testify/require"
)

func TestMediaTypeSyntax(t *testing.T) {
	t.Parallel()
	for mediaType, valid := range map[string]bool{
		"application/eat+cwt": true,
		`application/eat+cwt; eat_profile="https://github.com/expat-go/expat/profiles/simulated"`: true,
		`application/eat+cwt;eat_profile=2.16.840.1.113741.1.16.1`:                                true,
		`application/eat+cwt  ;  eat_profile="tag:psacertified.org,2023:psa#tfm"`:                 true,
		"application/vnd.expat-go.tpm2+cbor":                                                      true,
		`a/b; x=""`:                                                                               true,
		`a/b; x=y; X2=y`:                                                                          true,
		`a/b; x=";"`:                                                                              true,
		strings.Repeat("a", 127) + "/b":                                                           true,
		strings.Repeat("a", 128) + "/b":                                                           false,
		"a/" + strings.Repeat("b", 127):                                                           true,
		"a/" + strings.Repeat("b", 128):                                                           false,
		"":                                                                                        false,
		"a":                                                                                       false,
		"a/":                                                                                      false,
		"/b":                                                                                      false,
		"a/b/c":                                                                                   false,
		"*/*":                                                                                     false,
		"a/*":                                                                                     false,
		".a/b":                                                                                    false,
		" a/b":                                                                                    false,
		"a/b ":                                                                                    false,
		"a /b":                                                                                    false,
		"a/b;":                                                                                    false,
		"a/b; ":                                                                                   false,
		"a/b; x":                                                                                  false,
		"a/b; x=":                                                                                 false,
		"a/b; x =y":                                                                               false,
		"a/b; x=y z":                                                                              false,
		`a/b; x="y`:                                                                               false,
		`a/b; x="y"z`:                                                                             false,
		`a/b; x="\y"`:                                                                             false,
		"a/b; x*=utf-8''y":                                                                        false,
		"a/b; x*0=y":                                                                              false,
		"a/b; x=y; x=y":                                                                           false,
		"a/b; x=y; X=z":                                                                           false,
		"a/b;\tx=y":                                                                               false,
		"a/b\n":                                                                                   false,
		"a/é":                                                                                     false,
		`a/b; x="é"`:                                                                              false,
		"not a media type !!":                                                                     false,
		"application/eat+cwt, text/html":                                                          false,
	} {
		_, err := cmw.NewRecord(mediaType, []byte{1}, 0)
		if valid {
			require.NoError(t, err, mediaType)
		} else {
			require.ErrorIs(t, err, cmw.ErrMediaType, mediaType)
		}
		require.Equal(t, valid, cmw.SameMediaType(mediaType, mediaType), mediaType)
	}
}

func TestSameMediaType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"application/eat+cwt", "Application/EAT+CWT", true},
		{"application/eat+cwt", "application/eat+jwt", false},
		{`a/b; eat_profile="1.2"`, `a/b;EAT_PROFILE=1.2`, true},
		{"a/b; x=1; y=2", "a/b; y=2; x=1", true},
		{"a/b; x=1", "a/b; x=1; y=2", false},
		{"a/b; x=v", "a/b; x=V", false},
		{"a/b; x=1", "a/b; y=1", false},
		{"application/eat+cwt", `application/eat+cwt; eat_profile="a:b"`, false},
		{`a/b; eat_profile="a:b"`, `a/b; eat_profile="a:c"`, false},
		{`a/b; x=""`, "a/b", false},
		{"", "", false},
		{"a/b", "", false},
		{"a", "a", false},
	} {
		require.Equal(t, c.same, cmw.SameMediaType(c.a, c.b), "%s = %s", c.a, c.b)
		require.Equal(t, c.same, cmw.SameMediaType(c.b, c.a), "%s = %s", c.b, c.a)
	}
}

// G-5, G-13, H-1, H-3: registered numbers and their tags.
func TestContentFormats(t *testing.T) {
	t.Parallel()
	for mediaType, c := range map[string]struct {
		cf  uint16
		tag string // TN(cf) with its head
	}{
		"application/eat+cwt":                 {263, "da63740209"},
		"application/eat+jwt":                 {264, "da6374020a"},
		"application/eat-bun+cbor":            {265, "da6374020b"},
		"application/eat-bun+json":            {266, "da6374020c"},
		"application/eat-ucs+cbor":            {267, "da6374020d"},
		"application/eat-ucs+json":            {268, "da6374020e"},
		"application/cmw+cbor":                {273, "da63740213"},
		"application/cmw+json":                {274, ""},
		"application/cmw+cose":                {275, ""},
		"application/cmw+jws":                 {276, "da63740216"},
		"application/measured-component+cbor": {295, "da63740229"},
		"application/measured-component+json": {296, "da6374022a"},
	} {
		cf, ok := cmw.ContentFormatOf(mediaType)
		require.True(t, ok, mediaType)
		require.Equal(t, c.cf, cf, mediaType)
		back, ok := cmw.MediaTypeOf(cf)
		require.True(t, ok, mediaType)
		require.Equal(t, mediaType, back)
		if c.tag == "" {
			continue
		}
		m, err := cmw.NewTag(mediaType, []byte("a"))
		require.NoError(t, err)
		require.Equal(t, c.tag+valA, mustCBOR(t, m), mediaType)
		read, err := cmw.Decode(unhex(c.tag + valA))
		require.NoError(t, err)
		require.True(t, m.Equal(read), mediaType)
		require.Equal(t, mediaType, read.MediaType())
	}
	for _, mediaType := range []string{"", "application/cbor", `application/eat+cwt; eat_profile="a:b"`} {
		_, ok := cmw.ContentFormatOf(mediaType)
		require.False(t, ok, mediaType)
	}
	for _, cf := range []uint16{0, 262, 269, 10003, 64998, 64999, 65535} {
		_, ok := cmw.MediaTypeOf(cf)
		require.False(t, ok, cf)
	}
}

// An unknown Content-Format is kept with its number and has a media type that matches
// nothing, also where the library's own table has an answer (10003).
func TestUnknownContentFormat(t *testing.T) {
	t.Parallel()
	for wire, want := range map[string]uint16{
		"8200" + valA:       0,
		"82192713" + valA:   10003,
		"8219fde6" + valA:   64998,
		"8219fde7" + valA:   64999,
		"8219ffff" + valA:   65535,
		"da63740101" + valA: 0,
		"da637401ff" + valA: 254,
		"da63740201" + valA: 255,
		"da6374ffff" + valA: 65024,
	} {
		m, err := cmw.Decode(unhex(wire))
		require.NoError(t, err, wire)
		cf, ok := m.ContentFormat()
		require.True(t, ok, wire)
		require.Equal(t, want, cf, wire)
		require.Empty(t, m.MediaType(), wire)
		require.False(t, cmw.SameMediaType(m.MediaType(), m.Leaves()[0].MediaType), wire)
		require.Equal(t, wire, mustCBOR(t, m))
		_, err = m.MarshalJSON()
		require.ErrorIs(t, err, cmw.ErrNotJSON, wire)
	}
}
