package expat

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// between is a connection on which something happens between the arrival of bytes
// and the return of Read.
type between struct {
	net.Conn
	happens atomic.Pointer[func()]
}

func (c *between) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if f := c.happens.Load(); f != nil {
		(*f)()
	}
	return n, err
}

// E-10: bytes that arrive in the moment in which a verdict runs out are not
// delivered, nor those that are deciphered already.
func TestReadInTheMomentOfExpiry(t *testing.T) {
	t.Parallel()
	for _, bare := range []bool{false, true} {
		for _, buffered := range []bool{false, true} {
			cc, sc := newWorld(t).configs(serverAttests)
			cn, sn := tlspair.Pipe(t)
			under := &between{Conn: cn}
			c, s, err1, err2 := handshakes(t, Client(under, cc), Server(sn, sc))
			require.NoError(t, errors.Join(err1, err2))
			var from io.Reader = c
			if bare {
				from, _ = c.Bare()
			}
			if buffered {
				_, err := s.Write([]byte("long"))
				require.NoError(t, err)
				_, err = io.ReadFull(from, make([]byte, 1))
				require.NoError(t, err)
				c.expire()
			} else {
				expire := func() { c.fail(errExpired) }
				under.happens.Store(&expire)
				_, err := s.Write([]byte("late"))
				require.NoError(t, err)
			}
			n, err := from.Read(make([]byte, 16))
			require.Error(t, err)
			require.Zero(t, n, "bare %v, buffered %v", bare, buffered)
			if !bare {
				require.ErrorIs(t, err, ErrExpired)
			}
			_ = c.Close()
			_ = s.Close()
		}
	}
}

// E-10: a peer that does not read cannot hold up the end of a verdict with the
// close_notify that it does not take.
func TestExpiryWaitsForNoReader(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := net.Pipe()
			r := newWorld(t).meetOver(t, cn, sn, victim, direction(victim, true), func(c *Config) { c.Verifier = &toy{lifetime: time.Second} })
			require.NoError(t, r.tls.SetDeadline(time.Time{}))
			r.receive() // first: the pipe has no buffer
			r.sendHello(attests)
			r.send(wire.Authenticator, r.answer(&toy{}))
			r.read(wire.Result)
			require.NoError(t, <-r.result)
			start := time.Now()
			tc, ok := r.victim.Bare()
			require.True(t, ok)
			go func() { // nobody reads here
				time.Sleep(time.Second + grace/2)
				r.write([]byte("late")...)
			}()
			n, err := tc.Read(make([]byte, 16))
			require.Error(t, err)
			require.Zero(t, n)
			require.Equal(t, time.Second, time.Since(start))
			time.Sleep(grace + time.Millisecond)
			_, err = r.tls.NetConn().Write([]byte("x"))
			require.ErrorIs(t, err, io.ErrClosedPipe, "the connection is closed")
			_ = r.tls.Close()
		})
	})
}

// refusing is a Verifier that accepts the first time and refuses from then on.
func refusing() *toy {
	var asked atomic.Bool
	return &toy{appraise: func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		if asked.Swap(true) {
			return nil, attestation.Reject(errors.New("it has changed"))
		}
		return toyResult(b, 0)
	}}
}

// An application that closes when it is told of a failure, as all do, does not
// turn the failure into a good end for the peer.
func TestCloseAfterFailure(t *testing.T) {
	t.Parallel()
	for range 30 {
		c, s := openMux(t, serverAttests, func(cc, _ *Config) { cc.Verifier = refusing() })
		read := make(chan error, 1)
		go func() { _, err := io.Copy(io.Discard, s); read <- err }()
		_, err := c.Reattest(t.Context())
		requireFailure(t, err, StageAppraise, AlertAttestationRejected, Local, ErrReattest)
		require.NoError(t, c.Close())
		requireFailure(t, <-read, StageResult, AlertAttestationRejected, Peer, ErrReattest)
	}
}

