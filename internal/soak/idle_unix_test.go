//go:build unix

package soak

import (
	"errors"
	"flag"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

var (
	idleConns = flag.Int("idle", 50, "how many connections TestIdleFleet opens")
	idleEvery = flag.Duration("idle-every", time.Second, "how often each asks its peer anew")
	idleFor   = flag.Duration("idle-for", 3*time.Second, "how long it measures")
)

// maxShare is what a fleet of 10,000 that renews every minute may use of two cores.
const maxShare = 0.5

// Many idle connections that renew stay open and cost little. Both ends are in this
// process, over net.Pipe: neither file descriptors nor the kernel's part of TCP
// count, but the processor time of both sides does.
func TestIdleFleet(t *testing.T) {
	h := newHouse(t)
	var renewed, failed atomic.Int64
	cc, sc := h.config(h.newParty(t, "client.test"), *idleEvery), h.config(h.newParty(t, serverName), 0)
	cc.Attester, sc.Verifier, sc.Reattest = nil, nil, true
	cc.Timeout, sc.Timeout = 30*time.Second, 30*time.Second
	cc.AfterReattest = func(_ *expat.Conn, _ *attestation.Result, err error) {
		if err == nil {
			renewed.Add(1)
		} else if failed.Add(1) == 1 {
			t.Log("the first to fail:", err)
		}
	}
	goroutines, heap := level()
	start := time.Now()
	conns := openFleet(t, cc, sc, *idleConns)
	opening := time.Since(start)
	_, used := level()
	t.Logf("%d connections opened in %v; %d goroutines, heap %.1f KiB a connection, both ends",
		*idleConns, opening.Round(time.Millisecond), runtime.NumGoroutine(), float64(used-heap)/1024/float64(*idleConns))

	renewed.Store(0)
	cpu, start := processorTime(t), time.Now()
	time.Sleep(*idleFor)
	count, took, spent := renewed.Load(), time.Since(start), processorTime(t)-cpu
	share := float64(spent) / float64(took) / 2
	t.Logf("%d renewals in %v (%.1f/s), %v of processor time: %.1f %% of two cores, %v a renewal, both ends; %d failed",
		count, took.Round(time.Millisecond), float64(count)/took.Seconds(), spent.Round(time.Millisecond), 100*share,
		(spent / time.Duration(max(count, 1))).Round(time.Microsecond), failed.Load())

	require.Zero(t, failed.Load())
	want := float64(*idleConns) * took.Seconds() / idleEvery.Seconds()
	require.Greater(t, float64(count), 0.8*want)
	if *idleConns <= 10000 && *idleEvery >= time.Minute {
		require.Less(t, share, maxShare)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	requireGoroutines(t, goroutines)
}

// openFleet opens connections, a few at a time and spread over one interval, as
// those of a fleet that has been up for long are. Both ends of each are returned.
func openFleet(t testing.TB, cc, sc *expat.Config, n int) []*expat.Conn {
	t.Helper()
	out := make([]*expat.Conn, 2*n)
	errs := make([]error, n)
	places := make(chan struct{}, 2*runtime.NumCPU())
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(*idleEvery * time.Duration(i) / time.Duration(n))))
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			cn, sn := net.Pipe()
			c, s := expat.Client(cn, cc), expat.Server(sn, sc)
			out[2*i], out[2*i+1] = c, s
			ch := make(chan error, 1)
			go func() { ch <- s.Handshake() }()
			errs[i] = errors.Join(c.Handshake(), <-ch)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	return out
}

// processorTime is what the process has used, user and system.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
