package corim_test

import (
	"bytes"
	"crypto/elliptic"
	"testing"

	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/corim"
)

// FuzzParse: whatever is accepted is fit for a policy, and what is signed is accepted
// only as it was signed.
func FuzzParse(f *testing.F) {
	key := ecKey(f, elliptic.P256())
	u := veraison(f)
	whole := signed(f, u, cose.AlgorithmES256, key)
	plain, err := u.ToCBOR()
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{whole, plain, newDraft().payload(f), newDraft().sign(f, cose.AlgorithmES256, key)}
	genuine := [][]byte{seeds[0], seeds[3]}
	for _, s := range seeds {
		f.Add(s)
	}
	check := func(t *testing.T, r *corim.References, err error) bool {
		if (r == nil) == (err == nil) {
			t.Fatal("neither or both of result and error")
		}
		if err != nil {
			return false
		}
		if len(r.Measurements)+len(r.MinVersions) == 0 || r.Provenance.ID == "" || len(r.Provenance.Tags) == 0 {
			t.Fatal("nothing is demanded, or nobody demands it")
		}
		for name, digests := range r.Measurements {
			for _, d := range digests {
				if name == "" || len(d) < 32 {
					t.Fatal("a digest that is too short or has no name")
				}
			}
		}
		for name, v := range r.MinVersions {
			if _, err := verifier.CompareVersions(v, v); err != nil || name == "" {
				t.Fatal("a version that cannot be compared")
			}
		}
		if err := r.Apply(&verifier.Policy{}); err != nil {
			t.Fatal(err)
		}
		return true
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := corim.Parse(b, unsigned())
		check(t, r, err)
		r, err = corim.Parse(b, options(key.Public()))
		if !check(t, r, err) {
			return
		}
		for _, g := range genuine {
			if bytes.Contains(b, g[len(g)-64:]) { // its signature; the unprotected header is nobody's
				return
			}
		}
		t.Fatal("accepted what nobody signed")
	})
}