// A connection that is closed right after a renewal ends in good order: what
// belongs to the renewal leaves before.
func TestCloseAfterRenewal(t *testing.T) {
	t.Parallel()
	for range 50 {
		c, s := openMux(t, serverAttests)
		read := make(chan error, 1)
		go func() { _, err := io.ReadAll(s); read <- err }()
		_, err := c.Reattest(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, <-read)
		require.Equal(t, answerDone, answerOf(s), "the peer has its RESULT")
	}
}

// Who closes while a Write waits is not kept waiting.
func TestCloseEndsWrite(t *testing.T) {
	t.Parallel()
	c, _ := openMux(t, serverAttests)
	wrote := make(chan error, 1)
	go func() { _, err := c.Write(make([]byte, 64<<20)); wrote <- err }() // nobody reads
	require.Eventually(t, c.mux.out.busy, 5*time.Second, time.Millisecond)
	start := time.Now()
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-wrote, net.ErrClosed)
	require.Less(t, time.Since(start), grace)
}

// A hook that asks anew waits for itself, but not longer than the connection
// lasts.
func TestReattestInHook(t *testing.T) {
	t.Parallel()
	hook := make(chan error, 1)
	var once atomic.Bool
	c, _ := openMux(t, serverAttests, func(cc, _ *Config) {
		cc.BeforeReattest = func(c *Conn) {
			if once.CompareAndSwap(false, true) {
				_, err := c.Reattest(context.Background())
				hook <- err
			}
		}
	})
	go func() { _, _ = c.Reattest(context.Background()) }()
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, c.Close())
	select {
	case err := <-hook:
		require.ErrorIs(t, err, net.ErrClosed)
	case <-time.After(5 * time.Second):
		require.Fail(t, "it waits for ever")
	}
}

// Intervals that the arithmetic of times cannot bear are refused; the largest that
// is accepted lies in the future.
func TestReattestEveryBounds(t *testing.T) {
	t.Parallel()
	for every, good := range map[time.Duration]bool{
		MaxReattestEvery: true, MaxReattestEvery + 1: false, math.MaxInt64: false,
	} {
		cc, _ := newWorld(t).configs(serverAttests)
		cc.ReattestEvery = every
		p, err := cc.prepare()
		if !good {
			require.ErrorIs(t, err, ErrConfig)
			continue
		}
		require.NoError(t, err)
		x := &exchange{prepared: p}
		x.made = p.instant()
		for range 50 {
			require.InDelta(t, every, x.due().at.Sub(x.made.at), float64(every)/10)
			require.InDelta(t, every, x.due().wall.Sub(x.made.wall), float64(every)/10)
		}
		m := &mux{x: x, closed: [2]bool{true, false}}
		require.Equal(t, x.made.add(2*every), m.limit())
	}
}

// What was sent and when to stop waiting is not kept by a connection for as long
// as it, or the deadline, lasts.
func TestNothingIsKept(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, serverAttests)
	_, err := c.Reattest(t.Context())
	require.NoError(t, err)
	echo(t, s, c, "hello") // the AUTHENTICATOR has left before
	s.mux.mu.Lock()
	shown := s.mux.shown
	s.mux.mu.Unlock()
	s.mux.out.mu.Lock()
	require.Nil(t, shown.frames)
	s.mux.out.mu.Unlock()

	require.NoError(t, c.SetDeadline(time.Now().Add(24*time.Hour)))
	require.NoError(t, c.Close())
	for _, d := range []*deadline{&c.mux.readBy, &c.mux.writeBy} {
		d.mu.Lock()
		require.False(t, d.timer.Stop(), "stopped already")
		d.mu.Unlock()
	}
}

// record is the other half of a channel that carries given bytes.
type record struct {
	*tls.Conn
	r io.Reader
}

func (r record) Read(b []byte) (int, error) { return r.r.Read(b) }

