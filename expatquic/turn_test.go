package expatquic

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// traffic keeps streams of both sides busy until the connection ends, and tells how
// the reads of each side's streams ended.
func traffic(t *testing.T, c, s *Conn) (moved *atomic.Int64, ended <-chan error) {
	t.Helper()
	moved = new(atomic.Int64)
	ends := make(chan error, 4)
	var busy sync.WaitGroup
	for _, way := range [][2]*Conn{{c, s}, {s, c}} {
		from, to := way[0], way[1]
		for range 2 {
			out, err := from.OpenStreamSync(within(t))
			require.NoError(t, err)
			busy.Go(func() {
				b := make([]byte, 64<<10)
				for {
					if _, err := out.Write(b); err != nil {
						return
					}
				}
			})
			busy.Go(func() {
				in, err := to.AcceptStream(context.Background())
				if err != nil {
					ends <- err
					return
				}
				b := make([]byte, 64<<10)
				for {
					n, err := in.Read(b)
					moved.Add(int64(n))
					if err != nil {
						ends <- err
						return
					}
				}
			})
		}
	}
	t.Cleanup(busy.Wait)
	return moved, ends
}

// E-10: each side, for itself, loses its connection when its state goes bad: the other
// finds out by itself, on a live connection with much traffic, and all streams of both
// sides end.
func TestPeerTurnsBad(t *testing.T) {
	t.Parallel()
	for _, turns := range []string{serverAttests, clientAttests} {
		t.Run(turns, func(t *testing.T) {
			t.Parallel()
			var renewed atomic.Int32
			last := make(chan error, 1)
			var device *toy
			c, s := renewable(t, func(client, server *expat.Config) {
				asks, shows := client, server
				if turns == clientAttests {
					asks, shows = server, client
				}
				device = shows.Attester.(*toy)
				asks.ReattestEvery = 200 * time.Millisecond
				asks.AfterReattest = func(_ *expat.Conn, _ *attestation.Result, err error) {
					if renewed.Add(1); err != nil {
						last <- err
					}
				}
			})
			asks, shows := c, s
			if turns == clientAttests {
				asks, shows = s, c
			}
			moved, ended := traffic(t, c, s)
			require.Eventually(t, func() bool { return renewed.Load() >= 3 && moved.Load() > 4<<20 }, 20*time.Second, 10*time.Millisecond)
			require.NoError(t, c.Context().Err())
			device.bad.Store(true)
			err := wait(t, last)
			requireFailure(t, err, expat.StageAppraise, expat.AlertAttestationRejected, expat.Local, errBadState)
			require.ErrorIs(t, err, expat.ErrReattest)
			for range 4 {
				err := wait(t, ended)
				alert, ok := AlertOf(err)
				require.True(t, ok, "%v", err)
				require.Equal(t, expat.AlertAttestationRejected, alert)
			}
			requireClosed(t, asks.QUIC(), false, expat.AlertAttestationRejected)
			requireClosed(t, shows.QUIC(), true, expat.AlertAttestationRejected)
			_, err = shows.OpenStream()
			requireFailure(t, err, expat.StageResult, expat.AlertAttestationRejected, expat.Peer, expat.ErrReattest)
		})
	}
}

