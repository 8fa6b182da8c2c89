package expatgrpc

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// E-8: both sides ask each other anew, over and over, under calls and under a
// stream; it is one connection all the time, and handlers see the newest verdict.
func TestReattestationUnderCalls(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	var renewed, failed atomic.Int32
	after := func(_ *expat.Conn, _ *attestation.Result, err error) {
		if err == nil {
			renewed.Add(1)
		} else {
			failed.Add(1)
		}
	}
	cc.ReattestEvery, sc.ReattestEvery = 40*time.Millisecond, 40*time.Millisecond
	cc.AfterReattest, sc.AfterReattest = after, after
	var mu sync.Mutex
	conns, verdicts := map[*expat.Conn]bool{}, map[*attestation.Result]bool{}
	note := func(ctx context.Context) {
		p, _ := peer.FromContext(ctx)
		r, _ := PeerFrom(p)
		mu.Lock()
		defer mu.Unlock()
		conns[p.AuthInfo.(AuthInfo).Conn()], verdicts[r] = true, true
	}
	options := append(open().ServerOptions(), grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			note(ctx)
			return next(ctx, req)
		}))
	_, addr := serve(t, sc, nil, options...)
	ch := dial(t, cc, addr, grpc.WithPerRPCCredentials(RequireServer(is("bob"))))
	s := begin(t, t.Context(), ch)
	big := string(make([]byte, 50_000))
	for range 60 {
		answer, server, err := call(t, ch)
		require.NoError(t, err)
		require.Equal(t, "hello alice bob", answer+" "+server)
		answer, err = exchange(s, big)
		require.NoError(t, err)
		require.Equal(t, big+" alice", answer)
		time.Sleep(5 * time.Millisecond)
	}
	require.Zero(t, failed.Load())
	require.Greater(t, renewed.Load(), int32(6))
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, conns, 1)
	require.NotContains(t, verdicts, (*attestation.Result)(nil))
	require.Greater(t, len(verdicts), 2)
}

// What is found anew counts for the next call, and on streams for the next message.
func TestDemandsFollowVerdict(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	cc.Reattest, sc.Reattest = true, true
	alice, bob := named("alice"), named("bob")
	cc.Attester, sc.Attester = alice, bob
	g, d := Require(Methods{unary: nil, stream: {is("alice")}}), new(denials)
	g.Denied = d.note
	ofServer := make(chan *expat.Conn, 1)
	options := append(g.ServerOptions(), grpc.ChainStreamInterceptor(
		func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			p, _ := peer.FromContext(ss.Context())
			ofServer <- p.AuthInfo.(AuthInfo).Conn()
			return next(srv, ss)
		}))
	_, addr := serve(t, sc, nil, options...)
	ch := dial(t, cc, addr)
	s := begin(t, t.Context(), ch, grpc.PerRPCCredentials(RequireServer(is("bob"))))
	answer, err := exchange(s, "hello")
	require.NoError(t, err)
	require.Equal(t, "hello alice", answer)
	p, _ := peer.FromContext(s.Context())

	// The server becomes another one: the client's demands say so at the next call.
	other := "robert"
	bob.name.Store(&other)
	_, _, err = call(t, ch, grpc.PerRPCCredentials(RequireServer(is("bob"))))
	require.NoError(t, err, "until it is asked anew")
	_, err = p.AuthInfo.(AuthInfo).Conn().Reattest(t.Context())
	require.NoError(t, err)
	_, _, err = call(t, ch, grpc.PerRPCCredentials(RequireServer(is("bob"))))
	require.ErrorIs(t, err, ErrDemand)
	_, server, err := call(t, ch)
	require.NoError(t, err)
	require.Equal(t, other, server)

	// So does the client: the guard says so on the stream that is open.
	alice.name.Store(&other)
	answer, err = exchange(s, "again")
	require.NoError(t, err, "until it is asked anew")
	require.Equal(t, "again alice", answer)
	_, err = (<-ofServer).Reattest(t.Context())
	require.NoError(t, err)
	_, err = exchange(s, "again")
	requireCode(t, err, codes.PermissionDenied)
	at, reason := d.last()
	require.Equal(t, stream, at)
	require.ErrorIs(t, reason, ErrDemand)
	answer, _, err = call(t, ch)
	require.NoError(t, err, "the connection is good")
	require.Equal(t, "hello "+other, answer)
}

// A message that a handler sends is not sent to a client that is not good any more.
func TestGuardedSend(t *testing.T) {
	t.Parallel()
	s := &guardedStream{ServerStream: without{ctx: t.Context()}, guard: open(), method: stream}
	requireCode(t, s.SendMsg(nil), codes.PermissionDenied)
	requireCode(t, s.RecvMsg(nil), codes.PermissionDenied)
}

// without is a stream that did not come over an attested connection.
type without struct {
	grpc.ServerStream
	ctx context.Context
}

func (w without) Context() context.Context { return w.ctx }
func (without) RecvMsg(any) error          { return nil }
func (without) SendMsg(any) error          { panic("was sent") }

