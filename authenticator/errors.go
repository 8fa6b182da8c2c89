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
	ErrConnection error = &failure{alertHandshakeFailure, "connection cannot carry exported authenticators"}
	// ErrDecode: a message is not well formed.
	ErrDecode error = &failure{alertDecodeError, "malformed message"}
	// ErrUnexpectedMessage: a well-formed message of the wrong type or direction.
	ErrUnexpectedMessage error = &failure{alertUnexpectedMessage, "unexpected message"}
	// ErrLimit: a size or count is above a limit of this package.
	ErrLimit error = &failure{alertIllegalParameter, "limit exceeded"}
	// ErrContextReuse: a certificate_request_context was used before on this
	// connection, in either direction, or a request is answered twice.
	ErrContextReuse error = &failure{alertIllegalParameter, "certificate_request_context was used before"}
	// ErrContextMismatch: the authenticator answers another request.
	ErrContextMismatch error = &failure{alertIllegalParameter, "certificate_request_context is not the request's"}
	// ErrNoContext: an empty authenticator carries no context.
	ErrNoContext error = &failure{alertDecodeError, "an empty authenticator carries no context"}
	// ErrMissingExtension: a request lacks signature_algorithms.
	ErrMissingExtension error = &failure{alertMissingExtension, "signature_algorithms is missing"}
	// ErrIllegalExtension: an extension that is not allowed in that message, or
	// one whose content is not.
	ErrIllegalExtension error = &failure{alertIllegalParameter, "extension is not allowed here"}
	// ErrUnsupportedExtension: a certificate entry carries an extension that
	// was not offered.
	ErrUnsupportedExtension error = &failure{alertUnsupportedExtension, "extension was not offered"}
	// ErrCertificate: a certificate cannot be used or is not trusted.
	ErrCertificate error = &failure{alertBadCertificate, "certificate is not acceptable"}
	// ErrSignatureScheme: the scheme was not offered, is not one of TLS 1.3, or
	// does not fit the key.
	ErrSignatureScheme error = &failure{alertIllegalParameter, "signature scheme is not acceptable"}
	// ErrSignature: CertificateVerify does not verify. Where the peer is honest
	// this means that a proxy ended the TLS connection between the two sides;
	// [Session.ConnectionCheck] tells the cases apart.
	ErrSignature error = &failure{alertDecryptError, "CertificateVerify is wrong for this connection, request and key"}
	// ErrFinished: the Finished MAC does not verify. See [ErrSignature].
	ErrFinished error = &failure{alertDecryptError, "the Finished message is wrong for this connection and request"}
	// ErrRefused: the peer sent a valid empty authenticator (RFC 9261, Section 6).
	ErrRefused error = &failure{alertCertificateRequired, "peer refused to authenticate"}
	// ErrNoIdentity: no identity given fits the request.
	ErrNoIdentity error = &failure{alertHandshakeFailure, "no identity fits the request"}
	// ErrMisuse: the caller broke the contract of a function.
	ErrMisuse error = &failure{alertInternalError, "wrong use of the API"}
	// ErrSigner: the private key did not sign.
	ErrSigner error = &failure{alertInternalError, "private key did not sign"}
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

// failure is the type of the reasons: each has the alert that names it, and
// what is our own trouble has internal_error.
type failure struct {
	alert tls.AlertError
	text  string
}

func (f *failure) Error() string { return f.text }

// reason joins a sentinel with what was found.
func reason(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", sentinel, fmt.Errorf(format, args...))
}

// fail is the one place where an [*Error] is made. The alert is that of the
// outermost reason: what a key or a chain verifier wraps further in does not count.
func fail(op Op, fault Fault, err error) error {
	alert := alertInternalError
	var f *failure
	if errors.As(err, &f) {
		alert = f.alert
	}
	return &Error{Op: op, Alert: alert, Fault: fault, Err: err}
}
