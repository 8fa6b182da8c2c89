package ear

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// FuzzCheck signs whatever header and payload it is given: what comes after the
// signature must stand hostile bytes as well. An accepted payload has what an EAR must
// have, however it is spelled.
func FuzzCheck(f *testing.F) {
	p := newParty(f)
	payload := encode(f, p.payload(f))
	seeds := []string{
		payload,
		strings.Replace(payload, "affirming", "warning", 1),
		strings.Replace(payload, `"hardware":2`, `"hardware":96`, 1),
		strings.Replace(payload, `"iat"`, `"\u0069at"`, 1),
		strings.Replace(payload, `"iat"`, `"iat":1,"iat"`, 1),
		`{"submods":{"":null}}`, `{"a":[[[[{"b":"\\\""}]]]]}`, `null`,
	}
	if !json.Valid([]byte(payload)) {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(goodHeader, s)
	}
	f.Add(`{"alg":"none"}`, payload)
	f.Add(`{"alg":"ES256","typ":"application/eat+jwt"}`, payload)
	checker := p.checker(f)
	f.Fuzz(func(t *testing.T, header, payload string) {
		e, err := checker.Check(context.Background(), p.sign(t, header, payload))
		if err != nil {
			require.Nil(t, e)
			require.True(t, errors.Is(err, attestation.ErrRejected) || errors.Is(err, attestation.ErrMalformed), "%v", err)
			require.NotErrorIs(t, err, ErrSignature)
			require.NotErrorIs(t, err, ErrLibrary)
			return
		}
		var m struct {
			Profile string `json:"eat_profile"`
			Issuer  string `json:"iss"`
			Submods map[string]map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(payload), &m))
		require.Equal(t, Profile, m.Profile)
		require.Equal(t, issuerName, m.Issuer)
		require.Len(t, e.Appraisals(), len(m.Submods))
		require.True(t, e.Expires().After(p.Now()))
		for _, a := range e.Appraisals() {
			require.Equal(t, "affirming", m.Submods[a.Environment]["ear.status"])
			require.Equal(t, attestation.TierAffirming, tier(a.Status, a.Vector))
		}
		if r, err := e.Result(p.binding, ResultOptions{}); err == nil {
			require.True(t, r.Answers(p.binding))
		}
	})
}

// FuzzToken: no token that the issuer did not sign is accepted.
func FuzzToken(f *testing.F) {
	p := newParty(f)
	good := string(p.issue(f, p.statement()))
	if strings.Count(good, ".") != 2 {
		f.Fatal("no seeds")
	}
	for _, s := range []string{good, good + ".", good[:len(good)-1], "..", "a.b.c", strings.ToUpper(good)} {
		f.Add([]byte(s))
	}
	checker := p.checker(f)
	f.Fuzz(func(t *testing.T, token []byte) {
		e, err := checker.Check(context.Background(), token)
		if string(token) == good {
			require.NoError(t, err)
			return
		}
		require.Nil(t, e)
		require.Error(t, err)
	})
}

// FuzzParseKeys: what is read can be written, and is then the same.
func FuzzParseKeys(f *testing.F) {
	set, err := MarshalKeys(Key{ID: "1", Public: &newKey(f).PublicKey}, Key{Public: &newKey(f).PublicKey})
	if err != nil || len(set) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range []string{string(set), `{"keys":[]}`, `{"keys":[{"kty":"EC","d":"AA"}]}`, `{"keys":[null]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseKeys(data)
		if err != nil {
			require.ErrorIs(t, err, ErrKeySet)
			return
		}
		again, err := MarshalKeys(keys...)
		require.NoError(t, err)
		reread, err := ParseKeys(again)
		require.NoError(t, err)
		require.Equal(t, keys, reread)
	})
}