// turning is an Attester that becomes another one.
type turning struct {
	now atomic.Pointer[attestation.Attester]
}

func (a *turning) to(b attestation.Attester) { a.now.Store(&b) }
func (a *turning) MediaTypes() []string      { return (*a.now.Load()).MediaTypes() }
func (a *turning) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return (*a.now.Load()).Attest(ctx, b, accept)
}

// simulate gives a Config a device, and another one the policy that accepts it.
func simulate(t *testing.T, of, by *expat.Config, names ...string) (*simulated.Device, *turning) {
	vendor := must(simulated.NewVendor("test", time.Now()))
	digest := make([]byte, 32)
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Instance: append([]byte{1}, make([]byte, 16)...), HardwareModel: []byte("model"), SoftwareName: "firmware", SoftwareVersion: "1.0",
		Debug:        evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "app", Algorithm: "sha-256", Digest: digest}},
	}))
	of.TLS.Certificates = []tls.Certificate{must(ca.Leaf(must(device.GenerateKey(elliptic.P256())), time.Now(), names...))}
	a := new(turning)
	a.to(simulated.NewAttester(device))
	of.Attester = a
	by.Verifier = must(verifier.New(verifier.Policy{
		Name: "test", Roots: vendor.Roots(), AnyInstance: true, Measurements: map[string][][]byte{"app": {digest}},
	}, simulated.Extractor{}))
	return device, a
}

// I-9: a device that turns bad under a live connection, that of the server or that
// of the client. The connection is lost, its calls and streams end, nothing gets
// through while it is bad, and gRPC is back by itself once it is good.
func TestDriftEndsConnection(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"server", "client"} {
		for _, lie := range []simulated.Lie{simulated.DebugOn, simulated.OldFirmware} {
			t.Run(side+" "+lie.String(), func(t *testing.T) {
				t.Parallel()
				cc, sc := configs()
				of, by, names := sc, cc, []string{"127.0.0.1"}
				if side == "client" {
					of, by, names = cc, sc, []string{"client.test"}
				}
				device, attester := simulate(t, of, by, names...)
				of.Reattest, by.ReattestEvery = true, 50*time.Millisecond
				drift := make(chan error, 1)
				by.AfterReattest = func(_ *expat.Conn, _ *attestation.Result, err error) {
					if err != nil {
						select {
						case drift <- err:
						default:
						}
					}
				}
				requireDrift(t, cc, sc, drift, func(good bool) {
					if good {
						attester.to(simulated.NewAttester(device))
					} else {
						attester.to(simulated.NewAttester(device, lie))
					}
				})
			})
		}
	}
}

func requireDrift(t *testing.T, cc, sc *expat.Config, drift <-chan error, turn func(good bool)) {
	ended := make(chan error, 10)
	began := make(chan struct{}, 1)
	last := func(ctx context.Context) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	options := append(Require(Methods{stream: nil, unary: nil}).ServerOptions(), grpc.ChainStreamInterceptor(
		func(_ any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			return last(ss.Context())
		}),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if req.(*wrapperspb.StringValue).Value != "wait" {
				return next(ctx, req)
			}
			began <- struct{}{}
			return nil, last(ctx)
		}))
	_, addr := serve(t, sc, nil, options...)
	ch := dial(t, cc, addr)
	_, err := tryUnary(t, ch)
	require.NoError(t, err)
	s := begin(t, t.Context(), ch)
	p, _ := peer.FromContext(s.Context())
	_, ok := PeerFrom(p)
	require.True(t, ok)
	require.NoError(t, s.SendMsg(wrapperspb.String("hello")))
	answered := make(chan error, 1)
	go func() {
		answered <- ch.Invoke(t.Context(), unary, wrapperspb.String("wait"), new(wrapperspb.StringValue))
	}()
	<-began

	turn(false)
	for _, err := range []error{s.RecvMsg(new(wrapperspb.StringValue)), <-answered} {
		requireCode(t, err, codes.Unavailable)
		require.ErrorContains(t, err, expat.ErrReattest.Error())
		require.ErrorIs(t, <-ended, context.Canceled)
	}
	err = <-drift
	require.ErrorIs(t, err, expat.ErrReattest)
	require.ErrorIs(t, err, attestation.ErrRejected)
	if _, ok = PeerFrom(p); cc.ReattestEvery > 0 {
		require.False(t, ok, "what was found before does not hold")
	}
	for range 3 {
		_, err = tryUnary(t, ch)
		requireCode(t, err, codes.Unavailable)
		require.ErrorContains(t, err, attestation.ErrRejected.Error())
	}

	turn(true)
	_, err = tryUnary(t, ch, grpc.WaitForReady(true))
	require.NoError(t, err)
}

// tryUnary makes a call between peers that are no toys.
func tryUnary(t *testing.T, ch *grpc.ClientConn, options ...grpc.CallOption) (*attestation.Result, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := new(peer.Peer)
	err := ch.Invoke(ctx, unary, wrapperspb.String("hello"), new(wrapperspb.StringValue), append(options, grpc.Peer(p))...)
	r, _ := PeerFrom(p)
	return r, err
}
