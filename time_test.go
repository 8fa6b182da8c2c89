package expat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

// Time in this file is virtual: a test that names a duration means exactly that.

const oneWay = 50 * time.Millisecond

// after is when something returned, from start.
func after(start time.Time, f func()) time.Duration {
	f()
	return time.Since(start)
}

// DESIGN 5: the client may write one round trip later than with plain TLS 1.3 if
// the server attests, two if the client does or both.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		direction   string
		clientFirst bool
		extra       int
	}{
		"server attests":       {serverAttests, false, 1},
		"client attests":       {clientAttests, false, 2},
		"mutual":               {mutual, false, 2},
		"mutual, client first": {mutual, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				cc, sc := w.configs(c.direction)
				sc.ClientFirst = c.clientFirst

				cn, sn := delayPipe(oneWay)
				plain, server := tls.Client(cn, cc.TLS), tls.Server(sn, sc.TLS)
				start := time.Now()
				go server.Handshake()
				require.Equal(t, 2*oneWay, after(start, func() { require.NoError(t, plain.Handshake()) }))
				cn.Close()
				sn.Close()

				cn, sn = delayPipe(oneWay)
				client, s := Client(cn, cc), Server(sn, sc)
				start = time.Now()
				result := make(chan error, 1)
				go func() { result <- s.Handshake() }()
				took := after(start, func() { require.NoError(t, client.Handshake()) })
				require.Equal(t, time.Duration(1+c.extra)*2*oneWay, took)
				require.NoError(t, <-result)
				require.NoError(t, client.Close())
				require.NoError(t, s.Close())
			})
		})
	}
}

// steps of a rogue that falls silent after each, in an exchange of both.
var silences = []struct {
	name  string
	do    func(r *rogue)
	stage Stage
}{
	{"after TLS", func(*rogue) {}, StageHello},
	{"after HELLO", func(r *rogue) { r.sendHello(both); r.receive() }, StageValidate},
	{"after REQUEST", func(r *rogue) { r.send(wire.Request, r.ask()); r.read(wire.Authenticator) }, StageValidate},
	{"after RESULT", func(r *rogue) { r.sendResult(wire.ResultMap{}) }, StageValidate},
}

// I-17: the deadline bounds the handshake whatever the peer does not send.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		for n, s := range silences {
			synctest.Test(t, func(t *testing.T) {
				cn, sn := delayPipe(oneWay)
				start := time.Now()
				r := newWorld(t).meetOver(t, cn, sn, victim, mutual)
				for _, s := range silences[:n+1] {
					s.do(r)
				}
				requireFailure(t, <-r.result, s.stage, AlertTimeout, Local, context.DeadlineExceeded)
				require.Equal(t, 10*time.Second, time.Since(start), s.name)
				require.Equal(t, alerted(11), r.lastWord())
				requireDead(t, r.victim)
			})
		}
		synctest.Test(t, func(t *testing.T) { // after AUTHENTICATOR: the victim waits for REQUEST, then for RESULT
			for _, ask := range []bool{false, true} {
				cn, sn := delayPipe(oneWay)
				r := newWorld(t).meetOver(t, cn, sn, victim, mutual)
				r.sendHello(both)
				r.receive()
				if ask {
					r.send(wire.Request, r.ask())
				}
				r.send(wire.Authenticator, r.answer(&toy{}))
				err := <-r.result
				if ask {
					requireFailure(t, err, StageResult, AlertTimeout, Local, context.DeadlineExceeded)
					require.Equal(t, nothing, r.lastWord(), "the rogue could be open")
				} else {
					requireFailure(t, err, StageRequest, AlertTimeout, Local, context.DeadlineExceeded)
					require.Equal(t, alerted(11), r.lastWord())
				}
				var e *Error
				require.ErrorAs(t, err, &e)
				require.True(t, e.Timeout())
				requireDead(t, r.victim)
			}
		})
	})
}

// I-17: a byte a second does not extend the deadline.
func TestSlowPeer(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := delayPipe(oneWay)
			start := time.Now()
			r := newWorld(t).meetOver(t, cn, sn, victim, mutual)
			b, err := both.Encode()
			require.NoError(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, c := range encode(t, wire.Hello, b) {
					r.write(c)
					time.Sleep(time.Second)
				}
			}()
			requireFailure(t, <-r.result, StageHello, AlertTimeout, Local, context.DeadlineExceeded)
			require.Equal(t, 10*time.Second, time.Since(start))
			requireDead(t, r.victim)
			<-done
		})
	})
}

// I-17: a peer that never reads, over a pipe without a buffer, so that the first
// frame hangs already.
func TestPeerNeverReads(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := net.Pipe()
			start := time.Now()
			r := newWorld(t).meetOver(t, cn, sn, victim, mutual)
			requireFailure(t, <-r.result, StageHello, AlertTimeout, Local, context.DeadlineExceeded)
			require.Equal(t, 10*time.Second+grace, time.Since(start), "with the time to tell the peer")
			requireDead(t, r.victim)
		})
	})
}

// big is an identity whose authenticator has about 200 KiB with big Evidence.
func (w *world) big(t testing.TB, name string) tls.Certificate {
	t.Helper()
	return w.issue(t, func(c *x509.Certificate) {
		c.DNSNames = []string{name}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}, Value: make([]byte, 140<<10)}}
	})
}

