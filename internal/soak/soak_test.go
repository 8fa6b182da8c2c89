package soak

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

var soakFor = flag.Duration("soak", 5*time.Second, "how long TestSoak opens connections")

const workers = 16

// Connections come and go, renew every second, turn bad, hang and are cut; no bad
// device is accepted, and in the end nothing is left.
func TestSoak(t *testing.T) {
	figs := new(figures)
	h := newHouse(t)
	run(t, h, figs, 2*time.Second) // what is allocated once is there now
	goroutines, heap := level()
	run(t, h, figs, *soakFor)
	t.Log(figs)
	require.Positive(t, figs.renewed.Load())
	requireGoroutines(t, goroutines)
	_, after := level()
	t.Logf("heap %.1f MiB before, %.1f MiB after", mib(heap), mib(after))
	require.Less(t, mib(after), mib(heap)+4, "memory stays")
	require.LessOrEqual(t, figs.slow.Load(), figs.opened.Load()/100+workers, "deadlines are the exception")
}

// run keeps all workers busy, and closes everything.
func run(t *testing.T, h *house, figs *figures, length time.Duration) {
	t.Run("busy", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		var wg sync.WaitGroup
		for range workers {
			w := newWorker(t, h, figs)
			wg.Go(func() {
				for ctx.Err() == nil {
					w.life(ctx)
				}
			})
		}
		churner := &worker{t: t, figs: figs}
		plain := plainServer(t, h, &churner.denied)
		cfg := h.config(h.newParty(t, "client.test"), 0)
		wg.Go(func() { churner.churn(ctx, plain, cfg) })
		wg.Go(func() { vandals(ctx, plain, figs) })
		done := make(chan struct{})
		go func() {
			defer close(done)
			report(ctx, t, figs)
		}()
		wg.Wait()
		<-done
	})
}

// report prints a line of figures a minute.
func report(ctx context.Context, t *testing.T, figs *figures) {
	tick, start := time.NewTicker(time.Minute), time.Now()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Printf("%v: %v; goroutines %d, heap %.1f MiB\n", time.Since(start).Round(time.Second), figs, runtime.NumGoroutine(), mib(m.HeapAlloc))
		}
	}
}

// plainServer echoes on connections without re-attestation.
func plainServer(t *testing.T, h *house, denied *atomic.Int64) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := h.config(h.newParty(t, serverName), 0)
	cfg.Refused = func(_ net.Addr, err error) {
		if timedOut(err) {
			denied.Add(1)
		}
	}
	listener := expat.NewListener(ln, cfg)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	return ln.Addr().String()
}

// churn opens and closes connections as fast as one client can.
func (w *worker) churn(ctx context.Context, addr string, cfg *expat.Config) {
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		denied := w.denied.Load()
		c, err := expat.Dial(context.Background(), "tcp", addr, cfg)
		if err != nil {
			w.lost("a good connection was refused", err, denied)
			continue
		}
		w.figs.opened.Add(1)
		w.figs.plain.Add(1)
		if err := w.talk(ctx, c, time.Now().Add(time.Millisecond)); err != nil {
			w.lost("a good connection ended", err, denied)
		}
		_ = c.Close()
	}
}

// vandals send what is no TLS, or nothing.
func vandals(ctx context.Context, addr string, figs *figures) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		if figs.garbage.Add(1)%2 == 0 {
			_, _ = io.CopyN(c, rand.Reader, 1000)
		}
		_ = c.Close()
	}
}

// requireGoroutines waits for those to end that are about to.
func requireGoroutines(t testing.TB, most int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= most {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	require.Fail(t, "goroutines stay", "%d, were %d:\n%s", runtime.NumGoroutine(), most, stacks[:runtime.Stack(stacks, true)])
}

// level is how many goroutines run and how much memory is in use, at rest.
func level() (goroutines int, heap uint64) {
	time.Sleep(time.Second)
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }
