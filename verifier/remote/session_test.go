package remote

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	someNonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	waiting   = `{"status":"waiting","nonce":"` + someNonce + `","expiry":"2030-10-12T07:20:50.52Z","accept":["a/b"]}`
	complete  = `{"status":"complete","nonce":"` + someNonce + `","evidence":{"type":"a/b","value":"AAAA"},"result":"a.b.c"}`
)

func TestParseSession(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string { return strings.Replace(waiting, old, new, 1) }
	for name, tc := range map[string]struct {
		in   string
		good bool
	}{
		"waiting":               {waiting, true},
		"complete":              {complete, true},
		"processing":            {with("waiting", "processing"), true},
		"failed":                {with("waiting", "failed"), true},
		"white space":           {" " + waiting + "\n", true},
		"unknown member":        {with(`"status"`, `"other":[{}],"status"`), true},
		"no accept":             {with(`,"accept":["a/b"]`, ""), true},
		"null result":           {with(`"status"`, `"result":null,"status"`), true},
		"more follows":          {waiting + "{}", false},
		"garbage follows":       {waiting + "x", false},
		"member twice":          {with(`"status"`, `"nonce":"`+someNonce+`","status"`), false},
		"member twice, escaped": {with(`"status"`, `"n\u006fnce":"`+someNonce+`","status"`), false},
		"other case":            {with(`"nonce"`, `"Nonce"`), false},
		"unknown status":        {with("waiting", "WAITING"), false},
		"no status":             {with(`"status":"waiting",`, ""), false},
		"status is a number":    {with(`"waiting"`, "1"), false},
		"accept is text":        {with(`["a/b"]`, `"a/b"`), false},
		"no nonce":              {with(someNonce, ""), false},
		"short nonce":           {with(someNonce, "AAAAAAAAAA"), false},
		"shortest nonce":        {with(someNonce, "AAAAAAAAAAA"), true},
		"longest nonce":         {with(someNonce, strings.Repeat("A", 86)), true},
		"long nonce":            {with(someNonce, strings.Repeat("A", 87)), false},
		"padded nonce":          {with(someNonce, someNonce+"="), false},
		"nonce with a line end": {with(someNonce, `AAAA\n`+someNonce[4:]), false},
		"nonce, trailing bits":  {with(someNonce, someNonce[1:]+"B"), false},
		"standard base64":       {with(someNonce, "+"+someNonce[1:]), false},
		"complete, no result":   {with("waiting", "complete"), false},
		"complete, empty":       {strings.Replace(complete, "a.b.c", "", 1), false},
		"result is an object":   {strings.Replace(complete, `"a.b.c"`, "{}", 1), false},
		"early result":          {strings.Replace(complete, "complete", "processing", 1), false},
		"not UTF-8":             {with("a/b", "\xff"), false},
		"array":                 {"[" + waiting + "]", false},
		"null":                  {"null", false},
		"empty":                 {"", false},
		"no end":                {waiting[:len(waiting)-1], false},
		"no value":              {`{"status"`, false},
		"bad value":             {`{"status":x}`, false},
		"bad name":              {`{1:2}`, false},
	} {
		s, err := parseSession([]byte(tc.in))
		if !tc.good {
			require.ErrorIs(t, err, errSession, name)
			require.Nil(t, s, name)
			continue
		}
		require.NoError(t, err, name)
	}
	s, err := parseSession([]byte(complete))
	require.NoError(t, err)
	require.Equal(t, &session{status: "complete", nonce: make([]byte, 32), result: "a.b.c"}, s)
}

// What is taken for a session keeps the promises that the exchange relies on.
func FuzzSession(f *testing.F) {
	seeds := []string{waiting, complete, `{"nonce":"AA"}`, `{"a":1,"a":2}`, "", "[]", strings.Repeat(`{"a":`, 100)}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSession(b)
		if err != nil {
			require.ErrorIs(t, err, errSession)
			require.Nil(t, s)
			return
		}
		require.True(t, len(s.nonce) >= 8 && len(s.nonce) <= 64)
		require.Equal(t, s.status == statusComplete, s.result != "")
		again, err := decodeNonce(encodeNonce(s.nonce))
		require.NoError(t, err)
		require.Equal(t, s.nonce, again)
	})
}
