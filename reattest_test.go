package expat

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// renewing turns re-attestation on, on both sides, and leaves when to the test.
func renewing(c *Config) { c.Reattest = true }

// openMux returns both ends of a good connection on which frames go on.
func openMux(t testing.TB, direction string, change ...func(client, server *Config)) (c, s *Conn) {
	t.Helper()
	cc, sc := newWorld(t).configs(direction)
	renewing(cc)
	renewing(sc)
	for _, f := range change {
		f(cc, sc)
	}
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.NotNil(t, c.mux)
	require.NotNil(t, s.mux)
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	return c, s
}

// E-8: each side asks anew when it likes, both at once too, and knows the latest
// Result.
func TestReattest(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	first := []*attestation.Result{c.Peer(), s.Peer()}
	for range 3 {
		var wg sync.WaitGroup
		for _, conn := range []*Conn{c, s} {
			for range 2 {
				wg.Go(func() {
					before := conn.Peer()
					r, err := conn.Reattest(t.Context())
					if err != nil || r == before {
						t.Errorf("%v, %v", r, err)
					}
				})
			}
		}
		wg.Wait()
		echo(t, c, s, "hello")
		echo(t, s, c, "hello")
	}
	for i, conn := range []*Conn{c, s} {
		require.NotSame(t, first[i], conn.Peer())
		require.NotEqual(t, first[i].Binding().Binder(), conn.Peer().Binding().Binder())
		require.Equal(t, first[i].Binding().SPKI(), conn.Peer().Binding().SPKI())
	}
}

