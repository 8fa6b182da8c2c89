package expat

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// wallClock is a clock for TLS.Time that can be set, or goes on while the machine
// is suspended and its monotonic clock stands still.
type wallClock struct{ ahead atomic.Int64 }

func (w *wallClock) now() time.Time           { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *wallClock) advance(by time.Duration) { w.ahead.Add(int64(by)) }

// hour opens a connection whose client has a verdict of an hour, and a clock of its
// own.
func hour(t *testing.T, mux bool) (c, s *Conn, clock *wallClock) {
	t.Helper()
	clock = new(wallClock)
	cc, sc := newWorld(t).configs(serverAttests)
	cc.TLS.Time, cc.Verifier = clock.now, &toy{lifetime: time.Hour}
	cc.Reattest, sc.Reattest = mux, mux
	cn, sn := delayPipe(0)
	c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, mux, c.mux != nil)
	return c, s, clock
}

// E-10: a machine that was suspended serves nothing under a verdict that ran out
// meanwhile: neither bytes that wait, nor bytes that arrive or leave.
func TestVerdictEndsWhileSuspended(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(c, s *Conn, resume func()) (int, error){
		"read what waits": func(c, s *Conn, resume func()) (int, error) {
			_, _ = s.Write([]byte("before"))
			_, _ = io.ReadFull(c, make([]byte, 1))
			resume()
			return c.Read(make([]byte, 16))
		},
		"read what arrives": func(c, s *Conn, resume func()) (int, error) {
			time.AfterFunc(time.Millisecond, func() { resume(); _, _ = s.Write([]byte("after")) })
			return c.Read(make([]byte, 16))
		},
		"read nothing": func(c, _ *Conn, resume func()) (int, error) {
			time.AfterFunc(time.Millisecond, resume)
			return c.Read(make([]byte, 16))
		},
		"write": func(c, _ *Conn, resume func()) (int, error) {
			resume()
			return c.Write([]byte("after"))
		},
	} {
		for _, mux := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c, s, clock := hour(t, mux)
				peer := make(chan []byte, 1)
				if name == "write" {
					go func() { all, _ := io.ReadAll(s); peer <- all }()
				}
				start := time.Now()
				n, err := use(c, s, func() { clock.advance(time.Hour) })
				require.Zero(t, n, name)
				requireFailure(t, err, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
				if name == "read nothing" {
					require.LessOrEqual(t, time.Since(start), lookEvery)
				} else {
					require.LessOrEqual(t, time.Since(start), time.Millisecond)
				}
				requireExpired(t, c)
				if name == "write" {
					require.Empty(t, <-peer)
				}
				_, ok := c.Bare()
				require.False(t, ok)
				_ = c.Close()
				_ = s.Close()
			})
		}
	}
}

// The same for whoever has the bare TLS connection.
func TestVerdictEndsWhileSuspendedBare(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, s, clock := hour(t, false)
			tc, ok := c.Bare()
			require.True(t, ok)
			peer := make(chan []byte, 1)
			go func() { all, _ := io.ReadAll(s); peer <- all }()
			clock.advance(time.Hour)
			var err error
			if read {
				_, _ = s.Write([]byte("after"))
				_, err = tc.Read(make([]byte, 16))
			} else {
				_, err = tc.Write([]byte("after"))
			}
			require.ErrorIs(t, err, ErrExpired)
			require.Empty(t, <-peer)
			_ = tc.Close()
			_ = s.Close()
		})
	}
}

// A Write that waits while the machine is suspended does not go on after.
func TestWriteEndsWhileSuspended(t *testing.T) {
	t.Parallel()
	for _, mux := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			clock := new(wallClock)
			cc, sc := newWorld(t).configs(serverAttests)
			cc.TLS.Time, cc.Verifier = clock.now, &toy{lifetime: time.Hour}
			cc.Reattest, sc.Reattest = mux, mux
			cn, sn := net.Pipe() // nothing is buffered
			c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
			require.NoError(t, errors.Join(err1, err2))
			wrote := make(chan error, 1)
			go func() { _, err := c.Write(make([]byte, 1<<20)); wrote <- err }()
			_, err := io.ReadFull(s, make([]byte, 1<<10))
			require.NoError(t, err)
			synctest.Wait()
			start := time.Now()
			clock.advance(time.Hour)
			rest, _ := io.Copy(io.Discard, s)
			require.Less(t, rest, int64(128<<10), "what was on its way")
			requireFailure(t, <-wrote, StageLifetime, AlertAttestationRequired, Local, ErrExpired)
			require.LessOrEqual(t, time.Since(start), grace)
			_ = c.Close()
			_ = s.Close()
		})
	}
}

// The peer is asked anew when the wall clock says so too; a clock that is set back
// gains no time, and one that does not reach the end costs none.
func TestRenewalAfterSuspension(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, clock := hour(t, true)
		first := c.Peer()
		clock.advance(50 * time.Minute)
		time.Sleep(lookEvery)
		synctest.Wait()
		require.NotSame(t, first, c.Peer())
		echo(t, c, s, "hello")
		_ = c.Close()
		_ = s.Close()
	})
	for _, by := range []time.Duration{-10 * time.Hour, 59 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c, s, clock := hour(t, false)
			start := time.Now()
			clock.advance(by)
			echo(t, c, s, "hello")
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, ErrExpired)
			require.Equal(t, min(time.Hour, time.Hour-by), time.Since(start))
			_ = c.Close()
			_ = s.Close()
		})
	}
}

// After a half-close Expires tells of the end that comes with it.
func TestExpiresAfterHalfClose(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, serverAttests, func(cc, _ *Config) { cc.ReattestEvery = time.Hour })
	require.Zero(t, c.Expires())
	require.NoError(t, c.CloseWrite())
	require.WithinDuration(t, time.Now().Add(2*time.Hour), c.Expires(), time.Minute)
	_, err := s.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.Zero(t, s.Expires())
}

// Both clocks, and never.
func TestInstant(t *testing.T) {
	t.Parallel()
	clock := new(wallClock)
	p := &prepared{now: clock.now}
	now := p.instant()
	require.True(t, instant{}.never())
	require.False(t, p.reached(instant{}))
	require.True(t, p.reached(now))
	require.False(t, p.reached(now.add(time.Hour)))
	require.Equal(t, now, now.earlier(instant{}))
	require.Equal(t, now, instant{}.earlier(now))
	require.True(t, instant{}.earlier(instant{}).never())
	clock.advance(-time.Minute)
	then := p.instant().add(time.Second)
	require.Equal(t, instant{now.at, then.wall}, now.earlier(then), "each clock for itself")
	require.Equal(t, instant{now.at, then.wall}, then.earlier(now))
	require.Equal(t, lookEvery, p.wait(now.add(attestation.ConnectionLifetime-1)))
	require.Zero(t, p.wait(now))
	clock.advance(2 * time.Hour)
	require.True(t, p.reached(now.add(time.Hour)))
	require.Zero(t, p.wait(now.add(time.Hour)))
}
