package corim_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier/corim"
	"github.com/expat-go/expat/verifier/policy"
)

// A policy file holds digests and lowest versions; a CoRIM that demands more is
// refused.
func TestPolicyFile(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	public := pemOf("PUBLIC KEY", spki)
	plain := func() *draft {
		d := newDraft()
		d.class, d.environment[0] = nil, m{0: tag(37, uuid)}
		d.values[1] = tag(553, 2)
		return d
	}
	read := corim.FromPolicyFile(corim.Options{Now: clock, ClassID: "uuid:31fb5abf-023e-4992-aa4e-95f9c1503bfa"})
	in := policy.ReferenceInput{Content: plain().sign(t, cose.AlgorithmES256, key), Keys: [][]byte{public}, Profile: profile}
	found, err := read(in)
	require.NoError(t, err)
	require.Equal(t, policy.References{Measurements: map[string][][]byte{"launch": {digest("good")}}, MinVersions: map[string]string{"launch": "2"}}, found)
	for name, c := range map[string]struct {
		change func(in *policy.ReferenceInput)
		want   error
	}{
		"no keys":         {func(in *policy.ReferenceInput) { in.Keys = nil }, corim.ErrOptions},
		"bad keys":        {func(in *policy.ReferenceInput) { in.Keys = [][]byte{{1}} }, corim.ErrOptions},
		"no profile":      {func(in *policy.ReferenceInput) { in.Profile = "" }, corim.ErrProfile},
		"another profile": {func(in *policy.ReferenceInput) { in.Profile = "https://x" }, corim.ErrProfile},
		"not signed":      {func(in *policy.ReferenceInput) { in.Content = plain().payload(t) }, corim.ErrUnsigned},
	} {
		changed := in
		c.change(&changed)
		got, err := read(changed)
		require.ErrorIs(t, err, c.want, name)
		require.Zero(t, got, name)
	}
	// What digests and versions do not express comes as rules that refuse.
	bound := plain()
	bound.environment[0] = m{0: tag(37, uuid), 1: "ACME"}
	bound.manifest[4] = m{1: at(now.Add(time.Hour))}
	in.Content = bound.sign(t, cose.AlgorithmES256, key)
	found, err = read(in)
	require.NoError(t, err)
	require.Len(t, found.Rules, 2)
	refused := func(c *evidence.Claims) (names []string) {
		for _, r := range found.Rules {
			if r.Check(t.Context(), c) != nil {
				names = append(names, r.Name)
			}
		}
		return names
	}
	require.Empty(t, refused(&evidence.Claims{Vendor: []byte("ACME")}))
	other := refused(&evidence.Claims{Vendor: []byte("other")})
	require.Len(t, other, 1)
	require.Contains(t, other[0], "vendor")
}
