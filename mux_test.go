package expat

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

// goLive takes a rogue through the first exchange with a victim that asks and
// attests, both with mux.
func (r *rogue) goLive() {
	r.Helper()
	h := both
	h.Mux = true
	r.sendHello(h)
	r.receive()
	require.True(r, r.hello.Mux)
	r.send(wire.Request, r.ask())
	r.read(wire.Authenticator)
	r.send(wire.Authenticator, r.answer(&toy{}))
	r.read(wire.Result)
	r.sendResult(wire.ResultMap{})
	require.NoError(r, <-r.result)
}

// live is meet, mutual and with mux, after the first exchange.
func live(t testing.TB, victim authenticator.Role, change ...func(*Config)) *rogue {
	t.Helper()
	r := meet(t, victim, mutual, append(change, renewing)...)
	r.goLive()
	return r
}

// requireFailed checks that a live victim has failed: that its application gets
// no byte, what waits included, and what it told the rogue.
func (r *rogue) requireFailed(want told, stage Stage, alert Alert, side Side, reason error) {
	r.Helper()
	r.requireEnded()
	for range 2 {
		n, err := r.victim.Read(make([]byte, 16))
		require.Zero(r, n)
		requireFailure(r, err, stage, alert, side, reason)
		n, err = r.victim.Write([]byte("x"))
		require.Zero(r, n)
		requireFailure(r, err, stage, alert, side, reason)
	}
	requireFailure(r, r.victim.CloseWrite(), stage, alert, side, reason)
	requireFailure(r, r.victim.Handshake(), stage, alert, side, reason)
	requireFailure(r, r.victim.SetDeadline(time.Time{}), stage, alert, side, reason)
	_, err := r.victim.Reattest(context.Background())
	requireFailure(r, err, stage, alert, side, reason)
	require.Equal(r, want, r.lastWord())
	<-r.victim.mux.pumped
}

// requireEnded waits until the victim has failed.
func (r *rogue) requireEnded() {
	r.Helper()
	select {
	case <-r.victim.life.Done():
	case <-time.After(10 * time.Second):
		require.Fail(r, "the victim lives")
	}
}

// askedAnew has the victim ask anew, and reads its REQUEST.
func askedAnew(do func(r *rogue)) func(*rogue) {
	return func(r *rogue) {
		r.Helper()
		go func() { _, _ = r.victim.Reattest(context.Background()) }()
		var err error
		r.asked, err = r.session.ReceiveRequest(r.read(wire.Request))
		require.NoError(r, err)
		do(r)
	}
}

