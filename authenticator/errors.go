package authenticator

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// The reasons for which a function of this package fails. They are found with
// [errors.Is]; the [*Error] around them says which function failed, with which
// TLS alert, and whose fault it is.
var (
	// ErrConnection: the connection does not meet RFC 9261, Section 5.1 and
	// Section 7 (version, extended master secret, cipher suite, handshake done).
	ErrConnection = errors.New("connection cannot carry exported authenticators")
	// ErrDecode: a message is not well formed.
	ErrDecode = errors.New("malformed message")
	// ErrUnexpectedMessage: a well-formed message of the wrong type or direction.
	ErrUnexpectedMessage = errors.New("unexpected message")
	// ErrLimit: a size or count is above a limit of this package.
	ErrLimit = errors.New("limit exceeded")
	// ErrContextReuse: a certificate_request_context was used before on this
	// connection, in either direction, or a request is answered twice.
	ErrContextReuse = errors.New("certificate_request_context was used before")
	// ErrContextMismatch: the authenticator answers another request.
	ErrContextMismatch = errors.New("certificate_request_context is not the request's")
	// ErrNoContext: an empty authenticator carries no context.
	ErrNoContext = errors.New("an empty authenticator carries no context")
	// ErrMissingExtension: a request lacks signature_algorithms.
	ErrMissingExtension = errors.New("signature_algorithms is missing")
	// ErrIllegalExtension: an extension that is not allowed in that message, or
	// one whose content is not.
	ErrIllegalExtension = errors.New("extension is not allowed here")
	// ErrUnsupportedExtension: a certificate entry carries an extension that
	// was not offered.
	ErrUnsupportedExtension = errors.New("extension was not offered")
	// ErrCertificate: a certificate cannot be used or is not trusted.
	ErrCertificate = errors.New("certificate is not acceptable")
	// ErrSignatureScheme: the scheme was not offered, is not one of TLS 1.3, or
	// does not fit the key.
	ErrSignatureScheme = errors.New("signature scheme is not acceptable")
	// ErrSignature: CertificateVerify does not verify. Where the peer is honest
	// this means that a proxy ended the TLS connection between the two sides;
	// [Session.ConnectionCheck] tells the cases apart.
	ErrSignature = errors.New("CertificateVerify is wrong for this connection, request and key")
	// ErrFinished: the Finished MAC does not verify. See [ErrSignature].
	ErrFinished = errors.New("Finished is wrong for this connection and request")
	// ErrRefused: the peer sent a valid empty authenticator (RFC 9261, Section 6).
	ErrRefused = errors.New("peer refused to authenticate")
	// ErrNoIdentity: no identity given fits the request.
	ErrNoIdentity = errors.New("no identity fits the request")
	// ErrMisuse: the caller broke the contract of a function.
	ErrMisuse = errors.New("wrong use of the API")
	// ErrSigner: the private key did not sign.
	ErrSigner = errors.New("private key did not sign")
)

// Fault tells whose fault an error is.
type Fault uint8

const (
	// FaultLocal: our own input, key or connection.
	FaultLocal Fault = iota + 1
	// FaultPeer: what the peer sent.
	FaultPeer
)

func (f Fault) String() string {
	if f == FaultPeer {
		return "peer"
	}
	return "local"
}

// Op names the function of RFC 9261, Section 7 that failed.
type Op string

// The functions of RFC 9261, Section 7, and the set-up of a [Session].
const (
	OpSession      Op = "session"
	OpRequest      Op = "request"
	OpContext      Op = "get context"
	OpAuthenticate Op = "authenticate"
	OpValidate     Op = "validate"
)

// Error is the type of every error of this package.
type Error struct {
	Op    Op
	Alert tls.AlertError // TLS alert description of RFC 8446, Section 6, that names the failure
	Fault Fault
	Err   error // wraps one of the Err… values
}

func (e *Error) Error() string { return "authenticator: " + string(e.Op) + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// TLS alert descriptions (RFC 8446, Section 6) that this package uses.
const (
	alertUnexpectedMessage    tls.AlertError = 10
	alertHandshakeFailure     tls.AlertError = 40
	alertBadCertificate       tls.AlertError = 42
	alertIllegalParameter     tls.AlertError = 47
	alertDecodeError          tls.AlertError = 50
	alertDecryptError         tls.AlertError = 51
	alertInternalError        tls.AlertError = 80
	alertMissingExtension     tls.AlertError = 109
	alertUnsupportedExtension tls.AlertError = 110
	alertCertificateRequired  tls.AlertError = 116
)

// alerts gives each reason the alert that names it; a reason that is not here
// is our own trouble.
var alerts = map[error]tls.AlertError{
	ErrConnection:           alertHandshakeFailure,
	ErrDecode:               alertDecodeError,
	ErrUnexpectedMessage:    alertUnexpectedMessage,
	ErrLimit:                alertIllegalParameter,
	ErrContextReuse:         alertIllegalParameter,
	ErrContextMismatch:      alertIllegalParameter,
	ErrNoContext:            alertDecodeError,
	ErrMissingExtension:     alertMissingExtension,
	ErrIllegalExtension:     alertIllegalParameter,
	ErrUnsupportedExtension: alertUnsupportedExtension,
	ErrCertificate:          alertBadCertificate,
	ErrSignatureScheme:      alertIllegalParameter,
	ErrSignature:            alertDecryptError,
	ErrFinished:             alertDecryptError,
	ErrRefused:              alertCertificateRequired,
	ErrNoIdentity:           alertHandshakeFailure,
}

// reason joins a sentinel with what was found.
func reason(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", sentinel, fmt.Errorf(format, args...))
}

// fail is the one place where an [*Error] is made.
func fail(op Op, fault Fault, err error) error {
	alert := alertInternalError
	for sentinel, a := range alerts {
		if errors.Is(err, sentinel) {
			alert = a
		}
	}
	return &Error{Op: op, Alert: alert, Fault: fault, Err: err}
}
