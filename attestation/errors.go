package attestation

import "errors"

// The reasons for which attestation fails, found with [errors.Is].
var (
	// ErrNotOffered: the request does not ask for attestation (Section 3.1).
	ErrNotOffered = errors.New("the request does not offer cmw_attestation")
	// ErrMissing: the authenticator is valid but carries no attestation.
	ErrMissing = errors.New("the authenticator carries no cmw_attestation")
	// ErrMalformed: the extension or the message in it is not well formed.
	ErrMalformed = errors.New("malformed attestation")
	// ErrPlacement: the extension is in an entry other than the leaf's (Section 3).
	ErrPlacement = errors.New("cmw_attestation outside the end-entity entry")
	// ErrTooLarge: the message does not fit the extension.
	ErrTooLarge = errors.New("attestation is too large for cmw_attestation")
	// ErrContext: the certificate_request_context is too short to be fresh.
	ErrContext = errors.New("certificate_request_context is too short")
	// ErrConnection: the connection is not TLS 1.3, or the authenticator
	// answered no request (Section 3.2).
	ErrConnection = errors.New("connection cannot be attested")
	// ErrMediaType: no media type that both sides can use.
	ErrMediaType = errors.New("no attestation format that both sides can use")
	// ErrAttester: the Attester failed to produce attestation.
	ErrAttester = errors.New("attester failed")
	// ErrRejected: the Verifier's answer is no. A [*RejectedError] has details.
	ErrRejected = errors.New("attestation rejected")
	// ErrUnavailable: the Verifier reached no verdict.
	ErrUnavailable = errors.New("verifier reached no verdict")
	// ErrWrongResult: the Verifier gave a Result for another Binding.
	ErrWrongResult = errors.New("the verifier's result answers another binding")
	// ErrMisuse: the caller broke the contract of a function.
	ErrMisuse = errors.New("wrong use of the API")
)
