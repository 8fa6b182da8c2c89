package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// DESIGN 5: the codes and their names.
func TestAlertNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"accepted", "malformed", "unsupported extension", "context reuse", "wrong connection", "certificate",
		"attestation required", "attestation rejected", "verifier unavailable", "refused", "limit", "timeout", "internal", "protocol",
	}
	for code, name := range names {
		require.Equal(t, name, Alert(code).String())
	}
	require.Equal(t, "alert 14", Alert(14).String())
	require.Equal(t, "alert 65535", Alert(65535).String())
	require.Equal(t, Alert(13), AlertProtocol)
}

// Each reason has its alert, where it is wrapped too, and a second listing says so.
func TestAlertOf(t *testing.T) {
	t.Parallel()
	for alert, reasons := range map[Alert][]error{
		AlertMalformed:            {wire.ErrMap, attestation.ErrMalformed, attestation.ErrContext, authenticator.ErrDecode, authenticator.ErrMissingExtension, authenticator.ErrIllegalExtension},
		AlertUnsupportedExtension: {attestation.ErrPlacement, authenticator.ErrUnsupportedExtension},
		AlertContextReuse:         {authenticator.ErrContextReuse, authenticator.ErrContextMismatch},
		AlertWrongConnection:      {authenticator.ErrSignature, authenticator.ErrFinished, ErrReflected},
		AlertCertificate:          {authenticator.ErrCertificate, authenticator.ErrSignatureScheme},
		AlertAttestationRequired:  {attestation.ErrMissing, ErrNotAttested},
		AlertAttestationRejected:  {attestation.ErrRejected, attestation.ErrMediaType},
		AlertVerifierUnavailable:  {attestation.ErrUnavailable},
		AlertRefused:              {authenticator.ErrRefused},
		AlertLimit:                {wire.ErrTooLarge, authenticator.ErrLimit},
		AlertTimeout:              {context.DeadlineExceeded, os.ErrDeadlineExceeded},
		AlertInternal:             {attestation.ErrAttester, attestation.ErrWrongResult, attestation.ErrTooLarge, authenticator.ErrSigner, ErrConfig, context.Canceled, io.EOF},
		AlertProtocol:             {wire.ErrType, ErrProtocol, ErrNobodyAsks, ErrClosed, ErrNegotiation, authenticator.ErrUnexpectedMessage},
	} {
		for _, reason := range reasons {
			e := failed(StageResult, fmt.Errorf("somewhere: %w", reason))
			require.Equal(t, [3]any{StageResult, alert, Local}, [3]any{e.Stage, e.Alert, e.Side}, "%v", reason)
			require.ErrorIs(t, e, reason)
		}
	}
	untrusted := &tls.CertificateVerificationError{Err: errors.New("no")}
	require.Equal(t, AlertCertificate, failed(StageTLS, untrusted).Alert)
	require.Equal(t, AlertInternal, failed(StageAttest, untrusted).Alert)
	require.Equal(t, AlertTimeout, failed(StageAttest, fmt.Errorf("%w: %w", attestation.ErrAttester, context.DeadlineExceeded)).Alert)
	require.Equal(t, AlertVerifierUnavailable, failed(StageAppraise, fmt.Errorf("%w: %w", attestation.ErrUnavailable, context.DeadlineExceeded)).Alert)
	require.Equal(t, AlertAttestationRejected, failed(StageAppraise, fmt.Errorf("%w: %w", attestation.ErrRejected, context.DeadlineExceeded)).Alert)
	require.Equal(t, AlertCertificate, failed(StageValidate, fmt.Errorf("%w: %w", authenticator.ErrCertificate, context.DeadlineExceeded)).Alert)
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	require.EqualError(t, failed(StageHello, ErrNotAttested), "expat: hello: peer cannot attest")
	require.EqualError(t, reported(StageResult, 7), "expat: result: peer reported: attestation rejected")
	require.True(t, failed(StageTLS, os.ErrDeadlineExceeded).Timeout())
	require.False(t, failed(StageTLS, context.Canceled).Timeout())
}

// Who ended a connection: the peer, or we.
func TestGone(t *testing.T) {
	t.Parallel()
	op := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, op("read", errors.New("connection reset by peer")), op("write", errors.New("broken pipe")), op("remote error", errors.New("tls: bad certificate"))} {
		require.True(t, gone(err), "%v", err)
	}
	for _, err := range []error{op("read", os.ErrDeadlineExceeded), op("read", net.ErrClosed), op("local error", errors.New("tls: bad record MAC")), wire.ErrTooLarge, errors.New("x")} {
		require.False(t, gone(err), "%v", err)
	}
}
