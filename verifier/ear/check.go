package ear

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
)

// Defaults of [CheckerOptions].
const (
	DefaultMaxAge = time.Hour
	DefaultSkew   = 30 * time.Second
)

// Key is a public key of an issuer.
type Key struct {
	ID     string           // kid; "" matches a token with any kid
	Public *ecdsa.PublicKey // P-256
}

// A KeySource has the keys of an issuer. It is safe for concurrent use.
type KeySource interface {
	// Keys returns the keys that may have signed a token with this kid; with
	// kid "", which a token without one has, all of them. No key means that the
	// issuer has none of that name, an error that nothing is known about it. The
	// caller must not modify them.
	Keys(ctx context.Context, kid string) ([]Key, error)
}

// CheckerOptions say whose EARs are accepted.
type CheckerOptions struct {
	Keys   KeySource // required
	Issuer string    // the iss that tokens must have; required
	// AllowUnnamedIssuer takes tokens without iss, which the Veraison services
	// issue: Keys alone then tell whose they are.
	AllowUnnamedIssuer bool
	// Audience is the aud that tokens must contain. Empty: tokens that are
	// meant for a certain audience are refused.
	Audience string
	// Verifiers and Policies are the verifier ids and appraisal policy ids that
	// are accepted. Nil: not judged, the issuer is trusted with the choice.
	Verifiers []VerifierID
	Policies  []string
	// MaxAge bounds the time since iat, also of tokens without exp, at least a
	// second. Zero: [DefaultMaxAge].
	MaxAge time.Duration
	// Skew is how far the issuer's clock may be off. It moves iat and nbf, and
	// the bound that MaxAge sets, never exp. Zero: [DefaultSkew].
	Skew time.Duration
	// AcceptWarning admits the warning tier.
	AcceptWarning bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// A Checker checks EARs. It is safe for concurrent use.
type Checker struct{ o CheckerOptions }

// NewChecker makes a Checker; the error wraps [attestation.ErrMisuse].
func NewChecker(o CheckerOptions) (*Checker, error) {
	switch {
	case o.Keys == nil || o.Issuer == "":
		return nil, misuse("a checker of EARs needs Keys and Issuer")
	case o.MaxAge != 0 && o.MaxAge < time.Second || o.Skew < 0:
		return nil, misuse("MaxAge is a second or more, Skew is not negative")
	case o.Verifiers != nil && len(o.Verifiers) == 0 || o.Policies != nil && len(o.Policies) == 0:
		return nil, misuse("an empty allow-list accepts nothing; leave it nil instead")
	case slices.ContainsFunc(o.Verifiers, func(v VerifierID) bool { return v.Developer == "" }) || slices.Contains(o.Policies, ""):
		return nil, misuse("an allow-list has an empty name")
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Skew == 0 {
		o.Skew = DefaultSkew
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Verifiers, o.Policies = slices.Clone(o.Verifiers), slices.Clone(o.Policies)
	return &Checker{o: o}, nil
}

// Check checks everything about a token but what it is bound to, in this order:
// size, form and header, key, signature, profile, iss, aud, iat, exp and nbf,
// verifier id, policy ids, trust tiers. The first failure ends it.
//
// The error wraps [attestation.ErrRejected] and one of the reasons of this
// package; [attestation.ErrMalformed]; or [attestation.ErrUnavailable] with
// [ErrKeySet] where the keys cannot be had. A refused tier comes with the
// appraisals in the [*attestation.RejectedError].
func (c *Checker) Check(ctx context.Context, raw []byte) (*EAR, error) {
	t, err := parseToken(raw)
	if err != nil {
		return nil, err
	}
	if err := c.checkSignature(ctx, t); err != nil {
		return nil, err
	}
	claims, err := parseClaims(t.payload)
	if err != nil {
		return nil, err
	}
	if err := c.checkOrigin(claims); err != nil {
		return nil, err
	}
	expires, err := c.checkTimes(claims)
	if err != nil {
		return nil, err
	}
	if err := c.checkTiers(claims); err != nil {
		return nil, err
	}
	return &EAR{claims: claims, expires: expires, issuer: c.o.Issuer, warning: c.o.AcceptWarning, now: c.o.Now}, nil
}

func (c *Checker) checkSignature(ctx context.Context, t *token) error {
	keys, err := c.o.Keys.Keys(ctx, t.kid)
	if err != nil {
		return fmt.Errorf("%w: %w", attestation.ErrUnavailable, errors.Join(ErrKeySet, err))
	}
	if len(keys) == 0 {
		return reject(ErrUnknownKey, "kid is %.100q", t.kid)
	}
	for _, k := range keys {
		if !usable(k) {
			return fmt.Errorf("%w: %w", attestation.ErrUnavailable, keySet("a key is not a P-256 key"))
		}
		if t.signedBy(k.Public) {
			return nil
		}
	}
	return reject(ErrSignature, "kid is %.100q", t.kid)
}

// checkOrigin judges who issued the token, for whom and with what.
func (c *Checker) checkOrigin(t *claims) error {
	if t.profile != Profile {
		return reject(ErrProfile, "eat_profile is %.100q", t.profile)
	}
	if t.issuer != c.o.Issuer && (t.issuer != "" || !c.o.AllowUnnamedIssuer) {
		return reject(ErrIssuer, "iss is %.100q, want %q", t.issuer, c.o.Issuer)
	}
	if c.o.Audience == "" && t.audience != nil {
		return reject(ErrAudience, "it has an audience, but Audience is not set")
	}
	if c.o.Audience != "" && !slices.Contains(t.audience, c.o.Audience) {
		return reject(ErrAudience, "%q is not in aud", c.o.Audience)
	}
	allowed := func(v VerifierID) bool {
		return v.Developer == t.verifier.Developer && (v.Build == "" || v.Build == t.verifier.Build)
	}
	if c.o.Verifiers != nil && !slices.ContainsFunc(c.o.Verifiers, allowed) {
		return reject(ErrVerifierID, "developer %.100q, build %.100q", t.verifier.Developer, t.verifier.Build)
	}
	for _, s := range t.submodules {
		if c.o.Policies != nil && !slices.Contains(c.o.Policies, s.Policy) {
			return reject(ErrPolicyID, "submodule %.100q has policy %.100q", s.Environment, s.Policy)
		}
	}
	return nil
}

// checkTimes returns until when the token holds.
func (c *Checker) checkTimes(t *claims) (time.Time, error) {
	now := c.o.Now()
	for name, begin := range map[string]time.Time{"iat": t.iat, "nbf": t.nbf} {
		if begin.After(now.Add(c.o.Skew)) {
			return time.Time{}, reject(ErrFuture, "%s is %v ahead", name, begin.Sub(now).Round(time.Second))
		}
	}
	expires := t.iat.Add(c.o.MaxAge).Add(c.o.Skew)
	if !t.exp.IsZero() && t.exp.Before(expires) {
		expires = t.exp
	}
	if !now.Before(expires) {
		return time.Time{}, reject(ErrExpired, "for %v", now.Sub(expires).Round(time.Second))
	}
	return expires, nil
}

// checkTiers refuses all but affirming, and warning where it is admitted.
func (c *Checker) checkTiers(t *claims) error {
	var failed []error
	for _, s := range t.submodules {
		got := tier(s.Status, s.Vector)
		if got != attestation.TierAffirming && (got != attestation.TierWarning || !c.o.AcceptWarning) {
			failed = append(failed, fmt.Errorf("%w: submodule %.100q is %v%s", ErrTier, s.Environment, got, against(s.Vector)))
		}
	}
	if failed == nil {
		return nil
	}
	return &attestation.RejectedError{Appraisals: t.appraisals(), Err: errors.Join(failed...)}
}

// against names the trust claims (draft-ietf-rats-ar4si, Section 2.3) that do not
// affirm: all that an EAR tells of the checks that failed.
func against(v attestation.TrustVector) string {
	var text []string
	for _, c := range []struct {
		name  string
		claim attestation.TrustClaim
	}{
		{"instance-identity", v.InstanceIdentity}, {"configuration", v.Configuration},
		{"executables", v.Executables}, {"file-system", v.FileSystem}, {"hardware", v.Hardware},
		{"runtime-opaque", v.RuntimeOpaque}, {"storage-opaque", v.StorageOpaque}, {"sourced-data", v.SourcedData},
	} {
		if t := c.claim.Tier(); t == attestation.TierWarning || t == attestation.TierContraindicated {
			text = append(text, fmt.Sprintf("%s is %d", c.name, c.claim))
		}
	}
	if text == nil {
		return ""
	}
	return " (" + strings.Join(text, ", ") + ")"
}

func (t *claims) appraisals() []attestation.Appraisal {
	out := make([]attestation.Appraisal, 0, len(t.submodules))
	for _, s := range t.submodules {
		out = append(out, s.Appraisal)
	}
	return out
}
