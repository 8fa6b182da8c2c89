package ear_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier/ear"
)

func Example() {
	// Verifier side: a key, and a verdict about what a relying party asked for.
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{
		Key: key, Name: "https://verifier.example", Developer: "https://example.com", Build: "1.2.3",
	})
	if err != nil {
		panic(err)
	}
	attested, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	spki, _ := x509.MarshalPKIXPublicKey(attested.Public())
	binding, err := attestation.AssertedBinding(make([]byte, 32), spki)
	if err != nil {
		panic(err)
	}
	token, err := issuer.Issue(context.Background(), ear.Statement{
		Binding:    binding,
		Appraisals: []attestation.Appraisal{{Environment: "tee", Status: attestation.TierAffirming, Policy: "production"}},
	})
	if err != nil {
		panic(err)
	}
	published, err := issuer.JWKS()
	if err != nil {
		panic(err)
	}

	// Relying party side: the issuer's keys, and what the connection demands.
	keys, err := ear.ParseKeys(published)
	if err != nil {
		panic(err)
	}
	source, err := ear.Static(keys...)
	if err != nil {
		panic(err)
	}
	checker, err := ear.NewChecker(ear.CheckerOptions{Keys: source, Issuer: "https://verifier.example", Policies: []string{"production"}})
	if err != nil {
		panic(err)
	}
	accepted, err := checker.Check(context.Background(), token)
	if err != nil {
		panic(err)
	}
	result, err := accepted.Result(binding, ear.ResultOptions{})
	fmt.Println(result.Tier(), err)

	other := make([]byte, 32)
	other[0] = 1
	otherConnection, _ := attestation.AssertedBinding(other, spki)
	_, err = accepted.Result(otherConnection, ear.ResultOptions{})
	fmt.Println(errors.Is(err, ear.ErrNonce))
	// Output:
	// affirming <nil>
	// true
}
