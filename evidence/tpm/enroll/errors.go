package enroll

import "errors"

// The reasons for which enrolment fails, found with [errors.Is].
var (
	// ErrAuthority: the files of a CA are missing, malformed or do not match.
	ErrAuthority = errors.New("enroll: CA files are not usable")
	// ErrRequest: a message cannot be read.
	ErrRequest = errors.New("enroll: malformed request")
	// ErrEKCertificate: the endorsement key's certificate is not one, or does
	// not lead to a root that the CA was given.
	ErrEKCertificate = errors.New("enroll: the endorsement key's certificate is not trusted")
	// ErrAK: the key is no attestation key: see the [tpm] error it wraps.
	ErrAK = errors.New("enroll: the key is not fit to attest")
	// ErrAnswer: the secret is wrong, late, or of no challenge. The two keys are
	// not proved to be in one TPM.
	ErrAnswer = errors.New("enroll: the answer does not fit a challenge")
	// ErrBusy: too many challenges wait for an answer.
	ErrBusy = errors.New("enroll: too many challenges are waiting")
	// ErrTLSKey: the key of a signing request is not proved to be in the TPM.
	ErrTLSKey = errors.New("enroll: the TLS key is not proved to be in the TPM")
)
