package enroll

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/expat-go/expat/evidence/tpm"
)

// Run enrols an attestation key: it asks the issuer for a challenge, has the TPM
// open it, and returns the chain for [tpm.AttesterOptions].
func Run(ctx context.Context, t *tpm.TPM, ak *tpm.AK, issuer Issuer) ([]*x509.Certificate, error) {
	ek, err := t.EndorsementKey(ctx)
	if err != nil {
		return nil, err
	}
	challenge, err := issuer.Challenge(ctx, &Request{EKCertificate: ek.Certificate, AK: ak.PublicArea()})
	if err != nil {
		return nil, err
	}
	secret, err := t.ActivateCredential(ctx, ek, ak, challenge.Credential, challenge.Secret)
	if err != nil {
		return nil, err
	}
	issued, err := issuer.Issue(ctx, &Answer{ID: challenge.ID, Secret: secret})
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, der := range issued.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("enroll: the issuer's certificate: %w", err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}
