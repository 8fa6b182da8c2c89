package expatquic

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/quic-go/quic-go"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
)

// ErrorCodeBase is the QUIC application error code of [expat.AlertAccepted], by
// which a connection is closed in good order. The alerts follow it. None of
// HTTP/3's codes, which share the space, is among them, nor one of those that
// RFC 9114, Section 8.1, reserves.
const ErrorCodeBase quic.ApplicationErrorCode = 0x78707400

// maxAlert is the largest alert that has a code.
const maxAlert expat.Alert = 0xff

// ErrorCode is the QUIC application error code by which a connection is closed for
// an alert.
func ErrorCode(a expat.Alert) quic.ApplicationErrorCode {
	if a > maxAlert {
		a = expat.AlertProtocol // a report by the peer that we do not know
	}
	return ErrorCodeBase + quic.ApplicationErrorCode(a)
}

// AlertOf finds the alert for which a connection was closed in an error of the
// connection or of one of its streams, and whether there is one. It is
// [expat.AlertAccepted] if the connection was closed in good order.
func AlertOf(err error) (expat.Alert, bool) {
	var app *quic.ApplicationError
	if !errors.As(err, &app) || app.ErrorCode < ErrorCodeBase || app.ErrorCode > ErrorCodeBase+quic.ApplicationErrorCode(maxAlert) {
		return 0, false
	}
	return expat.Alert(app.ErrorCode - ErrorCodeBase), true
}

// The codes of the TLS alerts protocol_version and no_application_protocol in QUIC
// (RFC 9001, Section 4.8).
const (
	codeProtocolVersion       quic.TransportErrorCode = 0x100 + 70
	codeNoApplicationProtocol quic.TransportErrorCode = 0x100 + 120
)

// explainHandshake tells peers that do not speak expat/1 from other failures.
func explainHandshake(err error) error {
	var t *quic.TransportError
	var version *quic.VersionNegotiationError
	if errors.As(err, &version) || errors.As(err, &t) && (t.ErrorCode == codeProtocolVersion || t.ErrorCode == codeNoApplicationProtocol) {
		return fmt.Errorf("%w: %w", expat.ErrNegotiation, err)
	}
	return explain(err)
}

// codeFlood is what a connection is closed with that carries more than maxEarly.
const codeFlood = ErrorCodeBase + quic.ApplicationErrorCode(expat.AlertLimit)

// explain puts errors of quic-go into the terms of [expat.Stream]. What the peer gave
// as its reason in words is left out of the text: it may be anything.
func explain(err error) error {
	var (
		app       *quic.ApplicationError
		transport *quic.TransportError
		str       *quic.StreamError
		reset     *quic.StatelessResetError
		idle      *quic.IdleTimeoutError
		handshake *quic.HandshakeTimeoutError
	)
	switch {
	case errors.As(err, &app) && !app.Remote && app.ErrorCode == codeFlood:
		err = fmt.Errorf("%w: more than %d bytes before the exchange is done", authenticator.ErrLimit, maxEarly)
	case errors.As(err, &app) && app.Remote:
		wordless := &quic.ApplicationError{Remote: true, ErrorCode: app.ErrorCode}
		err = fmt.Errorf("%w: %v%.0w", io.ErrUnexpectedEOF, wordless, err)
		if a, ok := AlertOf(app); ok && a != expat.AlertAccepted {
			err = &expat.PeerClosedError{Alert: a, Err: err}
		}
	case errors.As(err, &transport) && transport.Remote:
		wordless := &quic.TransportError{Remote: true, ErrorCode: transport.ErrorCode, FrameType: transport.FrameType}
		err = fmt.Errorf("%w: %v%.0w", io.ErrUnexpectedEOF, wordless, err)
	case errors.As(err, &str) && str.Remote, errors.As(err, &reset):
		err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	case errors.As(err, &idle), errors.As(err, &handshake):
		err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	return err
}
