package proxy

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence/simulated"
)

var soakFor = flag.Duration("soak", 4*time.Second, "how long TestSoak keeps sidecars busy")

const (
	workers   = 4                // of each post
	opTimeout = 20 * time.Second // of what a program does on a connection
	endWithin = 15 * time.Second // of a device that turns bad to the end of the last connection
)

func number(n int) string { return strconv.Itoa(n) }

// soakFigures count what happened.
type soakFigures struct {
	opened, requests, bytes              atomic.Int64 // by programs before client sides
	bad, refused, cut, garbage, reloaded atomic.Int64
	strict, slow, retried                atomic.Int64
	worst                                atomic.Int64 // ns from a device that turns bad to the end of the last connection
}

// Pairs of sidecars between programs and backends, in both modes: connections come and
// go and renew every second, devices turn bad and good again, files are replaced by new
// ones and by garbage, the wire is cut. No bad device is accepted, what is good is
// served, and in the end nothing is left.
//
//	go test -race -run TestSoak -v -timeout 90m ./cmd/expat/internal/proxy -soak 60m
func TestSoak(t *testing.T) {
	figs, warm := new(soakFigures), new(soakFigures)
	soak(t, warm, 2*time.Second) // what is allocated once is there now
	goroutines, memory := settle()
	soak(t, figs, *soakFor)
	requireGoroutines(t, goroutines)
	var after uint64
	// net/http holds what an HTTP/2 connection has until the time of its next ping (30 s).
	require.Eventually(t, func() bool { _, after = settle(); return after < memory+2<<20 }, time.Minute, 100*time.Millisecond, "memory is back")
	t.Logf("heap %.1f MiB before, %.1f MiB after; %d goroutines", float64(memory)/(1<<20), float64(after)/(1<<20), goroutines)
}

// requireGoroutines waits for those to end that are about to.
func requireGoroutines(t testing.TB, most int) {
	t.Helper()
	for range 200 {
		if runtime.NumGoroutine() <= most {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	require.Fail(t, "goroutines stay", "%d, were %d:\n%s", runtime.NumGoroutine(), most, stacks[:runtime.Stack(stacks, true)])
}

// settle is how many goroutines run and how much memory is in use, in bytes, after what
// ends within moments has.
func settle() (goroutines int, memory uint64) {
	time.Sleep(500 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// soak keeps four posts busy, and closes everything.
func soak(t *testing.T, figs *soakFigures, length time.Duration) {
	t.Run("busy", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		echoes := serve(t, "tcp", "127.0.0.1:0", echo)
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(b)
		}))
		t.Cleanup(web.Close)
		var all []*post
		var busy sync.WaitGroup
		for i := range 4 {
			mode, upstream := "tcp", echoes.addr
			if i%2 == 1 {
				mode, upstream = "http", web.Listener.Addr().String()
			}
			p := newPost(t, figs, mode, upstream)
			all = append(all, p)
			for range workers {
				busy.Go(func() { p.work(ctx) })
			}
			busy.Go(func() { p.fate(ctx) })
		}
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for began := time.Now(); ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-tick.C:
				_, _ = fmt.Fprintln(os.Stderr, time.Since(began).Round(time.Second), figs.text(all), runtime.NumGoroutine(), "goroutines")
			}
		}
		busy.Wait()
		t.Log(figs.text(all))
		var renewed float64
		for _, p := range all {
			require.Positive(t, p.ledger.accepted.Load(), p.mode)
			renewed += p.server.renewals(accepted) + p.client.renewals(accepted)
		}
		require.Positive(t, renewed)
		require.LessOrEqual(t, figs.slow.Load(), figs.opened.Load()/50+workers, "deadlines are the exception")
	})
}

func (f *soakFigures) text(all []*post) string {
	var renewed, appraised, rejected, notReloaded int64
	for _, p := range all {
		appraised += p.ledger.accepted.Load()
		rejected += p.ledger.rejected.Load()
		for _, e := range []*end{p.server, p.client} {
			renewed += int64(e.renewals(accepted))
			notReloaded += int64(e.reloads(failed) + e.policyReloads(failed))
		}
	}
	return fmt.Sprintf("connections %d, requests %d, %d MiB; accepted %d, of them renewals %d; rejected %d; turned bad %d (all ended within %v), refused after %d; policy tightened %d; cut %d; reloaded %d, garbage %d (%d reported); sent again %d, slow %d;",
		f.opened.Load(), f.requests.Load(), f.bytes.Load()>>20, appraised, renewed, rejected, f.bad.Load(), time.Duration(f.worst.Load()).Round(time.Millisecond),
		f.refused.Load(), f.strict.Load(), f.cut.Load(), f.reloaded.Load(), f.garbage.Load(), notReloaded, f.retried.Load(), f.slow.Load())
}