// What a peer may not do on a live connection. In each case data waits to be
// read, and is not.
func TestLiveOrder(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]struct {
		do     func(r *rogue)
		last   told
		stage  Stage
		alert  Alert
		side   Side
		reason error
	}{
		"type 0":                   {text("\x00\x00\x00\x00"), alerted(13), StageStream, AlertProtocol, Local, wire.ErrType},
		"type 7":                   {text("\x07\x00\x00\x00"), alerted(13), StageStream, AlertProtocol, Local, wire.ErrType},
		"bare application data":    {text("GET / HTTP/1.1\r\n\r\n"), alerted(13), StageStream, AlertProtocol, Local, wire.ErrType},
		"HELLO again":              {func(r *rogue) { r.sendHello(both) }, alerted(13), StageStream, AlertProtocol, Local, ErrProtocol},
		"DATA too large":           {func(r *rogue) { r.write(header(6, 16381)...) }, alerted(10), StageStream, AlertLimit, Local, wire.ErrTooLarge},
		"DATA empty":               {frameOf(wire.Data, ""), alerted(13), StageStream, AlertProtocol, Local, ErrProtocol},
		"AUTHENTICATOR, not asked": {frameOf(wire.Authenticator, "x"), alerted(13), StageStream, AlertProtocol, Local, ErrProtocol},
		"its header alone":         {func(r *rogue) { r.write(header(3, 200<<10)...) }, alerted(13), StageStream, AlertProtocol, Local, ErrProtocol},
		"RESULT, not shown":        {frameOf(wire.Result, "\xa1\x00\x00"), alerted(13), StageStream, AlertProtocol, Local, ErrProtocol},
		"REQUEST, malformed":       {frameOf(wire.Request, "x"), alerted(1), StageRequest, AlertMalformed, Local, authenticator.ErrDecode},
		"REQUEST used before":      {func(r *rogue) { r.send(wire.Request, r.raw) }, alerted(13), StageRequest, AlertProtocol, Local, ErrReattest},
		"ALERT":                    {frameOf(wire.Alert, "\x00\x07"), nothing, StageStream, AlertAttestationRejected, Peer, ErrPeerAlert},
		"ALERT 0":                  {frameOf(wire.Alert, "\x00\x00"), alerted(13), StageStream, AlertProtocol, Local, ErrProtocol},
		"REQUEST before RESULT": {func(r *rogue) {
			r.send(wire.Request, r.ask())
			r.read(wire.Authenticator)
			r.send(wire.Request, r.ask())
		}, alerted(13), StageResult, AlertProtocol, Local, ErrReattest},
		"RESULT 7": {func(r *rogue) {
			r.send(wire.Request, r.ask())
			r.read(wire.Authenticator)
			r.sendResult(wire.ResultMap{Code: 7})
		}, nothing, StageResult, AlertAttestationRejected, Peer, ErrReattest},
		"RESULT malformed": {func(r *rogue) {
			r.send(wire.Request, r.ask())
			r.read(wire.Authenticator)
			r.send(wire.Result, []byte("x"))
		}, alerted(1), StageResult, AlertMalformed, Local, ErrReattest},
		"ALERT for AUTHENTICATOR": {func(r *rogue) {
			r.send(wire.Request, r.ask())
			r.read(wire.Authenticator)
			r.send(wire.Alert, []byte{0, 11})
		}, nothing, StageResult, AlertTimeout, Peer, ErrReattest},
		"asked, garbage": {askedAnew(frameOf(wire.Authenticator, "x")), judged(1), StageValidate, AlertMalformed, Local, ErrReattest},
		"asked, empty": {askedAnew(func(r *rogue) {
			b, err := r.session.Refuse(r.asked)
			require.NoError(r, err)
			r.send(wire.Authenticator, b)
		}), judged(9), StageValidate, AlertRefused, Local, authenticator.ErrRefused},
		"asked, ALERT":  {askedAnew(frameOf(wire.Alert, "\x00\x0c")), nothing, StageValidate, AlertInternal, Peer, ErrReattest},
		"asked, RESULT": {askedAnew(frameOf(wire.Result, "\xa1\x00\x00")), alerted(13), StageValidate, AlertProtocol, Local, ErrReattest},
		"asked, stale Evidence (E-9)": {askedAnew(func(r *rogue) {
			r.send(wire.Authenticator, r.answer(stale(r.victim.Peer().Binding())))
		}), judged(7), StageAppraise, AlertAttestationRejected, Local, attestation.ErrRejected},
		"asked, no Evidence": {askedAnew(func(r *rogue) { r.send(wire.Authenticator, r.answer(nil)) }), judged(6), StageAppraise, AlertAttestationRequired, Local, attestation.ErrMissing},
	} {
		t.Run(name, func(t *testing.T) {
			roles(t, func(t *testing.T, victim authenticator.Role) {
				r := live(t, victim)
				r.send(wire.Data, []byte("nobody reads this"))
				d.do(r)
				r.requireFailed(d.last, d.stage, d.alert, d.side, d.reason)
			})
		})
	}
}

