package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// Stage is the step of the path at which a connection failed.
type Stage string

// The steps, in the order in which a connection takes them.
const (
	StageConfig       Stage = "config"       // our own configuration
	StageIdentity     Stage = "identity"     // our certificates, from GetIdentities
	StageTLS          Stage = "tls"          // the TLS handshake
	StageNegotiate    Stage = "negotiate"    // ALPN, version, no resumption
	StageHello        Stage = "hello"        // HELLO and what the two sides want
	StageRequest      Stage = "request"      // the request, sent or received
	StageAttest       Stage = "attest"       // our Attester
	StageAuthenticate Stage = "authenticate" // our authenticator
	StageValidate     Stage = "validate"     // the peer's authenticator
	StageAppraise     Stage = "appraise"     // the peer's attestation
	StageResult       Stage = "result"       // the peer's verdict on us
	StageLifetime     Stage = "lifetime"     // a verdict ran out on an open connection
	StageStream       Stage = "stream"       // the frames of an open connection
)

// Alert is the coarse reason that goes over the wire, in ALERT and RESULT. The
// reason in words stays local.
type Alert uint16

// The alerts. AlertAccepted is in a RESULT only.
const (
	AlertAccepted             Alert = 0
	AlertMalformed            Alert = 1
	AlertUnsupportedExtension Alert = 2
	AlertContextReuse         Alert = 3
	AlertWrongConnection      Alert = 4
	AlertCertificate          Alert = 5
	AlertAttestationRequired  Alert = 6
	AlertAttestationRejected  Alert = 7
	AlertVerifierUnavailable  Alert = 8
	AlertRefused              Alert = 9
	AlertLimit                Alert = 10
	AlertTimeout              Alert = 11
	AlertInternal             Alert = 12
	AlertProtocol             Alert = 13
)

var alertNames = [...]string{
	"accepted", "malformed", "unsupported extension", "context reuse", "wrong connection",
	"certificate", "attestation required", "attestation rejected", "verifier unavailable",
	"refused", "limit", "timeout", "internal", "protocol",
}

func (a Alert) String() string {
	if int(a) < len(alertNames) {
		return alertNames[a]
	}
	return fmt.Sprintf("alert %d", uint16(a))
}

// Side tells who found the failure.
type Side string

// The two sides.
const (
	Local Side = "local" // we found it; Err says what
	Peer  Side = "peer"  // the peer reported it; all it tells is the Alert
)

// Reasons for which a connection fails, beside those of packages authenticator
// and attestation. They are found with [errors.Is].
var (
	// ErrConfig: the Config cannot be used.
	ErrConfig = errors.New("invalid configuration")
	// ErrNegotiation: the peer does not speak expat/1, or the TLS connection is
	// not what attestation needs.
	ErrNegotiation = errors.New("peer did not negotiate expat/1")
	// ErrProtocol: the peer broke the protocol.
	ErrProtocol = errors.New("protocol error")
	// ErrNotAttested: the peer says that it cannot attest, and we require it.
	ErrNotAttested = errors.New("peer cannot attest")
	// ErrNobodyAsks: neither side asks for attestation.
	ErrNobodyAsks = errors.New("neither side asks for attestation")
	// ErrReflected: the peer showed our own key as its own.
	ErrReflected = errors.New("peer authenticated with our own key")
	// ErrPeerAlert: the peer reported a failure.
	ErrPeerAlert = errors.New("peer reported")
	// ErrClosed: the peer closed the connection before the exchange was done.
	ErrClosed = errors.New("peer closed the connection during the exchange")
	// ErrLost: the peer has ended the connection, or the stream of its own on which
	// the exchange runs, and gave no reason.
	ErrLost = errors.New("peer ended the connection")
	// ErrExpired: a verdict ran out; the connection is closed.
	ErrExpired = errors.New("attestation result ran out")
	// ErrReattest: it went wrong while a side was asked anew on an open
	// connection; the Stage says at which step.
	ErrReattest = errors.New("re-attestation")
	// ErrNoReattest: the two sides did not agree on re-attestation.
	ErrNoReattest = errors.New("peer does not re-attest on an open connection")
	// ErrKeyChanged: the peer was asked anew and showed another key than before.
	ErrKeyChanged = errors.New("peer changed its key")
)

