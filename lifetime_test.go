package expat

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// requireExpired checks every use of a connection whose verdict ran out.
func requireExpired(t *testing.T, c *Conn) {
	t.Helper()
	for range 2 {
		n, err := c.Read(make([]byte, 1))
		require.Zero(t, n)
		requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
		n, err = c.Write([]byte("x"))
		require.Zero(t, n)
		requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
		requireFailure(t, c.Handshake(), StageLifetime, AlertAttestationRequired, Local, ErrExpired)
		requireFailure(t, c.CloseWrite(), StageLifetime, AlertAttestationRequired, Local, ErrExpired)
	}
}

// E-10: our own Result runs out. Reads under way end, the peer's stream ends.
func TestOwnResultExpires(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := delayPipe(oneWay)
			r := newWorld(t).meetOver(t, cn, sn, victim, direction(victim, true), func(c *Config) { c.Verifier = &toy{lifetime: time.Minute} })
			require.NoError(t, r.tls.SetDeadline(time.Time{}))
			r.sendHello(attests)
			r.receive()
			r.send(wire.Authenticator, r.answer(&toy{}))
			require.NoError(t, <-r.result)
			opened := time.Now()
			require.Equal(t, opened.Add(time.Minute), r.victim.Expires())
			m, err := wire.ParseResult(r.read(wire.Result))
			require.NoError(t, err)
			require.Equal(t, wire.ResultMap{Lifetime: time.Minute}, m, "the peer is told")
			_, err = r.victim.Read(make([]byte, 1))
			requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
			require.Equal(t, time.Minute, time.Since(opened))
			_, err = r.tls.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
			require.Equal(t, time.Minute+oneWay, time.Since(opened))
			requireExpired(t, r.victim)
			require.NotNil(t, r.victim.Peer(), "what it was remains known")
		})
	})
}

// E-10: the lifetime in the peer's RESULT runs out, whatever the peer does.
func TestPeersResultExpires(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := delayPipe(oneWay)
			r := newWorld(t).meetOver(t, cn, sn, victim, direction(victim, false), func(c *Config) { c.Timeout = time.Hour })
			require.NoError(t, r.tls.SetDeadline(time.Time{}))
			afterShown(func(r *rogue) { r.sendResult(wire.ResultMap{Lifetime: time.Hour}) })(r)
			require.NoError(t, <-r.result)
			opened := time.Now()
			require.Equal(t, opened.Add(time.Hour), r.victim.Expires())
			_, err := r.victim.Read(make([]byte, 1))
			requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
			require.Equal(t, time.Hour, time.Since(opened))
			_, err = r.tls.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
			requireExpired(t, r.victim)
		})
	})
}

// The earlier of two verdicts counts, on both sides.
func TestEarlierVerdictCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ client, server, want time.Duration }{
		{0, 0, 0}, {time.Hour, 0, time.Hour}, {0, time.Hour, time.Hour},
		{time.Minute, time.Hour, time.Minute}, {time.Hour, time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			cc, sc := newWorld(t).configs(mutual)
			cc.Verifier, sc.Verifier = &toy{lifetime: c.client}, &toy{lifetime: c.server}
			cn, sn := delayPipe(0)
			start := time.Now()
			client, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
			require.NoError(t, errors.Join(err1, err2))
			for _, conn := range []*Conn{client, s} {
				if c.want == 0 {
					require.Zero(t, conn.Expires())
					continue
				}
				require.Equal(t, start.Add(c.want), conn.Expires())
			}
			require.NoError(t, client.Close())
			require.NoError(t, s.Close())
			time.Sleep(2 * time.Hour) // no timer is left to say otherwise
			_, err := client.Read(make([]byte, 1))
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrExpired)
		})
	}
}

// A Result counts from when it was made: a peer that is slow with its own
// verdict gains nothing, and one that is slower than ours holds gets nothing.
func TestSlowVerdictGainsNothing(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		for _, c := range []struct {
			wait time.Duration
			open bool
		}{{0, true}, {4 * time.Second, true}, {5*time.Second - 1, true}, {5 * time.Second, false}, {6 * time.Second, false}} {
			synctest.Test(t, func(t *testing.T) {
				cn, sn := delayPipe(0)
				r := newWorld(t).meetOver(t, cn, sn, victim, mutual, func(c *Config) { c.Verifier = &toy{lifetime: 5 * time.Second} })
				r.sendHello(both)
				r.receive()
				r.send(wire.Request, r.ask())
				r.read(wire.Authenticator)
				r.send(wire.Authenticator, r.answer(&toy{}))
				made := time.Now()
				r.read(wire.Result)
				time.Sleep(c.wait)
				r.sendResult(wire.ResultMap{})
				if !c.open {
					r.requireVictim(nothing, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
					return
				}
				r.requireEcho()
				require.Equal(t, made.Add(5*time.Second), r.victim.Expires())
				require.NoError(t, r.victim.Close())
			})
		}
	})
}

// A write under way ends with the verdict.
func TestWriteEndsWithVerdict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cn, sn := net.Pipe()
		r := newWorld(t).meetOver(t, cn, sn, authenticator.Client, serverAttests, func(c *Config) { c.Verifier = &toy{lifetime: time.Second} })
		require.NoError(t, r.tls.SetDeadline(time.Time{}))
		r.receive() // first: the pipe has no buffer
		r.sendHello(attests)
		r.send(wire.Authenticator, r.answer(&toy{}))
		r.read(wire.Result)
		require.NoError(t, <-r.result)
		start := time.Now()
		_, err := r.victim.Write(make([]byte, 1<<20)) // nobody reads
		requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
		require.Equal(t, time.Second, time.Since(start))
		requireExpired(t, r.victim)
	})
}
