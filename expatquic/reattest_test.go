package expatquic

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

// renewable returns Configs that agree on re-attestation.
func renewable(t *testing.T, change ...func(client, server *expat.Config)) (c, s *Conn) {
	t.Helper()
	client, server := newWorld(t).configs(mutual)
	client.Reattest, server.Reattest = true, true
	for _, f := range change {
		f(client, server)
	}
	return connect(t, client, server)
}

// Either side asks the other anew while streams carry data.
func TestReattest(t *testing.T) {
	t.Parallel()
	c, s := renewable(t)
	for range 3 {
		for _, conn := range []*Conn{c, s} {
			before := conn.Peer()
			r, err := conn.Reattest(within(t))
			require.NoError(t, err)
			require.NotSame(t, before, r)
			require.Same(t, r, conn.Peer())
			require.NotEqual(t, before.Binding().Binder(), r.Binding().Binder(), "each exchange has a context of its own")
		}
		echo(t, c, s)
		echo(t, s, c)
	}
}

// Both ask at the same time, again and again.
func TestReattestCrossing(t *testing.T) {
	t.Parallel()
	c, s := renewable(t)
	errs := make(chan error, 2)
	for _, conn := range []*Conn{c, s} {
		go func() {
			for range 10 {
				if _, err := conn.Reattest(context.Background()); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	require.NoError(t, wait(t, errs))
	require.NoError(t, wait(t, errs))
	echo(t, c, s)
}

// Verdicts with a lifetime are renewed before they run out, without being told.
func TestReattestByItself(t *testing.T) {
	t.Parallel()
	var renewed atomic.Int32
	c, s := renewable(t, func(client, server *expat.Config) {
		client.Verifier, server.Verifier = &toy{lifetime: 2 * time.Second}, &toy{lifetime: 2 * time.Second}
		client.AfterReattest = func(*expat.Conn, *attestation.Result, error) { renewed.Add(1) }
	})
	require.Eventually(t, func() bool { return renewed.Load() >= 2 }, 15*time.Second, 10*time.Millisecond)
	echo(t, c, s)
	require.True(t, c.Expires().After(time.Now()))
}

// A peer that turns bad loses the connection, at once and with all streams.
func TestReattestRefused(t *testing.T) {
	t.Parallel()
	turned := errors.New("turned bad")
	for _, direction := range []string{serverAttests, clientAttests} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			var bad atomic.Bool
			told := make(chan error, 1)
			c, s := renewable(t, func(client, server *expat.Config) {
				judge := &toy{appraise: func() error {
					if bad.Load() {
						return turned
					}
					return nil
				}}
				after := func(_ *expat.Conn, _ *attestation.Result, err error) { told <- err }
				if direction == serverAttests {
					client.Verifier, client.AfterReattest = judge, after
				} else {
					server.Verifier, server.AfterReattest = judge, after
				}
			})
			asks, shows := c, s
			if direction == clientAttests {
				asks, shows = s, c
			}
			str, err := shows.OpenStreamSync(within(t))
			require.NoError(t, err)
			_, err = str.Write([]byte("x"))
			require.NoError(t, err)
			bad.Store(true)
			_, err = asks.Reattest(within(t))
			requireFailure(t, err, expat.StageAppraise, expat.AlertAttestationRejected, expat.Local, turned)
			require.ErrorIs(t, err, expat.ErrReattest)
			require.Error(t, asks.Context().Err(), "it is closed before Reattest returns")
			require.ErrorIs(t, wait(t, told), turned)

			_, err = io.ReadAll(str)
			alert, ok := AlertOf(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, expat.AlertAttestationRejected, alert)
			requireClosed(t, asks.QUIC(), false, expat.AlertAttestationRejected)
			requireClosed(t, shows.QUIC(), true, expat.AlertAttestationRejected)
			for _, conn := range []*Conn{asks, shows} {
				_, err = conn.OpenStreamSync(within(t))
				require.ErrorIs(t, err, expat.ErrReattest)
				require.ErrorIs(t, conn.SendDatagram([]byte("x")), expat.ErrReattest)
				_, err = conn.Reattest(within(t))
				require.ErrorIs(t, err, expat.ErrReattest)
			}
		})
	}
}