// A peer that does not answer when it is asked anew loses the connection: when the
// verdict runs out, which both sides know, or when the time for an exchange is over.
func TestPeerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lifetime, timeout time.Duration
		alert             expat.Alert
	}{
		"lifetime": {2 * time.Second, 10 * time.Second, expat.AlertAttestationRequired},
		"timeout":  {0, 500 * time.Millisecond, expat.AlertTimeout},
	} {
		for _, hangs := range []string{serverAttests, clientAttests} {
			t.Run(name+"/"+hangs, func(t *testing.T) {
				t.Parallel()
				var later atomic.Bool
				freed := make(chan struct{})
				conn, peer := renewable(t, func(asks, shows *expat.Config) {
					if hangs == clientAttests {
						asks, shows = shows, asks
					}
					asks.Verifier = &toy{lifetime: c.lifetime}
					asks.Timeout = c.timeout
					shows.Attester = &toy{attest: func(ctx context.Context) {
						if later.Load() {
							<-ctx.Done()
							close(freed)
						}
					}}
				})
				if hangs == clientAttests {
					conn, peer = peer, conn
				}
				later.Store(true)
				_, asked := conn.Reattest(within(t))
				wait(t, peer.Context().Done())
				_, told := peer.AcceptStream(within(t))
				for _, err := range []error{asked, told} {
					var e *expat.Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, c.alert, e.Alert, "%v", err)
				}
				if c.lifetime > 0 {
					require.ErrorIs(t, errors.Join(asked, told), expat.ErrExpired)
				} else {
					requireFailure(t, asked, expat.StageValidate, c.alert, expat.Local, expat.ErrReattest)
					requireFailure(t, told, expat.StageStream, c.alert, expat.Peer, expat.ErrReattest)
				}
				wait(t, freed)
			})
		}
	}
}

// Both sides refuse each other at the same time: each loses the connection for a reason
// that says so.
func TestBothTurnBad(t *testing.T) {
	t.Parallel()
	devices := [2]toy{}
	c, s := renewable(t, func(client, server *expat.Config) {
		client.Attester, server.Attester = &devices[0], &devices[1]
	})
	devices[0].bad.Store(true)
	devices[1].bad.Store(true)
	failed := make(chan error, 2)
	for _, conn := range []*Conn{c, s} {
		go func() { _, err := conn.Reattest(context.Background()); failed <- err }()
	}
	for range 2 {
		err := wait(t, failed)
		var e *expat.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, expat.AlertAttestationRejected, e.Alert, "%v", err)
		require.ErrorIs(t, err, expat.ErrReattest)
	}
	for _, conn := range []*Conn{c, s} {
		wait(t, conn.Context().Done())
		_, err := conn.AcceptStream(within(t))
		require.ErrorIs(t, err, expat.ErrReattest)
	}
}

// Application data that nobody reads holds up re-attestation, once it takes all of the
// connection's window; that ends with the time for an exchange.
func TestUnreadData(t *testing.T) {
	t.Parallel()
	c, s := renewable(t, func(client, _ *expat.Config) { client.Timeout = time.Second })
	written := make(chan error, 2)
	for range 2 { // one stream has two thirds of the window
		out, err := s.OpenStreamSync(within(t))
		require.NoError(t, err)
		go func() { _, err := out.Write(make([]byte, 1<<20)); written <- err }()
	}
	require.Eventually(t, func() bool { return c.QUIC().ConnectionStats().BytesReceived > 768<<10 }, 20*time.Second, 10*time.Millisecond)
	_, err := c.Reattest(within(t))
	requireFailure(t, err, expat.StageValidate, expat.AlertTimeout, expat.Local, expat.ErrReattest)
	for range 2 {
		alert, ok := AlertOf(wait(t, written))
		require.True(t, ok)
		require.Equal(t, expat.AlertTimeout, alert)
	}
}

// Re-attestation goes ahead of all that an application sends, however urgent.
func TestUrgentTraffic(t *testing.T) {
	t.Parallel()
	c, s := renewable(t)
	for range 4 {
		out, err := s.OpenStreamSync(within(t))
		require.NoError(t, err)
		out.SetPriority(0, false)
		go func() {
			for b := make([]byte, 8<<20); err == nil; _, err = out.Write(b) {
			}
		}()
		go func() {
			if in, err := c.AcceptStream(context.Background()); err == nil {
				_, _ = io.Copy(io.Discard, in)
			}
		}()
	}
	require.Eventually(t, func() bool { return c.QUIC().ConnectionStats().BytesReceived > 4<<20 }, 20*time.Second, 10*time.Millisecond)
	for range 3 {
		_, err := c.Reattest(within(t))
		require.NoError(t, err)
	}
}
