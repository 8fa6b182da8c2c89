package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// A verifier that is down when a peer is to be asked anew: the connection ends, with a
// reason on both sides, and at the latest when the verdict does that it has.
func TestVerifierDownAtRenewal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every    time.Duration
		lifetime string
		within   time.Duration // of the end of the verifier
	}{
		"asked every second":        {time.Second, "1h", 10 * time.Second},
		"by the verdict's lifetime": {0, "6s", 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			process, addr := startVerifier(t, dir, "127.0.0.1:0", "--lifetime", c.lifetime)
			told := make(chan error, 64)
			rp := newRelyingParty(t, dir, addr, func(cfg *expat.Config) {
				cfg.ReattestEvery, cfg.Reattest = c.every, true
				cfg.AfterReattest = func(_ *expat.Conn, _ *attestation.Result, err error) { told <- err }
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, err := rp.dial(ctx)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, <-told, "asked anew while the verifier is there")
			require.NoError(t, process.Process.Kill())
			_ = process.Wait()
			down := time.Now()
			for err = nil; err == nil; err = echoes(conn) {
				require.Less(t, time.Since(down), c.within+5*time.Second, "it goes on without a verdict")
				time.Sleep(20 * time.Millisecond)
			}
			var e *expat.Error
			require.ErrorAs(t, conn.Handshake(), &e)
			require.Contains(t, []expat.Alert{expat.AlertVerifierUnavailable, expat.AlertAttestationRequired}, e.Alert)
			for err = nil; err == nil; err = <-told { // one may have been good before
			}
			if e.Alert == expat.AlertVerifierUnavailable {
				require.ErrorIs(t, err, attestation.ErrUnavailable)
				require.ErrorIs(t, err, expat.ErrReattest)
			} else {
				require.ErrorIs(t, err, expat.ErrExpired)
			}
			_, err = rp.dial(ctx)
			require.ErrorIs(t, err, expat.ErrPeerAlert, "no new one")
			require.Eventually(t, func() bool {
				why, ok := rp.reason.Load().(error)
				return ok && errors.Is(why, attestation.ErrUnavailable)
			}, 10*time.Second, time.Millisecond)

			startVerifier(t, dir, addr, "--lifetime", c.lifetime)
			require.Eventually(t, func() bool {
				c, err := rp.dial(ctx)
				if err != nil {
					return false
				}
				defer c.Close()
				return echoes(c) == nil
			}, 20*time.Second, 50*time.Millisecond, "all is as before")
		})
	}
}
