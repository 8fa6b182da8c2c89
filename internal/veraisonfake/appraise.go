package veraisonfake

import (
	"encoding/base64"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/veraison/ear"
)

// appraise signs the EAR of a session's Evidence.
func (s *Service) appraise(one *session) (string, error) {
	raw := one.raw
	if s.faulty() == OtherEvidence && s.last != nil {
		raw = s.last
	}
	ar := ear.NewAttestationResult("FAKE", "commit-fake", "Veraison Project")
	nonce := base64.URLEncoding.EncodeToString(raw)
	iat := s.o.Now().Unix()
	ar.Nonce, ar.IssuedAt = &nonce, &iat
	a := ar.Submods["FAKE"]
	policy := "policy:FAKE"
	a.AppraisalPolicyID = &policy
	if s.o.Good(one.raw, one.Evidence.Type, one.Evidence.Value) {
		a.TrustVector.InstanceIdentity = ear.TrustworthyInstanceClaim
		a.TrustVector.Executables = ear.ApprovedRuntimeClaim
	} else {
		a.TrustVector.SetAll(ear.CryptoValidationFailedClaim)
	}
	*a.Status = ear.TrustTierAffirming
	ar.UpdateStatusFromTrustVector()
	if s.o.AttestedKey != nil {
		if err := a.SetKeyAttestation(s.o.AttestedKey(one.Evidence.Value)); err != nil {
			return "", err
		}
	}
	token, err := s.sign(ar)
	if i := len(token) - 5; err == nil && s.faulty() == Unsigned {
		token[i] = map[bool]byte{true: 'B', false: 'A'}[token[i] == 'A']
	}
	return string(token), err
}

func (s *Service) sign(ar *ear.AttestationResult) ([]byte, error) {
	if s.o.Issuer == "" {
		return ar.Sign(jwa.ES256(), s.o.Key)
	}
	t := jwt.New()
	for name, value := range ar.AsMap() {
		if err := t.Set(name, value); err != nil {
			return nil, err
		}
	}
	if err := t.Set(jwt.IssuerKey, s.o.Issuer); err != nil {
		return nil, err
	}
	return jwt.Sign(t, jwt.WithKey(jwa.ES256(), s.o.Key))
}
