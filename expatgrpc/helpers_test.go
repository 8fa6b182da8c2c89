package expatgrpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
)

const toyMediaType = "application/vnd.expat-go.toy"

// toy is an Attester whose evidence is the binding and a name, without a signature,
// and the Verifier for it: it shows what gRPC does, not what a TEE does. The name
// can be changed while connections are open.
type toy struct {
	name     atomic.Pointer[string]
	refuses  atomic.Pointer[string] // the name that the Verifier refuses
	lifetime time.Duration
}

func named(name string) *toy {
	t := new(toy)
	t.name.Store(&name)
	return t
}

func (*toy) MediaTypes() []string { return []string{toyMediaType} }

func (t *toy) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return cmw.NewRecord(toyMediaType, append(append([]byte{}, b.Binder()...), *t.name.Load()...), cmw.Evidence)
}

func (t *toy) Appraise(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	v, n := m.Value(), len(b.Binder())
	if len(v) < n || !b.MatchBinder(v[:n]) {
		return nil, attestation.Reject(errors.New("binder differs"))
	}
	if bad := t.refuses.Load(); bad != nil && *bad == string(v[n:]) {
		return nil, attestation.Reject(errors.New("not a good name"))
	}
	o := attestation.ResultOptions{Verifier: "toy", Lifetime: t.lifetime}
	if o.Lifetime == 0 {
		o.Lifetime = attestation.ConnectionLifetime
	}
	o.Appraisals = []attestation.Appraisal{{
		Environment: "toy", Status: attestation.TierAffirming, Policy: "toy",
		Claims: map[string]any{"name": string(v[n:])},
	}}
	return attestation.NewResult(b, o)
}

// is demands the name of a toy.
func is(name string) Demand { return Claim("toy", "name", name) }

// nameOf is the name of the peer in a verdict, or "" if it has none.
func nameOf(r *attestation.Result, ok bool) string {
	if !ok {
		return ""
	}
	name, _ := r.Appraisals()[0].Claims["name"].(string)
	return name
}

var ca = must(testca.New("test", time.Now()))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func leaf(names ...string) []tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return []tls.Certificate{must(ca.Leaf(key, time.Now(), names...))}
}

// configs returns Configs for mutual attestation between alice and bob.
func configs() (cc, sc *expat.Config) {
	config := func(name string, certificates []tls.Certificate) *expat.Config {
		return &expat.Config{
			TLS:      &tls.Config{RootCAs: ca.Pool(), ClientCAs: ca.Pool(), Certificates: certificates},
			Attester: named(name), Verifier: new(toy), Timeout: 10 * time.Second,
		}
	}
	return config("alice", leaf("client.test")), config("bob", leaf("127.0.0.1", "localhost", "bob.test"))
}

// The methods of the test's service, which answer with what they get and who asked.
const (
	unary  = "/test.Echo/Unary"
	stream = "/test.Echo/Stream"
)

// open lets everybody in who is attested.
func open() *Guard { return Require(Methods{unary: nil, stream: nil}) }

var echo = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: serveUnary}},
	Streams: []grpc.StreamDesc{{StreamName: "Stream", Handler: serveStream, ServerStreams: true, ClientStreams: true}},
}

func serveUnary(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.StringValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	h := func(ctx context.Context, req any) (any, error) {
		return wrapperspb.String(req.(*wrapperspb.StringValue).Value + " " + nameOf(FromContext(ctx))), nil
	}
	if intercept == nil {
		return h(ctx, in)
	}
	return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: unary}, h)
}

func serveStream(_ any, s grpc.ServerStream) error {
	for {
		in := new(wrapperspb.StringValue)
		if err := s.RecvMsg(in); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := s.SendMsg(wrapperspb.String(in.Value + " " + nameOf(FromContext(s.Context())))); err != nil {
			return err
		}
	}
}

// serve runs a server on ln, on loopback if it is nil, until the test ends.
func serve(t testing.TB, cfg *expat.Config, ln net.Listener, options ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	creds, err := NewCredentials(cfg)
	require.NoError(t, err)
	return serveWith(t, creds, ln, options...)
}

func serveWith(t testing.TB, creds credentials.TransportCredentials, ln net.Listener, options ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	if ln == nil {
		ln = must(net.Listen("tcp", "127.0.0.1:0"))
	}
	s := grpc.NewServer(append(options, grpc.Creds(creds))...)
	s.RegisterService(&echo, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ln); err != nil && !errors.Is(err, grpc.ErrServerStopped) { // by a test that ends at once
			t.Error(err)
		}
	})
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return s, ln.Addr().String()
}

// quickly makes gRPC connect again soon.
var quickly = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 100 * time.Millisecond},
	MinConnectTimeout: 5 * time.Second,
})

// dial returns a channel to addr that is closed when the test ends.
func dial(t testing.TB, cfg *expat.Config, addr string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	creds, err := NewCredentials(cfg)
	require.NoError(t, err)
	return dialWith(t, creds, addr, options...)
}

func dialWith(t testing.TB, creds credentials.TransportCredentials, addr string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(addr, append(options, quickly, grpc.WithTransportCredentials(creds))...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// call makes a unary call and returns the answer and the verdict on the server.
func call(t testing.TB, cc *grpc.ClientConn, options ...grpc.CallOption) (answer, server string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, p := new(wrapperspb.StringValue), new(peer.Peer)
	err = cc.Invoke(ctx, unary, wrapperspb.String("hello"), out, append(options, grpc.Peer(p))...)
	return out.Value, nameOf(PeerFrom(p)), err
}

// begin opens a stream.
func begin(t testing.TB, ctx context.Context, cc *grpc.ClientConn, options ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	s, err := cc.NewStream(ctx, &echo.Streams[0], stream, options...)
	require.NoError(t, err)
	return s
}

// exchange sends a message over a stream and returns what comes back.
func exchange(s grpc.ClientStream, text string) (string, error) {
	if err := s.SendMsg(wrapperspb.String(text)); err != nil && err != io.EOF {
		return "", err
	}
	out := new(wrapperspb.StringValue)
	err := s.RecvMsg(out)
	return out.Value, err
}

func requireCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	require.Equal(t, want, status.Code(err), "%v", err)
}

// refusals collects what servers refuse.
type refusals chan error

func (r refusals) note(_ net.Addr, err error) { r <- err }
