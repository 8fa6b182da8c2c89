package expatgrpc

import (
	"errors"
	"io"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/expat-go/expat"
)

// Reasons for which credentials are not made, or a call is not sent or served,
// found with [errors.Is]. Beside them are those of [expat.Error].
var (
	// ErrConfig: what was passed to this package cannot be used.
	ErrConfig = errors.New("expatgrpc: invalid configuration")
	// ErrNotAttested: there is no attested connection, this side asked for no
	// attestation on it, or the verdict does not hold any more.
	ErrNotAttested = errors.New("expatgrpc: the peer is not attested")
	// ErrDemand: the peer is attested, but does not meet a demand.
	ErrDemand = errors.New("expatgrpc: the peer does not meet a demand")
	// ErrNotListed: the guard knows no demands for the method.
	ErrNotListed = errors.New("expatgrpc: the method is not listed")
)

// handshakeError is what the credentials return. gRPC connects again whatever it
// says; with grpc.FailOnNonTempDialError a dial that blocks ends at once unless it
// is temporary.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// Temporary tells failures of the network and of Verifiers from those that stay
// until somebody changes a configuration, a policy or a peer.
func (e *handshakeError) Temporary() bool {
	var failed *expat.Error
	if errors.As(e.err, &failed) && (failed.Alert == expat.AlertTimeout || failed.Alert == expat.AlertVerifierUnavailable) {
		return true
	}
	for _, lost := range []error{expat.ErrClosed, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(e.err, lost) {
			return true
		}
	}
	var op *net.OpError // of the socket: those of TLS alerts have other names
	return errors.As(e.err, &op) && (op.Op == "read" || op.Op == "write")
}

// refusal is why a client does not send a call: a status for gRPC, the reason for
// [errors.Is]. It does not leave this side.
type refusal struct{ reason error }

func (r *refusal) Error() string { return r.GRPCStatus().Err().Error() }
func (r *refusal) Unwrap() error { return r.reason }

// GRPCStatus is what package status looks for.
func (r *refusal) GRPCStatus() *status.Status {
	return status.New(codes.PermissionDenied, r.reason.Error())
}

// denied is what a client is told, whatever the reason.
func denied() error { return status.Error(codes.PermissionDenied, "permission denied") }