// work is a program that has one connection, or request, after another.
func (p *post) work(ctx context.Context) {
	client := newProgram()
	defer client.CloseIdleConnections()
	failures, first := 0, int64(0)
	for ctx.Err() == nil {
		epoch := p.epoch.Load()
		var err error
		if p.mode == "tcp" {
			err = p.stream(ctx, time.Duration(rand.Int64N(int64(3*time.Second))))
		} else {
			err = p.request(client, rand.IntN(256<<10))
			time.Sleep(time.Duration(rand.Int64N(int64(40 * time.Millisecond))))
		}
		switch {
		case err == nil:
			failures = 0
			continue
		case epoch%2 == 1 || p.epoch.Load() != epoch:
			time.Sleep(20 * time.Millisecond) // it had a reason
			continue
		case p.mode == "http" && (failures == 0 || first != epoch):
			failures, first = 1, epoch // on a connection that was about to end
			p.figs.retried.Add(1)
			continue
		case p.late(err):
			p.figs.slow.Add(1)
			continue
		}
		p.t.Errorf("%s: what is good is not served: %v\nserver side:\n%sclient side:\n%s", p.mode, err, p.server.log, p.client.log)
		return
	}
}

// errHalf: it went wrong after the stream had ended in one direction.
var errHalf = errors.New("after CloseWrite")

// late tells a machine under load from a fault.
func (p *post) late(err error) bool {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	log := p.server.log.String() + p.client.log.String()
	return strings.Contains(log, "deadline exceeded") ||
		errors.Is(err, errHalf) && (strings.Contains(log, "ran out") || strings.Contains(log, "attestation required")) // two intervals after the last verdict
}

// stream echoes for a while, and ends in good order.
func (p *post) stream(ctx context.Context, length time.Duration) error {
	c, err := net.Dial("tcp", p.client.addrs["out"])
	if err != nil {
		return err
	}
	defer c.Close()
	p.figs.opened.Add(1)
	sent := make([]byte, 1+rand.IntN(32<<10))
	_, _ = crand.Read(sent)
	got := make([]byte, len(sent))
	for until := time.Now().Add(length); ; time.Sleep(20 * time.Millisecond) {
		_ = c.SetDeadline(time.Now().Add(opTimeout))
		wrote := make(chan error, 1)
		go func() { _, err := c.Write(sent); wrote <- err }()
		_, err := io.ReadFull(c, got)
		if err = errors.Join(err, <-wrote); err != nil {
			return err
		}
		p.figs.bytes.Add(int64(len(sent)))
		if !bytes.Equal(sent, got) {
			p.t.Error("other bytes came back")
		}
		if ctx.Err() != nil || !time.Now().Before(until) {
			break
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(c)
	if err == nil && string(rest) != " and the end" {
		err = fmt.Errorf("the end is %q", rest)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errHalf, err)
	}
	return err
}

func newProgram() *http.Client {
	return &http.Client{Transport: new(http.Transport), Timeout: opTimeout}
}

// request has a body echoed.
func (p *post) request(client *http.Client, size int) error {
	p.figs.requests.Add(1)
	body := make([]byte, size)
	_, _ = crand.Read(body)
	resp, err := client.Post("http://"+p.client.addrs["out"], "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if err == nil && !bytes.Equal(got, body) {
		p.t.Error("another body came back")
	}
	p.figs.bytes.Add(int64(len(got)))
	return err
}

// once is one short use, on a connection of its own.
func (p *post) once() error {
	if p.mode == "tcp" {
		return p.stream(context.Background(), 0)
	}
	client := newProgram()
	defer client.CloseIdleConnections()
	return p.request(client, 100)
}

var lies = []simulated.Lie{
	simulated.WrongNonce, simulated.WrongKey, simulated.DebugOn, simulated.OldFirmware, simulated.ModifiedSoftware, simulated.TamperedClaims,
}
