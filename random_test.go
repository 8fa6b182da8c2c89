package expat

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

var (
	randomRuns = flag.Int("runs", 150, "how many random runs TestRandomRuns does")
	randomSeed = flag.Uint64("seed", 0, "the one run that TestRandomRuns repeats")
)

// TestRandomRuns has two ends do what applications, machines and networks do, in any
// order and at the same time, in virtual time. Whatever happens:
//
//   - what is read is a prefix of what was written;
//   - nothing is read once the connection has failed, nor under a verdict that is older
//     than its lifetime, by either clock;
//   - an end that fails is not taken for a good end by the other, and where that one
//     listens it learns why;
//   - a deadline is not blamed that has not passed;
//   - all calls return, and no goroutine is left.
//
// A failure names its seed. Goroutines are scheduled as they are, so that it may take
// several repetitions: go test -run TestRandomRuns -count 100 . -seed N
func TestRandomRuns(t *testing.T) {
	t.Parallel()
	if *randomSeed != 0 {
		synctest.Test(t, func(t *testing.T) { randomRun(t, *randomSeed) })
		return
	}
	first := rand.Uint64()
	for i := range uint64(*randomRuns) {
		synctest.Test(t, func(t *testing.T) { randomRun(t, first+i) })
		if t.Failed() {
			return
		}
	}
}

// runPlan is what is drawn for a whole run.
type runPlan struct {
	mux  bool
	calm bool // both read without a pause, over a network that never breaks
	pipe bool // without a buffer: who writes waits for who reads
}

// player is one end.
type player struct {
	*testing.T
	seed uint64
	name string
	plan runPlan
	*Conn
	peer *player
	raw  net.Conn

	clock    wallClock
	lifetime time.Duration // of its verdicts
	bad      atomic.Bool   // its Verifier refuses from now on
	broken   atomic.Bool   // its Attester fails from now on

	mu      sync.Mutex
	made    instant // its latest verdict
	offered int64   // bytes given to Write
	wrote   int64   // bytes that Write took
	closed  bool    // Close was called, on a connection that was good
	half    bool    // CloseWrite was called
	cut     bool    // the network was cut
	ended   error   // what its last Read said
}

func (p *player) errorf(format string, args ...any) {
	p.Errorf("seed %d, %s, %+v: %s", p.seed, p.name, p.plan, fmt.Sprintf(format, args...))
}

func (p *player) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *player) now() instant { return (&prepared{now: p.clock.now}).instant() }

// config makes the Verifier and Attester of a player's Config its own.
func (p *player) config(c *Config, r *rand.Rand) {
	c.TLS.Time = p.clock.now
	c.Timeout = time.Duration(1+r.IntN(5)) * time.Second
	if p.plan.mux {
		c.Reattest = true
	}
	if c.Verifier != nil {
		if r.IntN(2) == 0 {
			p.lifetime = time.Duration(1000+r.IntN(15000)) * time.Millisecond
		}
		if p.plan.mux && r.IntN(2) == 0 {
			c.ReattestEvery = time.Duration(500+r.IntN(5000)) * time.Millisecond
		}
		c.Verifier = &toy{appraise: func(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
			if p.bad.Load() {
				return nil, attestation.Reject(errors.New("it has turned bad"))
			}
			p.locked(func() { p.made = p.now() })
			return toyResult(b, p.lifetime)
		}}
	}
	if c.Attester != nil {
		c.Attester = &toy{attest: func(ctx context.Context, b attestation.Binding) (*cmw.Message, error) {
			if p.broken.Load() {
				return nil, errors.New("the device is gone")
			}
			time.Sleep(time.Duration(b.Binder()[0]) * time.Millisecond)
			return toyEvidence(b, toyMediaType)
		}}
	}
}

// at is byte i of what a player writes.
func (p *player) at(i int64) byte { return byte(i) ^ byte(i>>8)*7 ^ p.name[0] }

// writes is an application that writes, now and then with a deadline, and may
// half-close in the end.
func (p *player) writes(r *rand.Rand) {
	for {
		time.Sleep(time.Duration(r.IntN(800)) * time.Millisecond)
		// Over a pipe crypto/tls may hold a lock here, for which virtual time waits.
		if r.IntN(25) == 0 && !p.plan.pipe {
			p.locked(func() { p.half = true })
			p.judge("CloseWrite", p.CloseWrite(), time.Time{})
			return
		}
		b := make([]byte, 1+r.IntN(1<<(1+r.IntN(17))))
		for i := range b {
			b[i] = p.at(p.wrote + int64(i))
		}
		var by time.Time
		if p.plan.mux && r.IntN(4) == 0 { // the TLS stream alone does not bear it
			by = time.Now().Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		}
		_ = p.SetWriteDeadline(by)
		p.locked(func() { p.offered = p.wrote + int64(len(b)) })
		n, err := p.Write(b)
		p.locked(func() { p.wrote += int64(n) })
		if err == nil && n != len(b) || n < 0 || n > len(b) {
			p.errorf("Write took %d of %d bytes: %v", n, len(b), err)
		}
		p.judge("Write", err, by)
		if err != nil && !(p.plan.mux && errors.Is(err, os.ErrDeadlineExceeded) && p.life.Err() == nil) {
			return
		}
	}
}