// Bytes pass unchanged, both ways at once, while both sides ask anew all the time.
func TestReattestUnderLoad(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	rounds := 0
	c, s := openMux(t, mutual, func(cc, sc *Config) {
		for _, cfg := range []*Config{cc, sc} {
			cfg.ReattestEvery = 5 * time.Millisecond
			cfg.AfterReattest = func(_ *Conn, r *attestation.Result, err error) {
				mu.Lock()
				defer mu.Unlock()
				if r != nil {
					rounds++
				}
			}
		}
	})
	sent := make([]byte, 16<<20)
	_, _ = rand.Read(sent)
	var wg sync.WaitGroup
	for _, pair := range [][2]*Conn{{c, s}, {s, c}} {
		wg.Go(func() {
			if _, err := io.Copy(struct{ io.Writer }{pair[0]}, bytes.NewReader(sent)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			got := make([]byte, len(sent))
			if n, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(sent, got) {
				t.Errorf("%d bytes: %v", n, err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	require.Greater(t, rounds, 4)
}

// turning is an Attester that becomes another one.
type turning struct {
	now atomic.Pointer[attestation.Attester]
}

func (a *turning) to(b attestation.Attester) { a.now.Store(&b) }
func (a *turning) MediaTypes() []string      { return (*a.now.Load()).MediaTypes() }
func (a *turning) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return (*a.now.Load()).Attest(ctx, b, accept)
}

// I-9: a device that turns bad on an open connection. Both sides say so, and not
// a byte passes after it.
func TestDriftIsNoticed(t *testing.T) {
	t.Parallel()
	for _, lie := range []simulated.Lie{simulated.DebugOn, simulated.OldFirmware, simulated.ModifiedSoftware, simulated.WrongNonce} {
		w := newWorld(t)
		cc, sc, device := simulateDevice(t, w)
		renewing(cc)
		renewing(sc)
		honest := sc.Attester
		a := new(turning)
		a.to(honest)
		sc.Attester = a
		var before int
		var after []error
		cc.BeforeReattest = func(*Conn) { before++ }
		cc.AfterReattest = func(_ *Conn, r *attestation.Result, err error) {
			if (r == nil) == (err == nil) {
				t.Error("a Result or an error")
			}
			after = append(after, err)
		}
		c, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
		_, err := c.Reattest(t.Context())
		require.NoError(t, err)
		echo(t, c, s, "good so far")

		a.to(simulated.NewAttester(device, lie))
		_, err = s.Write([]byte("sent in time, but not read"))
		require.NoError(t, err)
		_, err = c.Reattest(t.Context())
		requireFailure(t, err, StageAppraise, AlertAttestationRejected, Local, ErrReattest)
		require.ErrorIs(t, err, attestation.ErrRejected)
		require.Equal(t, 2, before)
		require.Equal(t, []error{nil, err}, after)
		n, e := c.Read(make([]byte, 1))
		require.Zero(t, n)
		require.Equal(t, err, e)
		n, e = s.Read(make([]byte, 1))
		require.Zero(t, n)
		requireFailure(t, e, StageResult, AlertAttestationRejected, Peer, ErrReattest)
		n, e = s.Write(make([]byte, 1))
		require.Zero(t, n)
		requireFailure(t, e, StageResult, AlertAttestationRejected, Peer, ErrReattest)
		require.NotNil(t, c.Peer(), "what it was remains known")
	}
}

// What the attester cannot do is told as in the first exchange.
func TestReattestRefused(t *testing.T) {
	t.Parallel()
	for _, d := range []struct {
		attest error
		stage  Stage
		alert  Alert
		side   Side
		theirs Side
	}{
		{attestation.ErrMediaType, StageValidate, AlertRefused, Local, Peer},
		{errors.New("the platform is gone"), StageValidate, AlertInternal, Peer, Local},
	} {
		a := new(turning)
		a.to(&toy{})
		c, s := openMux(t, serverAttests, func(_, sc *Config) { sc.Attester = a })
		a.to(&toy{attest: func(context.Context, attestation.Binding) (*cmw.Message, error) { return nil, d.attest }})
		_, err := c.Reattest(t.Context())
		requireFailure(t, err, d.stage, d.alert, d.side, ErrReattest)
		_, err = s.Read(make([]byte, 1))
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, [2]any{d.alert, d.theirs}, [2]any{e.Alert, e.Side})
		require.ErrorIs(t, err, ErrReattest)
		require.ErrorIs(t, err, d.attest)
	}
}

// A certificate may be renewed while a connection is open, its key may not change
// unless that is allowed, and the name is proved each time.
func TestCertificateRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.server.PrivateKey.(*ecdsa.PrivateKey)
	make := func(key *ecdsa.PrivateKey, at time.Time, name string) tls.Certificate {
		cert, err := w.ca.Leaf(key, at, name)
		require.NoError(t, err)
		return cert
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	renewed := make(key, time.Now(), serverName)
	for name, c := range map[string]struct {
		next  tls.Certificate
		allow bool
		want  error
	}{
		"same key":              {renewed, false, nil},
		"other key":             {make(other, time.Now(), serverName), false, ErrKeyChanged},
		"other key, allowed":    {make(other, time.Now(), serverName), true, nil},
		"same key, other name":  {make(key, time.Now(), "other.test"), true, authenticator.ErrRefused}, // the attester has nothing for our name
		"same key, has expired": {make(key, time.Now().Add(-1000*24*time.Hour), serverName), false, authenticator.ErrCertificate},
	} {
		var now atomic.Pointer[tls.Certificate]
		now.Store(&w.server)
		cc, sc := w.configs(serverAttests)
		renewing(cc)
		renewing(sc)
		cc.AllowKeyChange = c.allow
		sc.GetIdentities = func() ([]tls.Certificate, error) { return []tls.Certificate{*now.Load()}, nil }
		client, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		now.Store(&c.next)
		_, err := client.Reattest(t.Context())
		if c.want != nil {
			requireFailure(t, err, StageValidate, alertOf(StageValidate, c.want), Local, ErrReattest)
			require.ErrorIs(t, err, c.want, name)
			_, err = s.Read([]byte{0})
			requireFailure(t, err, StageResult, alertOf(StageValidate, c.want), Peer, ErrReattest)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.next.Leaf.Raw, client.PeerCertificates()[0].Raw, name)
		echo(t, client, s, "hello")
		require.NoError(t, client.Close())
		require.NoError(t, s.Close())
	}
}

// E-10: with a lifetime the peer is asked anew in time, without being told to,
// and where ReattestEvery is shorter, then.
func TestReattestInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lifetime, every, want time.Duration }{
		{time.Minute, 0, 40 * time.Second},
		{time.Hour, time.Minute, time.Minute},
		{time.Minute, time.Hour, 40 * time.Second},
		{0, time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			cc, sc := newWorld(t).configs(serverAttests)
			var at []time.Time
			cc.Verifier, cc.ReattestEvery = &toy{lifetime: c.lifetime}, c.every
			cc.AfterReattest = func(_ *Conn, _ *attestation.Result, err error) {
				require.NoError(t, err)
				at = append(at, time.Now())
			}
			renewing(cc)
			renewing(sc)
			cn, sn := delayPipe(oneWay)
			last := time.Now()
			client, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
			require.NoError(t, errors.Join(err1, err2))
			time.Sleep(20 * c.want)
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
				require.Equal(t, client.Expires(), last.Add(-oneWay).Add(c.lifetime).Add(oneWay))
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
	errs := make(chan error, 2)
	for _, conn := range []*Conn{c, s} {
		go func() { _, err := conn.Write(make([]byte, 64<<20)); errs <- err }()
	}
	time.Sleep(300 * time.Millisecond)
	start := time.Now()
	_, err := c.Reattest(t.Context())
	requireFailure(t, err, StageValidate, AlertTimeout, Local, ErrReattest)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Error(t, <-errs)
	require.Error(t, <-errs)
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

// After a half-close the other way goes on, and nobody is asked anew.
func TestLiveHalfClose(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	for _, pair := range [][2]*Conn{{c, s}, {s, c}} {
		from, to := pair[0], pair[1]
		_, err := from.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, from.CloseWrite())
		all, err := io.ReadAll(to)
		require.NoError(t, err)
		require.Equal(t, "last words", string(all))
		_, err = from.Write([]byte("x"))
		require.ErrorIs(t, err, errWriteClosed)
		for _, conn := range pair {
			_, err = conn.Reattest(t.Context())
			require.ErrorIs(t, err, ErrNoReattest)
		}
		if from == c {
			echo(t, s, c, "the other way is open")
		}
	}
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}

// A half-close waits for an exchange under way, and bounds how long the verdict
// stands that cannot be renewed.
func TestHalfCloseInRenewal(t *testing.T) {
	t.Parallel()
	for _, closes := range []string{"asker", "asked"} {
		synctest.Test(t, func(t *testing.T) {
			cc, sc := newWorld(t).configs(serverAttests)
			cc.ReattestEvery = 10 * time.Minute
			renewing(sc)
			sc.Attester = &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
				time.Sleep(time.Second)
				return toyEvidence(b, toyMediaType)
			}}
			cn, sn := delayPipe(0)
			c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
			require.NoError(t, errors.Join(err1, err2))
			result := make(chan error, 1)
			go func() { _, err := c.Reattest(t.Context()); result <- err }()
			synctest.Wait()
			start := time.Now()
			from, to := c, s
			if closes == "asked" {
				from, to = s, c
			}
			require.NoError(t, from.CloseWrite())
			require.NoError(t, <-result)
			require.Equal(t, time.Second, time.Since(start))
			made := time.Now()
			_, err := to.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
			echo(t, to, from, "the other way is open")
			_, err = c.Read(make([]byte, 1))
			if closes == "asker" {
				requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
				require.Equal(t, 20*time.Minute, time.Since(made), "two intervals")
			} else {
				require.Equal(t, io.EOF, err)
				time.Sleep(20*time.Minute + time.Second)
				requireExpired(t, c)
			}
			_ = s.Close()
			_ = c.Close()
		})
	}
}

// The peer goes away at each boundary of a renewal, in good order or not.
func TestReattestClosedAtBoundaries(t *testing.T) {
	t.Parallel()
	steps := []func(r *rogue){
		func(*rogue) {},
		func(r *rogue) { r.send(wire.Request, r.ask()) },
		func(r *rogue) { r.read(wire.Authenticator) },
		func(r *rogue) { r.sendResult(wire.ResultMap{}) },
	}
	roles(t, func(t *testing.T, victim authenticator.Role) {
		for n := range steps {
			for _, notify := range []bool{true, false} {
				r := live(t, victim)
				result := make(chan error, 1)
				go func() { _, err := r.victim.Reattest(context.Background()); result <- err }()
				r.read(wire.Request)
				r.send(wire.Data, []byte("before"))
				for _, step := range steps[:n+1] {
					step(r)
				}
				if notify {
					require.NoError(t, r.tls.Close())
				} else {
					require.NoError(t, r.tls.NetConn().Close())
				}
				err := <-result
				requireFailure(t, err, StageValidate, AlertProtocol, Local, ErrClosed)
				require.ErrorIs(t, err, ErrReattest)
				got, _ := io.ReadAll(r.victim)
				require.Contains(t, []string{"before", ""}, string(got)) // a reset may take it
				_, err = r.victim.Reattest(context.Background())
				require.Error(t, err)
				_ = r.victim.Close()
			}
		}
	})
}

// Many connections that renew all the time, and carry data.
func TestReattestSoak(t *testing.T) {
	const connections = 200
	w := newWorld(t)
	cc, sc := w.configs(mutual)
	var rounds atomic.Int64
	for _, cfg := range []*Config{cc, sc} {
		cfg.ReattestEvery, cfg.Timeout = 50*time.Millisecond, 60*time.Second
		cfg.AfterReattest = func(_ *Conn, r *attestation.Result, err error) {
			if err == nil {
				rounds.Add(1)
			}
		}
	}
	var wg sync.WaitGroup
	start := make(chan struct{})
	until := time.Now().Add(time.Hour)
	var ready sync.WaitGroup
	for range connections {
		cn, sn := tlspair.Pipe(t)
		ready.Add(1)
		wg.Go(func() {
			c, s := Client(cn, cc), Server(sn, sc)
			shake := make(chan error, 1)
			go func() { shake <- s.Handshake() }()
			err := errors.Join(c.Handshake(), <-shake)
			ready.Done()
			<-start
			for b := make([]byte, 100); err == nil && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
				if _, err = c.Write(b); err == nil {
					_, err = io.ReadFull(s, b)
				}
			}
			if err != nil {
				t.Error(err)
			}
			_ = c.Close()
			_ = s.Close()
		})
	}
	ready.Wait()
	until = time.Now().Add(1500 * time.Millisecond)
	rounds.Store(0)
	close(start)
	wg.Wait()
	require.Greater(t, rounds.Load(), int64(connections), "each has renewed")
}

// When the peer is asked anew, for every shape of verdict.
func TestDue(t *testing.T) {
	t.Parallel()
	made := time.Now()
	for _, c := range []struct{ every, lifetime, want time.Duration }{
		{0, 0, 0}, {time.Hour, 0, time.Hour}, {0, 90 * time.Minute, time.Hour}, {time.Minute, time.Hour, time.Minute}, {time.Hour, 3 * time.Minute, 2 * time.Minute},
	} {
		x := &exchange{prepared: &prepared{Config: &Config{ReattestEvery: c.every}}}
		x.made = made
		if c.lifetime != 0 {
			x.ours = made.Add(c.lifetime)
		}
		for range 50 {
			due := x.due()
			if c.want == 0 {
				require.Zero(t, due)
				continue
			}
			require.InDelta(t, c.want, due.Sub(made), float64(c.want)/10)
		}
	}
}
