package expatgrpc

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// both runs a test over connections that are attested once, and over some on which the
// two sides ask each other anew all the time.
func both(t *testing.T, f func(t *testing.T, cc, sc *expat.Config)) {
	t.Parallel()
	for name, every := range map[string]time.Duration{"once": 0, "reattest": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cc, sc := configs()
			cc.ReattestEvery, sc.ReattestEvery = every, every
			f(t, cc, sc)
		})
	}
}

// A hundred streams at a time share one connection and are kept apart.
func TestManyStreams(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		handshakes := 0
		sc.Trace = &expat.Trace{Done: func(error) { handshakes++ }}
		_, addr := serve(t, sc, nil, open().ServerOptions()...)
		ch := dial(t, cc, addr)
		var wg, all sync.WaitGroup
		all.Add(100)
		for i := range 100 {
			wg.Go(func() {
				s, err := ch.NewStream(t.Context(), &echo.Streams[0], stream)
				all.Done()
				if err != nil {
					t.Error(err)
					return
				}
				all.Wait()
				for round := range 20 {
					text := fmt.Sprintf("%d %d %s", i, round, make([]byte, 10*i))
					if answer, err := exchange(s, text); err != nil || answer != text+" alice" {
						t.Errorf("%q, %v", answer, err)
						return
					}
				}
				if err := s.CloseSend(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, handshakes)
	})
}

// Large messages pass flow control, both ways.
func TestLargeMessage(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		_, addr := serve(t, sc, nil, open().ServerOptions()...)
		s := begin(t, t.Context(), dial(t, cc, addr))
		large := string(make([]byte, 3<<20))
		answer, err := exchange(s, large)
		require.NoError(t, err)
		require.Equal(t, large+" alice", answer)
	})
}

// proxy is a listener whose connections lose what the server writes while it is
// frozen, without a word.
type proxy struct {
	net.Listener
	mu     sync.Mutex
	frozen bool
}

func (p *proxy) Accept() (net.Conn, error) {
	nc, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &freezing{nc, p}, nil
}

type freezing struct {
	net.Conn
	proxy *proxy
}

func (f *freezing) Write(b []byte) (int, error) {
	f.proxy.mu.Lock()
	frozen := f.proxy.frozen
	f.proxy.mu.Unlock()
	if frozen {
		return len(b), nil
	}
	return f.Conn.Write(b)
}

func (p *proxy) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = on
}

// silenced opens a stream through a proxy, lets it idle, and then the client hears
// nothing more. It returns when and how the stream ends.
func silenced(t *testing.T, cc, sc *expat.Config, server []grpc.ServerOption, client ...grpc.DialOption) (time.Duration, error) {
	ln := &proxy{Listener: must(net.Listen("tcp", "127.0.0.1:0"))}
	_, addr := serve(t, sc, ln, append(open().ServerOptions(), server...)...)
	ch := dial(t, cc, addr, client...)
	s := begin(t, t.Context(), ch)
	_, err := exchange(s, "hello")
	require.NoError(t, err)
	time.Sleep(3 * time.Second)
	_, err = exchange(s, "hello")
	require.NoError(t, err)
	ln.freeze(true)
	before := time.Now()
	err = s.RecvMsg(new(wrapperspb.StringValue))
	took := time.Since(before)
	ln.freeze(false)
	_, _, back := call(t, ch, grpc.WaitForReady(true))
	require.NoError(t, back)
	return took, err
}

// The server's keepalive goes through: an idle client that answers stays, one that
// does not is given up.
func TestServerKeepalive(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		took, err := silenced(t, cc, sc, []grpc.ServerOption{
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: time.Second}),
		})
		requireCode(t, err, codes.Unavailable)
		require.Less(t, took, 10*time.Second)
	})
}

// So does the client's. gRPC takes no shorter time of a client than 10 s.
func TestClientKeepalive(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		cc.Timeout, sc.Timeout = time.Minute, time.Minute // asking anew would end the connection as well
		took, err := silenced(t, cc, sc, []grpc.ServerOption{
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		}, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second, PermitWithoutStream: true}))
		requireCode(t, err, codes.Unavailable)
		require.ErrorContains(t, err, "keepalive")
		require.Greater(t, took, 5*time.Second)
	})
}

// MaxConnectionAge moves clients to a new connection, which is attested anew.
func TestConnectionAge(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		var mu sync.Mutex
		handshakes := 0
		cc.Trace = &expat.Trace{Done: func(error) { mu.Lock(); handshakes++; mu.Unlock() }}
		_, addr := serve(t, sc, nil, append(open().ServerOptions(), grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: 200 * time.Millisecond, MaxConnectionAgeGrace: time.Second,
		}))...)
		ch := dial(t, cc, addr)
		require.Eventually(t, func() bool {
			_, _, err := call(t, ch, grpc.WaitForReady(true))
			mu.Lock()
			defer mu.Unlock()
			return err == nil && handshakes > 2
		}, 10*time.Second, 10*time.Millisecond)
	})
}