// Error is the type of every error by which a connection fails. After one the
// connection is closed and delivers no application byte; none was delivered
// before it either, but for [StageLifetime], [StageStream] and [ErrReattest],
// which are of open connections.
type Error struct {
	Stage Stage
	Alert Alert // what the peer was told, or told us
	Side  Side
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("expat: %s: %v", e.Stage, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a deadline passed; it makes Error a [net.Error].
func (e *Error) Timeout() bool {
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, os.ErrDeadlineExceeded)
}

// Temporary is false: the connection is closed. It is there for [net.Error].
func (e *Error) Temporary() bool { return false }

var _ net.Error = (*Error)(nil)

// alertTable gives reasons their alert; the first that matches counts.
var alertTable = []struct {
	reason error
	alert  Alert
}{
	{authenticator.ErrCertificate, AlertCertificate}, // whatever a check of revocation wraps
	{context.DeadlineExceeded, AlertTimeout},
	{os.ErrDeadlineExceeded, AlertTimeout},
	{attestation.ErrAttester, AlertInternal}, // whatever an Attester wraps
	{ErrConfig, AlertInternal},
	{ErrNotAttested, AlertAttestationRequired},
	{ErrReflected, AlertWrongConnection},
	{ErrNoReattest, AlertAttestationRequired},
	{ErrExpired, AlertAttestationRequired},
	{ErrKeyChanged, AlertCertificate},
	{ErrNobodyAsks, AlertProtocol},
	{ErrProtocol, AlertProtocol},
	{ErrClosed, AlertProtocol},
	{ErrLost, AlertProtocol},
	{ErrNegotiation, AlertProtocol},
	{wire.ErrTooLarge, AlertLimit},
	{wire.ErrType, AlertProtocol},
	{wire.ErrMap, AlertMalformed},
	{attestation.ErrMissing, AlertAttestationRequired},
	{attestation.ErrMediaType, AlertAttestationRejected},
	{attestation.ErrRejected, AlertAttestationRejected},
	{attestation.ErrMalformed, AlertMalformed},
	{attestation.ErrPlacement, AlertUnsupportedExtension},
	{attestation.ErrContext, AlertMalformed},
	{attestation.ErrUnavailable, AlertVerifierUnavailable},
	{authenticator.ErrRefused, AlertRefused},
	{authenticator.ErrContextReuse, AlertContextReuse},
	{authenticator.ErrContextMismatch, AlertContextReuse},
	{authenticator.ErrUnsupportedExtension, AlertUnsupportedExtension},
	{authenticator.ErrSignature, AlertWrongConnection},
	{authenticator.ErrFinished, AlertWrongConnection},
	{authenticator.ErrSignatureScheme, AlertCertificate},
	{authenticator.ErrLimit, AlertLimit},
	{authenticator.ErrSigner, AlertInternal},
	{authenticator.ErrDecode, AlertMalformed},
	{authenticator.ErrUnexpectedMessage, AlertProtocol},
	{authenticator.ErrMissingExtension, AlertMalformed},
	{authenticator.ErrIllegalExtension, AlertMalformed},
}

func alertOf(stage Stage, err error) Alert {
	var untrusted *tls.CertificateVerificationError
	switch {
	case stage == StageIdentity:
		return AlertInternal // our own trouble, whatever GetIdentities wraps
	case stage == StageTLS && errors.As(err, &untrusted):
		return AlertCertificate
	case stage == StageAppraise && errors.Is(err, attestation.ErrRejected):
		return AlertAttestationRejected
	case stage == StageAppraise && errors.Is(err, attestation.ErrUnavailable):
		return AlertVerifierUnavailable // also when it ran into its deadline
	}
	for _, row := range alertTable {
		if errors.Is(err, row.reason) {
			return row.alert
		}
	}
	return AlertInternal
}

// failed makes the error of a failure that this side found. An [*Error] inside
// err is of another connection, such as a Verifier's to its service, and says
// nothing about stage or side of this one.
func failed(stage Stage, err error) *Error {
	return &Error{Stage: stage, Alert: alertOf(stage, err), Side: Local, Err: err}
}

// reported makes the error of a failure that the peer reported.
func reported(stage Stage, code uint16) *Error {
	return &Error{Stage: stage, Alert: Alert(code), Side: Peer, Err: fmt.Errorf("%w: %v", ErrPeerAlert, Alert(code))}
}

// over says why ctx ended: its error, and its cause if that is another one.
func over(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == cause {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// gone tells errors of a connection that the peer has ended, be it with a TLS
// alert, from those that we caused.
func gone(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return !op.Timeout() && op.Op != "local error" && !errors.Is(err, net.ErrClosed)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// The alerts by which a TLS peer says that it shares no version or protocol.
const (
	alertProtocolVersion       tls.AlertError = 70
	alertNoApplicationProtocol tls.AlertError = 120
)

// tlsFailure explains the failures of the TLS handshake that are common in
// practice. foreign says that the client hello showed no expat/1 over TLS 1.3.
func tlsFailure(err error, foreign bool) error {
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return fmt.Errorf("%w: %w (does the peer speak TLS at all?)", ErrNegotiation, err)
	}
	// crypto/tls has an exported type for alerts, but gives it to QUIC only.
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err != nil {
		text := op.Err.Error()
		foreign = foreign || text == alertProtocolVersion.Error() || text == alertNoApplicationProtocol.Error()
	}
	if foreign {
		return fmt.Errorf("%w: %w", ErrNegotiation, err)
	}
	return err
}
