package corim

import "errors"

// The reasons for which a CoRIM is not used, found with [errors.Is].
var (
	// ErrOptions: the [Options], or the policy given to [References.Apply],
	// leave out what is required or contradict themselves.
	ErrOptions = errors.New("options for the CoRIM are not usable")
	// ErrFormat: the bytes are not a CoRIM, or one that is too large or nested
	// too deeply.
	ErrFormat = errors.New("malformed CoRIM")
	// ErrDuplicateKey: a map of the CoRIM has a key twice, so that two readers
	// could see two different CoRIMs.
	ErrDuplicateKey = errors.New("CoRIM has a map with a duplicate key")
	// ErrUnsigned: the CoRIM is not signed. Get a signed one.
	ErrUnsigned = errors.New("CoRIM is not signed")
	// ErrAlgorithm: the CoRIM is signed with an algorithm other than ES256,
	// ES384, ES512 and EdDSA with Ed25519.
	ErrAlgorithm = errors.New("CoRIM is signed with an algorithm that is not accepted")
	// ErrSigner: nobody who is trusted with reference values signed the CoRIM.
	ErrSigner = errors.New("signer of the CoRIM is not trusted")
	// ErrSignature: the signature is not that of a trusted key over these bytes.
	ErrSignature = errors.New("signature of the CoRIM is wrong")
	// ErrNotYetValid: the CoRIM or its signature holds only later.
	ErrNotYetValid = errors.New("CoRIM is not valid yet")
	// ErrExpired: the CoRIM, its signature or its signer's certificate has ended.
	// Get a newer one.
	ErrExpired = errors.New("CoRIM has expired")
	// ErrProfile: the CoRIM is of a profile that was not asked for, or of none.
	ErrProfile = errors.New("CoRIM is not of the profile that was asked for")
	// ErrDigest: a digest is too short, of a hash that is not accepted, or one of
	// several for the same hash.
	ErrDigest = errors.New("CoRIM has a digest that is not accepted")
	// ErrUnsupported: the CoRIM says what a policy cannot judge.
	ErrUnsupported = errors.New("CoRIM says what a policy cannot express")
	// ErrConflict: statements of the CoRIM, or of the CoRIM and the policy,
	// overlap so that a policy of both would accept more than each of them.
	ErrConflict = errors.New("reference values of the CoRIM conflict")
	// ErrNoValues: the CoRIM has no reference values for this environment.
	ErrNoValues = errors.New("CoRIM has no reference values")
)

// Error is the type of the errors that a CoRIM causes.
type Error struct {
	Reason error  // one of the reasons above
	Step   string // what was being read or checked, such as "signature"
	Err    error  // why
}

func (e *Error) Error() string {
	return e.Reason.Error() + ": " + e.Step + ": " + e.Err.Error()
}

// Unwrap returns the reason and the cause.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Err} }

func fail(reason error, step, why string) error {
	return &Error{Reason: reason, Step: step, Err: errors.New(why)}
}

func failed(reason error, step string, err error) error {
	return &Error{Reason: reason, Step: step, Err: err}
}
