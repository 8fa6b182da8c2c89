package expat

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

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
