package ear

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
)

// EAR is a token that a [Checker] accepted. What it is bound to is not yet
// compared: [EAR.Result] does that. It is immutable.
type EAR struct {
	claims  *claims
	expires time.Time
	issuer  string
	warning bool
	now     func() time.Time
}

// Issuer is who vouches for the EAR, as [CheckerOptions] names it.
func (e *EAR) Issuer() string { return e.issuer }

// Verifier is the software that appraised.
func (e *EAR) Verifier() VerifierID { return e.claims.verifier }

// IssuedAt is iat.
func (e *EAR) IssuedAt() time.Time { return e.claims.iat }

// Expires is until when the EAR holds: exp, or iat and the maximum age.
func (e *EAR) Expires() time.Time { return e.expires }

// Appraisals are the submodules, sorted by name. Numbers in their claims are of type
// [encoding/json.Number]. The caller must not modify what they refer to.
func (e *EAR) Appraisals() []attestation.Appraisal { return e.claims.appraisals() }

// Nonce is eat_nonce, decoded; nil: there is none, or it is not base64url. It has two
// spellings: without padding, as RFC 9711, Section 4.1, has it and this package issues
// it, and with padding, as the Veraison services write it.
func (e *EAR) Nonce() []byte {
	text := e.claims.nonce
	nonce, err := base64url.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(nonce) == 0 {
		return nil
	}
	// The decoder is strict, but skips line ends.
	if text != base64url.EncodeToString(nonce) && text != base64.URLEncoding.EncodeToString(nonce) {
		return nil
	}
	return nonce
}

// Answers tells whether the EAR was made for this connection and request: its
// [EAR.Nonce] is b's binder, compared in constant time. The error is [ErrNonce].
func (e *EAR) Answers(b attestation.Binding) error {
	if e.claims.nonce == "" {
		return reject(ErrNonce, "it has none")
	}
	if nonce := e.Nonce(); nonce == nil || !b.MatchBinder(nonce) {
		return reject(ErrNonce, "it was made for another connection, request or key")
	}
	return nil
}

// AttestsKey tells whether every submodule attests b's key. The error is [ErrKey].
func (e *EAR) AttestsKey(b attestation.Binding) error {
	for _, s := range e.claims.submodules {
		if s.key == nil {
			return reject(ErrKey, "submodule %.100q states no key", s.Environment)
		}
	}
	return e.contradicts(b)
}

// contradicts tells whether a submodule attests another key than b's.
func (e *EAR) contradicts(b attestation.Binding) error {
	for _, s := range e.claims.submodules {
		if s.key != nil && !b.MatchKey(s.key) {
			return reject(ErrKey, "submodule %.100q states another", s.Environment)
		}
	}
	return nil
}

// ResultOptions describe a Result made from an EAR. The zero value demands the whole
// binding.
type ResultOptions struct {
	// Lifetime bounds the Result's, which never outlives the EAR. Zero: as long
	// as the EAR.
	Lifetime time.Duration
	// AllowUnstatedKey takes an EAR whose submodules state no key: that the
	// attested environment has the key then rests on the Verifier's having
	// compared it. A submodule that states another key is refused all the same.
	AllowUnstatedKey bool
	// AllowOtherNonce takes an EAR that was not made for this connection: it
	// tells what the peer was when the EAR was issued, not what it is. Together
	// with AllowUnstatedKey, anyone who has seen the EAR can present it.
	AllowOtherNonce bool
}

// Result makes the Result that answers b, after comparing what the EAR is bound to.
// The errors are [ErrNonce], [ErrKey] and [ErrExpired], all no.
func (e *EAR) Result(b attestation.Binding, o ResultOptions) (*attestation.Result, error) {
	if o.Lifetime < 0 {
		return nil, misuse("Lifetime is negative")
	}
	if !o.AllowOtherNonce {
		if err := e.Answers(b); err != nil {
			return nil, err
		}
	}
	compareKey := e.AttestsKey
	if o.AllowUnstatedKey {
		compareKey = e.contradicts
	}
	if err := compareKey(b); err != nil {
		return nil, err
	}
	lifetime := e.expires.Sub(e.now())
	if o.Lifetime > 0 {
		lifetime = min(lifetime, o.Lifetime)
	}
	if lifetime < time.Second {
		return nil, reject(ErrExpired, "less than a second is left")
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier:      e.issuer,
		Appraisals:    e.Appraisals(),
		Lifetime:      lifetime,
		AcceptWarning: e.warning,
	})
}
