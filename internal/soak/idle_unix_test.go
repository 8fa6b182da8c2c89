//go:build unix

package soak

import (
	"bufio"
	"encoding/json"
	"flag"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

var (
	idleConns = flag.Int("idle", 50, "how many connections TestIdleFleet opens")
	idleEvery = flag.Duration("idle-every", time.Second, "how often each asks its peer anew")
	idleFor   = flag.Duration("idle-for", 3*time.Second, "how long it measures")
)

// maxShare is what a fleet of 10,000 that renews every minute may use of two cores.
const maxShare = 0.5

func TestMain(m *testing.M) {
	if order := os.Getenv(fleetEnv); order != "" {
		os.Exit(fleet(order))
	}
	os.Exit(m.Run())
}

// Many idle connections that renew stay open and cost little: over TCP on loopback,
// the clients in a process of their own, as one may not have descriptors for both.
func TestIdleFleet(t *testing.T) {
	h := newHouse(t)
	goroutines, heap := level()
	held := hold(t, h)
	reports := startFleet(t, fleetOrder{
		Addr: held.ln.Addr().String(), CA: h.ca.Root.Raw, Vendor: h.vendor.Root().Raw,
		Conns: *idleConns, Every: *idleEvery, For: *idleFor,
	})

	opened := <-reports
	require.Empty(t, opened.Error)
	_, used := level()
	t.Logf("%d connections opened in %v; heap a connection: %.1f KiB here, %.1f KiB at the client",
		*idleConns, opened.Took.Round(time.Millisecond), float64(used-heap)/1024/float64(*idleConns), opened.Heap/1024/float64(*idleConns))

	cpu := processorTime(t)
	r := <-reports
	spent := processorTime(t) - cpu + r.Spent
	share := float64(spent) / float64(r.Took) / 2
	t.Logf("%d renewals in %v (%.1f/s), %v of processor time: %.1f %% of two cores, %v a renewal, both ends; %d failed",
		r.Renewed, r.Took.Round(time.Millisecond), float64(r.Renewed)/r.Took.Seconds(), spent.Round(time.Millisecond), 100*share,
		(spent / time.Duration(max(r.Renewed, 1))).Round(time.Microsecond), r.Failed)

	require.Empty(t, r.Error)
	require.Zero(t, r.Failed)
	want := float64(*idleConns) * r.Took.Seconds() / idleEvery.Seconds()
	require.Greater(t, float64(r.Renewed), 0.8*want)
	if *idleConns <= 10000 && *idleEvery >= time.Minute {
		require.Less(t, share, maxShare)
	}
	_, more := <-reports
	require.False(t, more, "the clients' process ends")
	held.close()
	requireGoroutines(t, goroutines)
}

// held is a listener and the connections that it has accepted.
type held struct {
	ln      net.Listener
	running sync.WaitGroup
	conns   []net.Conn
}

// hold accepts connections, attests on them whenever it is asked, and nothing else.
func hold(t testing.TB, h *house) *held {
	cfg := h.config(h.newParty(t, serverName), 0)
	cfg.Verifier, cfg.Reattest, cfg.Timeout = nil, true, 30*time.Second
	cfg.Refused = func(_ net.Addr, err error) { t.Errorf("a client was dropped: %v", err) }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	x := &held{ln: expat.NewListener(ln, cfg)}
	x.running.Go(func() {
		for {
			c, err := x.ln.Accept()
			if err != nil {
				return
			}
			x.conns = append(x.conns, c)
		}
	})
	t.Cleanup(x.close)
	return x
}

func (x *held) close() {
	_ = x.ln.Close()
	x.running.Wait()
	for _, c := range x.conns {
		_ = c.Close()
	}
}

// startFleet starts the clients' process, and returns its two reports.
func startFleet(t testing.TB, o fleetOrder) <-chan fleetReport {
	t.Helper()
	order, err := json.Marshal(o)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fleetEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	reports := make(chan fleetReport)
	go func() {
		defer close(reports)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r fleetReport
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				r.Error = lines.Text()
			}
			select {
			case reports <- r:
			case <-t.Context().Done():
			}
		}
		_ = cmd.Wait() // what it had to say, it has said
	}()
	return reports
}

// processorTime is what the process has used, user and system.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	spent, err := usage()
	require.NoError(t, err)
	return spent
}

func usage() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// heapInUse is what is left after a collection.
func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