func bigToy() *toy {
	const size = 60 << 10
	return &toy{
		attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
			v := append(append([]byte{}, b.Binder()...), make([]byte, size)...)
			return cmw.NewRecord(toyMediaType, v, cmw.Evidence)
		},
		appraise: func(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
			if v := m.Value(); len(v) != size+len(b.Binder()) || !b.MatchBinder(v[:len(b.Binder())]) {
				return nil, attestation.ErrRejected
			}
			return toyResult(b, 0)
		},
	}
}

// Both sides send 200 KiB at the same time over a pipe without a buffer: each
// goes on reading while it writes.
func TestLargeBothWays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cc, sc := w.configs(mutual)
		cc.Identities, sc.Identities = []tls.Certificate{w.big(t, "client.test")}, []tls.Certificate{w.big(t, serverName)}
		sent := 0
		cc.Trace = &Trace{FrameSent: func(f Frame) {
			if f.Name == "AUTHENTICATOR" {
				sent = f.Size
			}
		}}
		cc.Attester, cc.Verifier, sc.Attester, sc.Verifier = bigToy(), bigToy(), bigToy(), bigToy()
		cn, sn := net.Pipe()
		c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		require.Greater(t, sent, 200<<10)
		go func() { _, _ = c.Write([]byte("hello")) }()
		got := make([]byte, 5)
		_, err := io.ReadFull(s, got)
		require.NoError(t, err)
		require.NoError(t, cn.Close())
		require.NoError(t, sn.Close())
	})
}

// A context that is cancelled at any moment ends the handshake at that moment,
// with its error, on either side.
func TestCancelled(t *testing.T) {
	t.Parallel()
	for at := time.Duration(0); at <= 8*oneWay; at += oneWay / 2 {
		for _, server := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				cc, sc := newWorld(t).configs(mutual)
				cn, sn := delayPipe(oneWay)
				own, other := Client(cn, cc), Server(sn, sc)
				if server {
					own, other = other, own
				}
				result := make(chan error, 1)
				go func() { result <- other.Handshake() }()
				start := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				stop := time.AfterFunc(at, cancel)
				err := own.HandshakeContext(ctx)
				took := time.Since(start)
				done := 6 * oneWay
				if server {
					done = 5 * oneWay
				}
				if at > done {
					require.NoError(t, err)
					require.NoError(t, <-result)
					require.Equal(t, done, took)
					stop.Stop()
					cancel()
					time.Sleep(time.Minute) // the context has no effect any more
					echo(t, own, other, "hello")
				} else if at < done { // at the very moment either may win
					require.ErrorIs(t, err, context.Canceled)
					var e *Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, [2]any{Local, AlertInternal}, [2]any{e.Side, e.Alert})
					require.False(t, e.Timeout())
					require.Equal(t, at, took)
					requireDead(t, own)
					if peer := <-result; peer != nil {
						require.ErrorAs(t, peer, &e)
						requireDead(t, other)
					} else { // it was open already: no ALERT may look like data
						n, err := other.Read(make([]byte, 16))
						require.Zero(t, n)
						require.Error(t, err)
					}
				} else {
					<-result
				}
				_, _ = own.Close(), other.Close()
			})
		}
	}
}

// Who gives up while the Verifier is at work has not met a Verifier that is down.
func TestCancelledWhileAppraising(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cc, sc := newWorld(t).configs(serverAttests)
	cc.Verifier = &toy{appraise: func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
		cancel()
		return nil, attestation.ErrUnavailable
	}}
	cn, sn := net.Pipe()
	c, s := Client(cn, cc), Server(sn, sc)
	peer := make(chan error, 1)
	go func() { peer <- s.Handshake() }()
	requireFailure(t, c.HandshakeContext(ctx), StageAppraise, AlertInternal, Local, context.Canceled)
	require.Error(t, <-peer)
}

// A cause that the user gave is in the error beside context.Canceled.
func TestCancelledWithCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("shutting down")
	for _, at := range []time.Duration{oneWay, 3 * oneWay} {
		synctest.Test(t, func(t *testing.T) {
			cc, _ := newWorld(t).configs(serverAttests)
			cn, sn := delayPipe(oneWay)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(at, func() { cancel(cause) })
			c := Client(cn, cc)
			err := c.HandshakeContext(ctx)
			requireFailure(t, err, StageTLS, AlertInternal, Local, context.Canceled)
			require.ErrorIs(t, err, cause)
			requireDead(t, c)
			sn.Close()
		})
	}
}

// Close ends a handshake at once, in any step, an Attester at work included.
func TestCloseDuringHandshake(t *testing.T) {
	t.Parallel()
	for at := time.Duration(0); at < 5*oneWay; at += oneWay / 2 {
		synctest.Test(t, func(t *testing.T) {
			cc, sc := newWorld(t).configs(serverAttests)
			sc.Attester = &toy{attest: func(ctx context.Context, _ attestation.Binding) (*cmw.Message, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			cn, sn := delayPipe(oneWay)
			c, s := Client(cn, cc), Server(sn, sc)
			result := make(chan error, 1)
			go func() { result <- c.Handshake() }()
			start := time.Now()
			time.AfterFunc(at, func() { _ = s.Close() })
			err := s.Handshake()
			require.ErrorIs(t, err, net.ErrClosed)
			require.Equal(t, at, time.Since(start))
			requireDead(t, s)
			require.Error(t, <-result)
			requireDead(t, c)
			require.False(t, strings.Contains(err.Error(), "peer"), "%v", err)
		})
	}
}
