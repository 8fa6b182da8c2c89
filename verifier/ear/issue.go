package ear

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	vear "github.com/veraison/ear"

	"github.com/expat-go/expat/attestation"
)

// DefaultLifetime is the lifetime of an EAR where the options set none.
const DefaultLifetime = time.Hour

// IssuerOptions describe an [Issuer].
type IssuerOptions struct {
	Key   crypto.Signer // ECDSA on P-256, for ES256; required
	KeyID string        // kid; "": the key's thumbprint (RFC 7638)
	Name  string        // iss; required
	// Developer and Build are the ear.verifier-id; required.
	Developer, Build string
	// Lifetime is the time from iat to exp, at least a second. Zero:
	// [DefaultLifetime].
	Lifetime time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Statement is what an EAR states.
type Statement struct {
	// Binding is what was appraised: eat_nonce is its binder, and every
	// submodule attests its key.
	Binding attestation.Binding
	// Appraisals become the submodules, 1 to 16, each with a name of its own.
	Appraisals []attestation.Appraisal
	Audience   string // aud, or ""
	// Lifetime bounds the issuer's. Zero: no bound of its own.
	Lifetime time.Duration
}

// FromResult states a verdict of yes.
func FromResult(r *attestation.Result) Statement {
	return Statement{Binding: r.Binding(), Appraisals: r.Appraisals(), Lifetime: r.Lifetime()}
}

// FromRejection states a verdict of no about what b is bound to. Without an
// appraisal, or with appraisals that are all acceptable each by itself, the
// statement has one that is contraindicated: a no never reads like a yes.
func FromRejection(b attestation.Binding, e *attestation.RejectedError) Statement {
	s := Statement{Binding: b, Appraisals: append([]attestation.Appraisal(nil), e.Appraisals...)}
	for _, a := range s.Appraisals {
		if t := tier(a.Status, a.Vector); t == attestation.TierNone || t == attestation.TierContraindicated {
			return s
		}
	}
	for i := range s.Appraisals {
		s.Appraisals[i].Status = attestation.TierContraindicated
	}
	if len(s.Appraisals) == 0 {
		s.Appraisals = []attestation.Appraisal{{Environment: rejectedEnvironment, Status: attestation.TierContraindicated}}
	}
	return s
}

// rejectedEnvironment names the submodule of a no without appraisals.
const rejectedEnvironment = "attester"

// An Issuer signs EARs. It is safe for concurrent use if its key is.
type Issuer struct {
	o      IssuerOptions
	public *ecdsa.PublicKey
}

// NewIssuer makes an Issuer; the error wraps [attestation.ErrMisuse].
func NewIssuer(o IssuerOptions) (*Issuer, error) {
	if o.Key == nil || o.Name == "" || o.Developer == "" || o.Build == "" {
		return nil, misuse("an issuer of EARs needs Key, Name, Developer and Build")
	}
	public, _ := o.Key.Public().(*ecdsa.PublicKey)
	encoded, ok := point(public)
	if !ok {
		return nil, misuse("an issuer of EARs needs an ECDSA key on P-256, not a %T", o.Key.Public())
	}
	if o.Lifetime != 0 && o.Lifetime < time.Second || len(o.KeyID) > maxKeyID {
		return nil, misuse("Lifetime is a second or more, KeyID at most %d bytes", maxKeyID)
	}
	if o.Lifetime == 0 {
		o.Lifetime = DefaultLifetime
	}
	if o.KeyID == "" {
		o.KeyID = thumbprint(encoded)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Issuer{o: o, public: public}, nil
}

// Issue signs a statement. The status of a submodule is never better than its trust
// vector. The error wraps [attestation.ErrMisuse] where the statement cannot be made,
// and is the key's where it cannot sign.
func (i *Issuer) Issue(ctx context.Context, s Statement) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	claims, err := i.claims(s)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, misuse("the claims of an appraisal cannot be encoded as JSON")
	}
	if err := checkShape(payload); err != nil {
		return nil, misuse("the claims of an appraisal: %w", err)
	}
	header := jws.NewHeaders()
	for name, value := range map[string]string{"typ": "JWT", "kid": i.o.KeyID} {
		if err := header.Set(name, value); err != nil {
			return nil, fmt.Errorf("ear: %w", err)
		}
	}
	token, err := jws.Sign(payload, jws.WithKey(jwa.ES256(), i.o.Key, jws.WithProtectedHeaders(header)))
	if err != nil {
		return nil, fmt.Errorf("ear: sign: %w", err)
	}
	if len(token) > MaxSize {
		return nil, misuse("the EAR has %d bytes, want at most %d", len(token), MaxSize)
	}
	return token, nil
}

// claims builds the payload. The library has no place for iss, aud and exp.
func (i *Issuer) claims(s Statement) (map[string]any, error) {
	lifetime := i.o.Lifetime
	if s.Lifetime != 0 {
		lifetime = min(lifetime, s.Lifetime)
	}
	switch {
	case !s.Binding.Valid():
		return nil, misuse("a statement needs the binding that was appraised")
	case len(s.Appraisals) == 0 || len(s.Appraisals) > maxSubmodules:
		return nil, misuse("a statement has 1 to %d appraisals, not %d", maxSubmodules, len(s.Appraisals))
	case lifetime < time.Second:
		return nil, misuse("a statement's Lifetime is a second or more")
	}
	issued := i.o.Now()
	result := vear.NewAttestationResult("", i.o.Build, i.o.Developer)
	*result.IssuedAt = issued.Unix()
	nonce := base64url.EncodeToString(s.Binding.Binder())
	result.Nonce = &nonce
	result.Submods = make(map[string]*vear.Appraisal, len(s.Appraisals))
	for _, a := range s.Appraisals {
		if _, twice := result.Submods[a.Environment]; twice || a.Environment == "" {
			return nil, misuse("appraisals need names that differ, not %q", a.Environment)
		}
		result.Submods[a.Environment] = toSubmodule(a, s.Binding.SPKI())
	}
	claims := result.AsMap()
	claims["iss"] = i.o.Name
	// Whole seconds from iat, rounded down, so that exp is not after the lifetime.
	claims["exp"] = issued.Unix() + int64(lifetime/time.Second)
	if s.Audience != "" {
		claims["aud"] = s.Audience
	}
	return claims, nil
}

func toSubmodule(a attestation.Appraisal, spki []byte) *vear.Appraisal {
	status := vear.TrustTier(tier(a.Status, a.Vector))
	vector := toVector(a.Vector)
	out := &vear.Appraisal{Status: &status, TrustVector: &vector}
	if a.Policy != "" {
		out.AppraisalPolicyID = &a.Policy
	}
	if len(a.Claims) > 0 {
		out.VeraisonAnnotatedEvidence = &a.Claims
	}
	if a.Instance != "" {
		out.VeraisonPolicyClaims = &map[string]any{instanceClaim: a.Instance}
	}
	out.VeraisonKeyAttestation = &map[string]any{keyClaim: base64url.EncodeToString(spki)}
	return out
}

// JWKS is the issuer's public key as a JWK Set (RFC 7517, Section 5), for a
// [KeySource] of the relying parties, and others beside it: the one before while its EARs
// hold, and the next before it signs. The issuer's own may be among them. The error is
// that of [MarshalKeys].
func (i *Issuer) JWKS(others ...Key) ([]byte, error) {
	keys := []Key{{ID: i.o.KeyID, Public: i.public}}
	for _, k := range others {
		if k.ID != i.o.KeyID || !i.public.Equal(k.Public) {
			keys = append(keys, k)
		}
	}
	return MarshalKeys(keys...)
}
