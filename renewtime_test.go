package expat

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// E-10: with a lifetime the peer is asked anew in time, without being told to,
// and where ReattestEvery is shorter, then.
func TestReattestInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lifetime, every, want time.Duration }{
		{time.Minute, 0, 40 * time.Second},
		{time.Hour, time.Minute, time.Minute},
		{time.Minute, time.Hour, 40 * time.Second},
		{0, time.Minute, time.Minute},
		{1900 * time.Millisecond, 0, time.Second * 2 / 3}, // RESULT tells whole seconds
	} {
		synctest.Test(t, func(t *testing.T) {
			cc, sc := newWorld(t).configs(serverAttests)
			var at []time.Time
			cc.Verifier, cc.ReattestEvery = &toy{lifetime: c.lifetime}, c.every
			cc.AfterReattest = func(_ *Conn, _ *attestation.Result, err error) {
				if errors.Is(err, net.ErrClosed) {
					return // the end of the test
				}
				require.NoError(t, err)
				at = append(at, time.Now())
			}
			renewing(cc)
			renewing(sc)
			cn, sn := delayPipe(oneWay)
			last := time.Now()
			client, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
			require.NoError(t, errors.Join(err1, err2))
			time.Sleep(20 * (c.want + 2*oneWay))
			synctest.Wait()
			require.GreaterOrEqual(t, len(at), 17)
			different := map[time.Duration]bool{}
			for _, now := range at {
				took := now.Sub(last)
				require.InDelta(t, c.want, took, float64(c.want)/10+float64(time.Second))
				different[took] = true
				last = now
			}
			require.Greater(t, len(different), 3, "the jitter")
			if c.lifetime != 0 {
				require.True(t, client.Expires().After(time.Now()))
				require.Equal(t, client.Expires(), last.Add(c.lifetime.Truncate(time.Second)))
			}
			echo(t, client, s, "hello")
			require.NoError(t, client.Close())
			require.NoError(t, s.Close())
		})
	}
}

// A peer that does not answer REQUEST loses its connection after the Timeout, or
// when the verdict runs out if that is earlier; the stream flows until then.
func TestReattestIgnored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lifetime, want time.Duration
		stage          Stage
		alert          Alert
		reason         error
	}{
		{0, 10 * time.Second, StageValidate, AlertTimeout, ErrReattest},
		{20 * time.Second, 10 * time.Second, StageValidate, AlertTimeout, context.DeadlineExceeded},
		{5 * time.Second, 5 * time.Second, StageLifetime, AlertAttestationRequired, ErrExpired},
	} {
		roles(t, func(t *testing.T, victim authenticator.Role) {
			synctest.Test(t, func(t *testing.T) {
				cn, sn := delayPipe(0)
				r := newWorld(t).meetOver(t, cn, sn, victim, mutual, renewing, func(cfg *Config) { cfg.Verifier = &toy{lifetime: c.lifetime} })
				require.NoError(t, r.tls.SetDeadline(time.Time{}))
				r.goLive()
				start := time.Now()
				result := make(chan error, 1)
				go func() { _, err := r.victim.Reattest(t.Context()); result <- err }()
				r.read(wire.Request)
				_, err := r.victim.Write([]byte("meanwhile"))
				require.NoError(t, err)
				require.Equal(t, "meanwhile", string(r.read(wire.Data)))
				requireFailure(t, <-result, c.stage, c.alert, Local, c.reason)
				require.Equal(t, c.want, time.Since(start))
				r.requireFailed(alerted(c.alert), c.stage, c.alert, Local, c.reason)
			})
		})
	}
}

// E-10: the peer's verdict on us runs out, as it does not ask anew. Whoever waits
// is woken.
func TestLiveExpires(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := delayPipe(0)
			r := newWorld(t).meetOver(t, cn, sn, victim, direction(victim, false), renewing)
			require.NoError(t, r.tls.SetDeadline(time.Time{}))
			h := asks
			h.Mux = true
			r.sendHello(h)
			r.receive()
			show := func(l time.Duration) {
				r.send(wire.Request, r.ask())
				r.read(wire.Authenticator)
				r.sendResult(wire.ResultMap{Lifetime: l})
			}
			show(time.Minute)
			require.NoError(t, <-r.result)
			start := time.Now()
			time.Sleep(30 * time.Second)
			show(time.Hour)
			synctest.Wait()
			require.Equal(t, start.Add(time.Hour+30*time.Second), r.victim.Expires())
			show(time.Minute)
			errs := make(chan error, 1)
			go func() { _, err := r.victim.Read(make([]byte, 1)); errs <- err }()
			requireFailure(t, <-errs, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
			require.Equal(t, 90*time.Second, time.Since(start))
			requireExpired(t, r.victim)
			r.requireFailed(alerted(6), StageLifetime, AlertAttestationRequired, Local, ErrExpired)
		})
	})
}

// Both sides write and neither reads: what belongs to a renewal lies behind data,
// so it ends at its deadline, with an error on both sides and nothing stuck.
func TestReattestBehindUnreadData(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual, func(cc, sc *Config) { cc.Timeout, sc.Timeout = time.Second, time.Second })
	errs, ended := make(chan error, 1), make(chan struct{})
	go func() { _, err := c.Write(make([]byte, 64<<20)); errs <- err }()
	go func() { _, _ = s.Write(make([]byte, 64<<20)); close(ended) }() // what c drops in the end counts as written
	time.Sleep(300 * time.Millisecond)
	start := time.Now()
	_, err := c.Reattest(t.Context())
	requireFailure(t, err, StageValidate, AlertTimeout, Local, ErrReattest)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Error(t, <-errs)
	<-ended
	_, err = io.Copy(io.Discard, s)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrExpired)
}

// RFC 9261, Section 4: contexts are unique, and are remembered up to a limit.
func TestContextsRunOut(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, serverAttests)
	for range authenticator.MaxContexts - 1 {
		_, err := c.mux.x.session.NewRequest(authenticator.RequestOptions{})
		require.NoError(t, err)
	}
	echo(t, c, s, "hello")
	_, err := c.Reattest(t.Context())
	requireFailure(t, err, StageRequest, AlertLimit, Local, ErrReattest)
	require.ErrorIs(t, err, authenticator.ErrLimit)
	_, err = s.Read(make([]byte, 1))
	requireFailure(t, err, StageStream, AlertLimit, Peer, ErrPeerAlert)
}

// When the peer is asked anew, for every shape of verdict.
func TestDue(t *testing.T) {
	t.Parallel()
	made := (&prepared{now: time.Now}).instant()
	for _, c := range []struct{ every, lifetime, want time.Duration }{
		{0, 0, 0}, {time.Hour, 0, time.Hour}, {0, 90 * time.Minute, time.Hour}, {time.Minute, time.Hour, time.Minute}, {time.Hour, 3 * time.Minute, 2 * time.Minute},
	} {
		x := &exchange{prepared: &prepared{Config: &Config{ReattestEvery: c.every}}}
		x.made = made
		if c.lifetime != 0 {
			x.ours = made.add(c.lifetime)
		}
		for range 50 {
			due := x.due()
			if c.want == 0 {
				require.True(t, due.never())
				continue
			}
			require.InDelta(t, c.want, due.at.Sub(made.at), float64(c.want)/10)
		}
	}
}