// DATA has no place on a stream that is the exchange's own.
func TestNoDataOnOwnStream(t *testing.T) {
	t.Parallel()
	c, s := net.Pipe()
	defer c.Close()
	defer s.Close()
	for _, apart := range []bool{false, true} {
		conn := newConn(c, authenticator.Client)
		x := &exchange{prepared: &prepared{Config: &Config{}, maxAuth: 1 << 10}, conn: conn, tls: record{r: bytesOf(t, wire.Data, "x")}}
		m := newMux(conn, x)
		x.state = state{ask: askDone, answer: answerNone, live: true, apart: apart}
		violation, err := m.step()
		require.NoError(t, err)
		if !apart {
			require.Nil(t, violation)
			continue
		}
		requireFailure(t, violation, StageStream, AlertProtocol, Local, ErrProtocol)
	}
}

// A peer that has us answer one REQUEST after the other is slowed down.
func TestRequestsArePaced(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := delayPipe(0)
			r := newWorld(t).meetOver(t, cn, sn, victim, mutual, renewing)
			require.NoError(t, r.tls.SetDeadline(time.Time{}))
			r.goLive()
			again := func() {
				r.send(wire.Request, r.ask())
				r.read(wire.Authenticator)
				r.sendResult(wire.ResultMap{})
			}
			start := time.Now()
			for range answerBurst {
				again()
			}
			require.Zero(t, time.Since(start), "those who ask now and then wait for nothing")
			for range 50 {
				again()
			}
			require.Equal(t, 50*answerInterval, time.Since(start))
			time.Sleep(time.Hour)
			start = time.Now()
			for range answerBurst {
				again()
			}
			require.Zero(t, time.Since(start))
			again()
			require.Equal(t, answerInterval, time.Since(start))
			require.NoError(t, r.victim.Close())
			_ = r.tls.Close()
		})
	})
}

// stuck is a connection on which writes can be made to fail.
type stuck struct {
	net.Conn
	fails atomic.Bool
}

var errStuck = errors.New("no route to host")

func (c *stuck) Write(b []byte) (int, error) {
	if c.fails.Load() {
		return 0, errStuck
	}
	return c.Conn.Write(b)
}

// A Read ends with the reason for which a write has failed, not with the deadline by
// which it was made to end: callers try again after that.
func TestWriteFailsLive(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{false, true} {
		cc, sc := newWorld(t).configs(serverAttests)
		renewing(cc)
		renewing(sc)
		cn, sn := tlspair.Pipe(t)
		under := &stuck{Conn: cn}
		c, s, err1, err2 := handshakes(t, Client(under, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		under.fails.Store(true)
		var err error
		if asked {
			_, err = c.Reattest(t.Context())
			requireFailure(t, err, StageValidate, AlertProtocol, Local, ErrReattest)
		} else {
			_, err = c.Write([]byte("x"))
		}
		require.ErrorIs(t, err, errStuck)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, errStuck)
		var timeout interface{ Timeout() bool }
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
		_ = c.Close()
		_ = s.Close()
	}
}

// bytesOf is a frame to be read.
func bytesOf(t testing.TB, typ wire.Type, payload string) io.Reader {
	t.Helper()
	return bytes.NewReader(encode(t, typ, []byte(payload)))
}

func answerOf(c *Conn) answer {
	c.mux.mu.Lock()
	defer c.mux.mu.Unlock()
	return c.mux.x.state.answer
}

// Close ends a renewal in the moment in which the peer ends the connection.
func TestPeerEndsWhileClosed(t *testing.T) {
	t.Parallel()
	nc, _ := net.Pipe()
	conn := newConn(nc, authenticator.Client)
	m := newMux(conn, &exchange{prepared: &prepared{Config: &Config{}}, conn: conn, out: newSender(nil, nil, nil, nil)})
	m.x.state = state{ask: askPending, answer: answerNone, live: true}
	m.mu.Lock()
	ended := make(chan struct{})
	go func() { defer close(ended); m.ended(io.EOF) }()
	time.Sleep(50 * time.Millisecond) // it waits for the lock
	conn.end(net.ErrClosed)
	m.mu.Unlock()
	<-ended
	require.False(t, m.closed[peersEnd])
	_ = nc.Close()
}