// It is agreed in the exchange or there is none.
func TestReattestNotAgreed(t *testing.T) {
	t.Parallel()
	c, s := renewable(t, func(_, server *expat.Config) { server.Reattest = false })
	for _, conn := range []*Conn{c, s} {
		_, err := conn.Reattest(within(t))
		require.ErrorIs(t, err, expat.ErrNoReattest)
	}
	echo(t, c, s)

	client, server := newWorld(t).configs(mutual)
	client.ReattestEvery = time.Minute
	at := listen(t, server, fast())
	at.accept()
	_, err := Dial(within(t), at.Addr().String(), client, fast())
	requireFailure(t, err, expat.StageHello, expat.AlertAttestationRequired, expat.Local, expat.ErrNoReattest)
}

// A peer that closes while it is asked anew shows to who asked.
func TestReattestAgainstEnd(t *testing.T) {
	t.Parallel()
	slow := &toy{entered: make(chan struct{}), release: make(chan struct{})}
	var later atomic.Bool
	c, s := renewable(t, func(client, _ *expat.Config) {
		client.Verifier = switched{now: &toy{}, then: slow, when: &later}
	})
	later.Store(true)
	asked := make(chan error, 1)
	go func() { _, err := c.Reattest(context.Background()); asked <- err }()
	wait(t, slow.entered)
	require.NoError(t, s.Close())
	err := wait(t, asked)
	require.ErrorIs(t, err, expat.ErrReattest)
	require.ErrorIs(t, err, expat.ErrLost)
}

// switched is one Verifier, and later another.
type switched struct {
	now, then *toy
	when      *atomic.Bool
}

func (v switched) MediaTypes() []string { return v.now.MediaTypes() }

func (v switched) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if v.when.Load() {
		return v.then.Appraise(ctx, b, m)
	}
	return v.now.Appraise(ctx, b, m)
}

// What may not happen on the exchange's stream of an open connection ends it.
func TestOpenStreamViolations(t *testing.T) {
	t.Parallel()
	frame := func(typ wire.Type, payload ...byte) []byte {
		b, err := wire.Append(nil, typ, payload)
		require.NoError(t, err)
		return b
	}
	for name, c := range map[string]struct {
		do       func(*quic.Stream)
		reattest bool
		stage    expat.Stage
		alert    expat.Alert
		side     expat.Side
		reason   error
	}{
		"end":               {func(s *quic.Stream) { _ = s.Close() }, true, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrLost},
		"reset":             {func(s *quic.Stream) { s.CancelWrite(1) }, true, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrLost},
		"half a frame":      {func(s *quic.Stream) { _, _ = s.Write([]byte{2, 0}); _ = s.Close() }, true, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrLost},
		"DATA":              {func(s *quic.Stream) { _, _ = s.Write(frame(wire.Data, 'x')) }, true, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrProtocol},
		"HELLO":             {func(s *quic.Stream) { _, _ = s.Write(frame(wire.Hello, 0xa0)) }, true, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrProtocol},
		"RESULT":            {func(s *quic.Stream) { _, _ = s.Write(frame(wire.Result, 0xa0)) }, true, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrProtocol},
		"REQUEST unagreed":  {func(s *quic.Stream) { _, _ = s.Write(frame(wire.Request, 0)) }, false, expat.StageStream, expat.AlertProtocol, expat.Local, expat.ErrProtocol},
		"REQUEST malformed": {func(s *quic.Stream) { _, _ = s.Write(frame(wire.Request, 0)) }, true, expat.StageRequest, expat.AlertMalformed, expat.Local, expat.ErrReattest},
		"huge":              {func(s *quic.Stream) { _, _ = s.Write([]byte{3, 0xff, 0xff, 0xff}) }, true, expat.StageStream, expat.AlertLimit, expat.Local, wire.ErrTooLarge},
		"ALERT":             {func(s *quic.Stream) { _, _ = s.Write(frame(wire.Alert, 0, 8)) }, true, expat.StageStream, expat.AlertVerifierUnavailable, expat.Peer, expat.ErrPeerAlert},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rogue, victim := renewable(t, func(client, server *expat.Config) { client.Reattest, server.Reattest = c.reattest, c.reattest })
			c.do(rogue.stream.str)
			requireClosed(t, victim.QUIC(), false, c.alert)
			requireClosed(t, rogue.QUIC(), true, c.alert)
			_, err := victim.OpenStream()
			requireFailure(t, err, c.stage, c.alert, c.side, c.reason)
		})
	}
}