// A second authenticator while the first is judged, and a second request while
// the first is answered, are errors at once.
func TestLiveTwice(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		hold := make(chan struct{})
		var first bool
		r := live(t, victim, func(c *Config) {
			c.Verifier = &toy{appraise: func(ctx context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
				if !first {
					first = true
					return toyResult(b, 0)
				}
				close(hold)
				<-ctx.Done()
				return nil, ctx.Err()
			}}
		})
		askedAnew(func(r *rogue) {
			r.send(wire.Authenticator, r.answer(&toy{}))
			<-hold
			r.send(wire.Authenticator, []byte("x"))
		})(r)
		r.requireFailed(judged(13), StageValidate, AlertProtocol, Local, ErrReattest)
	})
	roles(t, func(t *testing.T, victim authenticator.Role) {
		var first bool
		r := live(t, victim, func(c *Config) {
			c.Attester = &toy{attest: func(ctx context.Context, b attestation.Binding) (*cmw.Message, error) {
				if !first {
					first = true
					return toyEvidence(b, toyMediaType)
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}
		})
		r.send(wire.Request, r.ask())
		r.send(wire.Request, r.ask())
		r.requireFailed(alerted(13), StageStream, AlertProtocol, Local, ErrReattest)
	})
}

// A RESULT that comes before the AUTHENTICATOR can have been read is about
// nothing. Without that rule a peer that does not read has us queue one
// AUTHENTICATOR after the other.
func TestResultBeforeAuthenticatorLeaves(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := live(t, victim)
		go func() { _, _ = r.victim.Write(make([]byte, 32<<20)) }() // which nobody reads
		left := func() int {
			r.victim.mux.out.mu.Lock()
			defer r.victim.mux.out.mu.Unlock()
			return len(r.victim.mux.out.data)
		}
		require.Eventually(t, func() bool {
			before := left()
			time.Sleep(200 * time.Millisecond)
			return before > 0 && before == left()
		}, 10*time.Second, time.Millisecond, "the socket is full")
		r.send(wire.Request, r.ask())
		require.Eventually(t, func() bool {
			r.victim.mux.mu.Lock()
			defer r.victim.mux.mu.Unlock()
			return r.victim.mux.shown != nil
		}, 5*time.Second, time.Millisecond)
		r.sendResult(wire.ResultMap{})
		r.requireEnded()
		_, err := r.victim.Read(make([]byte, 1))
		requireFailure(t, err, StageResult, AlertProtocol, Local, ErrReattest)
		require.NoError(t, r.tls.NetConn().Close())
		<-r.victim.mux.pumped
	})
}

// Where HELLO says that the peer will not ask it may not do so later; who cannot
// attest is not asked.
func TestLiveOneSided(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := meet(t, victim, direction(victim, true), renewing)
		h := attests
		h.Mux = true
		r.sendHello(h)
		r.receive()
		r.send(wire.Authenticator, r.answer(&toy{}))
		r.read(wire.Result)
		require.NoError(t, <-r.result)
		r.send(wire.Request, r.ask())
		r.requireFailed(alerted(13), StageStream, AlertProtocol, Local, ErrProtocol)
	})
	_, s := openMux(t, serverAttests)
	_, err := s.Reattest(t.Context())
	require.ErrorIs(t, err, ErrNoReattest)
}

// Without mux all that follows the exchange is the application's, whatever it
// looks like.
func TestPassthroughHasNoFrames(t *testing.T) {
	t.Parallel()
	for _, mux := range [][2]bool{{false, false}, {true, false}, {false, true}} {
		roles(t, func(t *testing.T, victim authenticator.Role) {
			r := meet(t, victim, direction(victim, true), func(c *Config) { c.Reattest = mux[0] })
			h := attests
			h.Mux = mux[1]
			r.sendHello(h)
			r.receive()
			require.Equal(t, mux[0], r.hello.Mux)
			r.send(wire.Authenticator, r.answer(&toy{}))
			r.read(wire.Result)
			require.NoError(t, <-r.result)
			looks := encode(t, wire.Request, r.ask())
			r.write(looks...)
			got := make([]byte, len(looks))
			_, err := io.ReadFull(r.victim, got)
			require.NoError(t, err)
			require.Equal(t, looks, got)
			_, err = r.victim.Reattest(t.Context())
			require.ErrorIs(t, err, ErrNoReattest)
			tc, ok := r.victim.Bare()
			require.True(t, ok)
			require.NotNil(t, tc)
		})
	}
	c, _ := openMux(t, mutual)
	_, ok := c.Bare()
	require.False(t, ok, "the TLS connection carries frames")
}

// ReattestEvery demands that the peer takes part.
func TestReattestEveryDemands(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(mutual)
	cc.ReattestEvery = time.Hour
	c, s, err1, err2 := connect(t, cc, sc)
	requireFailure(t, err1, StageHello, AlertAttestationRequired, Local, ErrNoReattest)
	require.ErrorContains(t, err1, "set Reattest there")
	var e *Error
	require.ErrorAs(t, err2, &e)
	require.Equal(t, [2]any{Peer, AlertAttestationRequired}, [2]any{e.Side, e.Alert})
	requireDead(t, c)
	requireDead(t, s)
}
