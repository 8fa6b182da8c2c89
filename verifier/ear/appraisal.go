package ear

import (
	"errors"
	"fmt"
	"math"
	"strings"

	vear "github.com/veraison/ear"

	"github.com/expat-go/expat/attestation"
)

// Names of a submodule's claims.
const (
	statusClaim    = "ear.status"
	vectorClaim    = "ear.trustworthiness-vector"
	policyClaim    = "ear.appraisal-policy-id"
	evidenceClaim  = "ear.veraison.annotated-evidence"
	policiesClaim  = "ear.veraison.policy-claims"
	attestedClaim  = "ear.veraison.key-attestation"
	maxAttestedKey = 4096 // bytes of a SubjectPublicKeyInfo; RSA with 16384 bits fits
)

// parseSubmodule reads one appraisal. The library takes values of other types for
// "no claim", so that they are checked before it sees them.
func parseSubmodule(name string, v any) (submodule, error) {
	m, ok := v.(map[string]any)
	if name == "" || !ok {
		return submodule{}, malformed("submodule %.100q is not an object with a name", name)
	}
	s, err := checkSubmodule(m)
	if err != nil {
		return submodule{}, malformed("submodule %.100q: %w", name, err)
	}
	a, err := guarded(func() (*vear.Appraisal, error) { return vear.ToAppraisal(m) })
	if errors.Is(err, ErrLibrary) {
		return submodule{}, err
	}
	if err != nil {
		return submodule{}, malformed("submodule %.100q is not an appraisal", name)
	}
	s.Environment = name
	s.Status = attestation.Tier(*a.Status)
	if a.TrustVector != nil {
		s.Vector = fromVector(*a.TrustVector)
	}
	if a.AppraisalPolicyID != nil {
		s.Policy = *a.AppraisalPolicyID
	}
	if a.VeraisonAnnotatedEvidence != nil {
		s.Claims = *a.VeraisonAnnotatedEvidence
	}
	return s, nil
}

// checkSubmodule makes sure of the types that the library takes for granted, and
// reads what it leaves alone: the attested key and the instance.
func checkSubmodule(m map[string]any) (submodule, error) {
	var s submodule
	status, ok := m[statusClaim].(string)
	if _, known := vear.StringToTrustTier[status]; !ok || !known {
		return s, errors.New(statusClaim + " is not the name of a trust tier")
	}
	if v, present := m[policyClaim]; present {
		if id, ok := v.(string); !ok || id == "" {
			return s, errors.New(policyClaim + " is not a string")
		}
	}
	vector, err := object(m, vectorClaim)
	if err != nil {
		return s, err
	}
	if err := checkVector(vector); err != nil {
		return s, err
	}
	if _, err := object(m, evidenceClaim); err != nil {
		return s, err
	}
	claims, err := object(m, policiesClaim)
	if err != nil {
		return s, err
	}
	if v, present := claims[instanceClaim]; present {
		if s.Instance, ok = v.(string); !ok {
			return s, errors.New(instanceClaim + " is not a string")
		}
	}
	s.key, err = attestedKey(m)
	return s, err
}

// object reads an optional object; nil when it is absent.
func object(m map[string]any, name string) (map[string]any, error) {
	v, present := m[name]
	if !present {
		return nil, nil
	}
	o, ok := v.(map[string]any)
	if !ok || o == nil {
		return nil, fmt.Errorf("%s is not an object", name)
	}
	return o, nil
}

// checkVector refuses categories that are not known as well: one of them may be
// contraindicated.
func checkVector(vector map[string]any) error {
	known := vear.TrustVector{}.AsMap()
	for name, v := range vector {
		if _, ok := known[name]; !ok {
			return fmt.Errorf("%s has an unknown category", vectorClaim)
		}
		if _, err := integer(v, math.MinInt8, math.MaxInt8); err != nil {
			return fmt.Errorf("%s of %s: %w", name, vectorClaim, err)
		}
	}
	return nil
}

// attestedKey reads the key attestation; nil when there is none.
func attestedKey(m map[string]any) ([]byte, error) {
	attested, err := object(m, attestedClaim)
	if attested == nil {
		return nil, err
	}
	text, ok := attested[keyClaim].(string)
	if !ok || text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New(keyClaim + " is not a key in base64url")
	}
	key, err := base64url.DecodeString(text)
	if err != nil || len(key) > maxAttestedKey {
		return nil, errors.New(keyClaim + " is not a key in base64url")
	}
	return key, nil
}

func fromVector(v vear.TrustVector) attestation.TrustVector {
	return attestation.TrustVector{
		InstanceIdentity: attestation.TrustClaim(v.InstanceIdentity),
		Configuration:    attestation.TrustClaim(v.Configuration),
		Executables:      attestation.TrustClaim(v.Executables),
		FileSystem:       attestation.TrustClaim(v.FileSystem),
		Hardware:         attestation.TrustClaim(v.Hardware),
		RuntimeOpaque:    attestation.TrustClaim(v.RuntimeOpaque),
		StorageOpaque:    attestation.TrustClaim(v.StorageOpaque),
		SourcedData:      attestation.TrustClaim(v.SourcedData),
	}
}

func toVector(v attestation.TrustVector) vear.TrustVector {
	return vear.TrustVector{
		InstanceIdentity: vear.TrustClaim(v.InstanceIdentity),
		Configuration:    vear.TrustClaim(v.Configuration),
		Executables:      vear.TrustClaim(v.Executables),
		FileSystem:       vear.TrustClaim(v.FileSystem),
		Hardware:         vear.TrustClaim(v.Hardware),
		RuntimeOpaque:    vear.TrustClaim(v.RuntimeOpaque),
		StorageOpaque:    vear.TrustClaim(v.StorageOpaque),
		SourcedData:      vear.TrustClaim(v.SourcedData),
	}
}

// tier is the status, but never better than the worst claim of the vector; a
// status of none stays none, whatever the vector says.
func tier(status attestation.Tier, v attestation.TrustVector) attestation.Tier {
	switch status {
	case attestation.TierAffirming, attestation.TierWarning, attestation.TierContraindicated:
		for _, claim := range toVector(v).AsMap() {
			status = max(status, attestation.TrustClaim(claim).Tier())
		}
		return status
	}
	return attestation.TierNone
}