// After a restart of the server gRPC is back by itself.
func TestServerRestarts(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		s, addr := serve(t, sc, nil, open().ServerOptions()...)
		ch := dial(t, cc, addr)
		st := begin(t, t.Context(), ch)
		_, err := exchange(st, "hello")
		require.NoError(t, err)
		s.Stop()
		requireCode(t, st.RecvMsg(new(wrapperspb.StringValue)), codes.Unavailable)
		_, _, err = call(t, ch)
		requireCode(t, err, codes.Unavailable)

		serve(t, sc, must(net.Listen("tcp", addr)), open().ServerOptions()...)
		_, server, err := call(t, ch, grpc.WaitForReady(true))
		require.NoError(t, err)
		require.Equal(t, "bob", server)
		require.Equal(t, connectivity.Ready, ch.GetState())
	})
}

// GracefulStop lets a stream come to its end, and takes no new ones.
func TestGracefulStop(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		s, addr := serve(t, sc, nil, open().ServerOptions()...)
		ch := dial(t, cc, addr)
		st := begin(t, t.Context(), ch)
		_, err := exchange(st, "hello")
		require.NoError(t, err)
		stopped := make(chan struct{})
		go func() { s.GracefulStop(); close(stopped) }()
		require.Eventually(t, func() bool { _, _, err := call(t, ch); return err != nil }, 5*time.Second, time.Millisecond)
		answer, err := exchange(st, "still")
		require.NoError(t, err)
		require.Equal(t, "still alice", answer)
		select {
		case <-stopped:
			t.Fatal("the stream is open")
		default:
		}
		require.NoError(t, st.CloseSend())
		<-stopped
	})
}

// A client that says nothing holds up the end of a server no longer than a handshake
// may take.
func TestStopDuringHandshake(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	sc.Timeout = 500 * time.Millisecond
	s, addr := serve(t, sc, nil)
	_, _, err := call(t, dial(t, cc, addr)) // it serves now
	require.NoError(t, err)
	silent, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer silent.Close()
	before := time.Now()
	s.GracefulStop()
	require.Less(t, time.Since(before), 5*time.Second)
}

// slow notes how many of its calls run at a time.
type slow struct {
	*toy
	mu        sync.Mutex
	now, most int
}

func (s *slow) work() {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
}

func (s *slow) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	s.work()
	return s.toy.Attest(ctx, b, accept)
}

func (s *slow) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	s.work()
	return s.toy.Appraise(ctx, b, m)
}

// MaxExchanges bounds what a server works on, Attester and Verifier together, and
// all are served in the end.
func TestMaxExchanges(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	busy := &slow{toy: named("bob")}
	sc.Attester, sc.Verifier, sc.MaxExchanges = busy, busy, 2
	_, addr := serve(t, sc, nil, open().ServerOptions()...)
	var wg sync.WaitGroup
	for range 20 {
		ch := dial(t, cc, addr)
		wg.Go(func() {
			if _, _, err := call(t, ch, grpc.WaitForReady(true)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	busy.mu.Lock()
	defer busy.mu.Unlock()
	require.Equal(t, 2, busy.most)
}

// Newcomers that take every place hold up no connection that is asked anew.
func TestRenewalsBesideNewcomers(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	cc.Attester, sc.Verifier = nil, nil
	cc.Reattest, sc.Reattest = true, true
	busy := &stalling{toy: named("bob"), entered: make(chan struct{}), release: make(chan struct{})}
	sc.Attester, sc.MaxExchanges = busy, 1
	_, addr := serve(t, sc, nil)
	s := begin(t, t.Context(), dial(t, cc, addr))
	p, _ := peer.FromContext(s.Context())

	busy.stalls.Store(true)
	dial(t, cc, addr).Connect()
	<-busy.entered
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := p.AuthInfo.(AuthInfo).Conn().Reattest(ctx)
	close(busy.release)
	require.NoError(t, err)
}

// stalling is an Attester whose next call waits, if it is told so.
type stalling struct {
	*toy
	stalls           atomic.Bool
	entered, release chan struct{}
}

func (s *stalling) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if s.stalls.CompareAndSwap(true, false) {
		close(s.entered)
		<-s.release
	}
	return s.toy.Attest(ctx, b, accept)
}
