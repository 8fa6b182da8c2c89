package ear

import (
	"errors"
	"fmt"

	"github.com/expat-go/expat/attestation"
)

// The reasons for which an EAR is refused, found with [errors.Is]. All but
// ErrKeySet and ErrLibrary come in a [*attestation.RejectedError].
var (
	// ErrAlgorithm: the token is not signed with ES256.
	ErrAlgorithm = errors.New("the EAR is not signed with ES256")
	// ErrUnknownKey: the token names a key that the issuer does not have.
	ErrUnknownKey = errors.New("the EAR is signed with an unknown key")
	// ErrSignature: the signature is not the issuer's over these bytes.
	ErrSignature = errors.New("signature of the EAR is wrong")
	// ErrProfile: the token is in another EAT profile than [Profile].
	ErrProfile = errors.New("the EAR has an unknown profile")
	// ErrIssuer: the token is another issuer's, or names none.
	ErrIssuer = errors.New("the EAR has another issuer")
	// ErrAudience: the token is for others.
	ErrAudience = errors.New("the EAR is for another audience")
	// ErrExpired: the token has expired or is too old.
	ErrExpired = errors.New("the EAR has expired")
	// ErrFuture: the token holds only later, or was issued in the future.
	ErrFuture = errors.New("the EAR is from the future")
	// ErrVerifierID: a Verifier appraised that is not allowed.
	ErrVerifierID = errors.New("the EAR is of a verifier that is not allowed")
	// ErrPolicyID: a policy was applied that is not allowed.
	ErrPolicyID = errors.New("the EAR was made with a policy that is not allowed")
	// ErrTier: a submodule's trust tier is not acceptable.
	ErrTier = errors.New("the EAR does not affirm")
	// ErrNonce: the token answers another connection or request, or none.
	ErrNonce = errors.New("the EAR carries another nonce than the binder")
	// ErrKey: a submodule attests another key, or none.
	ErrKey = errors.New("the EAR attests another key")

	// ErrKeySet: the issuer's keys cannot be had or used.
	ErrKeySet = errors.New("key set of the issuer is not usable")
	// ErrLibrary: the EAR library did not survive its input.
	ErrLibrary = errors.New("the EAR library failed")
)

// reject is an answer of no.
func reject(reason error, format string, args ...any) error {
	return &attestation.RejectedError{Err: fmt.Errorf("%w: "+format, append([]any{reason}, args...)...)}
}

// malformed is a token that cannot be read.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: EAR: "+format, append([]any{attestation.ErrMalformed}, args...)...)
}

// misuse is a caller's mistake.
func misuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{attestation.ErrMisuse}, args...)...)
}

// keySet is a set of keys that cannot be used.
func keySet(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrKeySet}, args...)...)
}

// guarded calls the library, which panics where it does not expect a value. All
// calls that see remote values go through here.
func guarded[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The panic's text is left out: it may repeat the token.
			err = fmt.Errorf("%w: %w: it panicked with a %T", attestation.ErrUnavailable, ErrLibrary, p)
		}
	}()
	return f()
}
