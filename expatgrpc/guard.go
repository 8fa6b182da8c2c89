package expatgrpc

import (
	"context"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/expat-go/expat/attestation"
)

// Methods says what a server demands of clients for each method, by its full name
// as in /package.Service/Method. A method with no demands is open to clients with
// any verdict that the Verifier's policy admits. One that is not listed is closed.
type Methods map[string][]Demand

// A Guard lets a call through to its handler only if it came over an attested
// connection whose peer meets all demands of the method; [Require] makes it. Anybody
// else gets codes.PermissionDenied without a reason. A stream is judged when it
// begins, and again at the next message after the client was asked anew. The zero
// Guard lets nothing through.
type Guard struct {
	// Denied, if set, is told why a call was not let through, or a stream not on.
	// The reason is for the log: the peer must not see it. It must be set before
	// the server runs.
	Denied func(ctx context.Context, method string, reason error)

	methods Methods
}

// Require makes a Guard. Methods are copied.
func Require(methods Methods) *Guard {
	g := &Guard{methods: Methods{}}
	for name, demands := range methods {
		g.methods[name] = slices.Clone(demands)
	}
	return g
}

// ServerOptions guard all calls of a server, unary ones and streams.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(g.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(g.StreamServerInterceptor),
	}
}

// UnaryServerInterceptor is a [grpc.UnaryServerInterceptor]. It does not guard
// streams: see [Guard.ServerOptions].
func (g *Guard) UnaryServerInterceptor(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	r, _ := FromContext(ctx)
	if err := g.admit(ctx, info.FullMethod, r); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// StreamServerInterceptor is a [grpc.StreamServerInterceptor]. It does not guard
// unary calls: see [Guard.ServerOptions].
func (g *Guard) StreamServerInterceptor(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	s := &guardedStream{ServerStream: ss, guard: g, method: info.FullMethod}
	if err := s.admit(); err != nil {
		return err
	}
	return next(srv, s)
}

// admit returns a status for the client if a call is not let through.
func (g *Guard) admit(ctx context.Context, method string, r *attestation.Result) error {
	reason := ErrNotListed
	if demands, listed := g.methods[method]; listed {
		reason = meets(r, demands)
	}
	if reason == nil {
		return nil
	}
	if g.Denied != nil {
		g.Denied(ctx, method, reason)
	}
	return denied()
}

// guardedStream judges the client of a stream again when there is a new verdict.
type guardedStream struct {
	grpc.ServerStream
	guard  *Guard
	method string
	judged atomic.Pointer[attestation.Result] // the verdict that was found good
}

func (s *guardedStream) admit() error {
	r, ok := FromContext(s.Context())
	if ok && s.judged.Load() == r {
		return nil
	}
	if err := s.guard.admit(s.Context(), s.method, r); err != nil {
		return err
	}
	s.judged.Store(r)
	return nil
}

// SendMsg implements [grpc.ServerStream].
func (s *guardedStream) SendMsg(m any) error {
	if err := s.admit(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg implements [grpc.ServerStream].
func (s *guardedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.admit()
}