// reads is an application that reads, unless calm with pauses and deadlines.
func (p *player) reads(r *rand.Rand) {
	var read int64
	for {
		if !p.plan.calm && r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(1<<r.IntN(14))) * time.Millisecond)
		}
		var by time.Time
		if r.IntN(4) == 0 {
			by = time.Now().Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		}
		_ = p.SetReadDeadline(by)
		b := make([]byte, 1+r.IntN(1<<(1+r.IntN(17))))
		dead := p.phase.Load() == phaseFailed || p.plan.mux && p.life.Err() != nil
		n, err := p.Read(b)
		for i := range n {
			if b[i] != p.peer.at(read+int64(i)) {
				p.errorf("byte %d is not what was written", read+int64(i))
				return
			}
		}
		read += int64(n)
		if n > 0 {
			p.mayRead(dead, read)
		}
		p.judge("Read", err, by)
		if err != nil && !(errors.Is(err, os.ErrDeadlineExceeded) && p.life.Err() == nil) {
			p.locked(func() { p.ended = err })
			return
		}
	}
}

// mayRead checks that bytes could be read now, in a Read that began with the
// connection dead or not.
func (p *player) mayRead(dead bool, read int64) {
	if dead {
		p.errorf("bytes after %v", context.Cause(p.life))
	}
	p.peer.locked(func() {
		if read > p.peer.offered || p.plan.mux && read > p.peer.wrote && p.peer.offered == p.peer.wrote {
			p.errorf("%d bytes read, %d written", read, p.peer.wrote)
		}
	})
	p.locked(func() {
		end := p.made.add(p.lifetime.Truncate(time.Second))
		if now := p.now(); p.lifetime != 0 && !(now.at.Before(end.at) && now.wall.Before(end.wall)) {
			p.errorf("bytes under a verdict of %v, at %v", p.made, now)
		}
	})
}

// judge checks the error of a call.
func (p *player) judge(call string, err error, by time.Time) {
	var e *Error
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, net.ErrClosed), errors.Is(err, errWriteClosed):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
	case errors.Is(err, ErrNoReattest), errors.Is(err, context.DeadlineExceeded) && call == "Reattest":
	case errors.Is(err, os.ErrDeadlineExceeded) && call == "CloseWrite": // crypto/tls gives close_notify 5 s
	case errors.Is(err, os.ErrDeadlineExceeded) && !by.IsZero() && !time.Now().Before(by):
	default:
		p.errorf("%s: %v", call, err)
	}
}

// acts does what ends connections, or does not.
func (p *player) acts(r *rand.Rand) {
	for range r.IntN(6) {
		time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
		switch what := r.IntN(20); {
		case what < 9:
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(10000))*time.Millisecond)
			_, err := p.Reattest(ctx)
			p.judge("Reattest", err, time.Time{})
			cancel()
		case what == 9:
			p.bad.Store(true)
		case what == 10:
			p.broken.Store(true)
		case what == 11:
			p.clock.advance(time.Duration(r.IntN(20000)) * time.Millisecond)
		case what == 12:
			p.clock.advance(-time.Hour)
		case what == 13 && !p.plan.calm:
			p.locked(func() { p.cut = true })
			_ = p.raw.Close()
		case what == 14:
			p.closes()
		}
	}
}

func (p *player) closes() {
	p.locked(func() { p.closed = p.closed || p.life.Err() == nil && p.ended == nil })
	_ = p.Close()
}

// over checks how it ended, seen from an end that has failed by itself.
func (p *player) over() {
	e, failed := context.Cause(p.life).(*Error)
	if !failed || e.Side != Local || !p.plan.mux {
		return
	}
	q := p.peer
	if q.closed {
		return
	}
	if errors.Is(q.ended, io.EOF) && !p.half {
		p.errorf("failed with %v, and the other end read to a good end", e)
	}
	if !p.plan.calm || p.half {
		return
	}
	other, failed := context.Cause(q.life).(*Error)
	if !failed || other.Side == Peer && other.Alert != e.Alert {
		p.errorf("failed with %v, the other end with %v, after %v", e, context.Cause(q.life), q.ended)
	}
}

func randomRun(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	plan := runPlan{mux: r.IntN(4) > 0, calm: r.IntN(2) == 0, pipe: r.IntN(2) == 0}
	cc, sc := newWorld(t).configs([]string{serverAttests, clientAttests, mutual}[r.IntN(3)])
	a := &player{T: t, seed: seed, name: "client", plan: plan}
	b := &player{T: t, seed: seed, name: "server", plan: plan, peer: a}
	a.peer = b
	a.config(cc, r)
	b.config(sc, r)
	if plan.pipe {
		a.raw, b.raw = net.Pipe()
	} else {
		a.raw, b.raw = delayPipe(time.Duration(r.IntN(100)) * time.Millisecond)
	}
	var err1, err2 error
	a.Conn, b.Conn, err1, err2 = handshakes(t, Client(a.raw, cc), Server(b.raw, sc))
	require.NoError(t, errors.Join(err1, err2), "seed %d", seed)
	require.Equal(t, plan.mux, a.mux != nil && b.mux != nil)

	var apps, acts sync.WaitGroup
	for i, p := range []*player{a, b} {
		draw := func(n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(10*i+n))) }
		apps.Go(func() { p.writes(draw(1)) })
		apps.Go(func() { p.reads(draw(2)) })
		acts.Go(func() { p.acts(draw(3)) })
	}
	acts.Wait()
	time.Sleep(time.Duration(r.IntN(10)) * time.Second)
	start := time.Now()
	first, second := a, b
	if r.IntN(2) == 0 {
		first, second = b, a
	}
	first.closes()
	time.Sleep(time.Duration(r.IntN(2)) * time.Second)
	second.closes()
	apps.Wait()
	if took := time.Since(start); took > 20*time.Second {
		a.errorf("the end took %v", took)
	}
	a.over()
	b.over()
	time.Sleep(time.Second) // an Attester that is not waited for comes to its end
}
