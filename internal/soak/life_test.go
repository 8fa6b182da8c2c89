package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence/simulated"
)

const (
	timeout = 5 * time.Second
	every   = time.Second     // how often each side asks anew
	slack   = 5 * time.Second // what a machine under load may be late
)

var lies = []simulated.Lie{
	simulated.WrongNonce, simulated.WrongKey, simulated.DebugOn, simulated.OldFirmware,
	simulated.ModifiedSoftware, simulated.TamperedClaims,
}

// figures count what happened to all connections.
type figures struct {
	opened, plain, garbage, renewed, left, cut, hung, refused, closedIn, slow atomic.Int64
	worst                                                                     atomic.Int64 // ns from turning bad to the end of the connection
}

func (f *figures) String() string {
	return fmt.Sprintf("opened %d, of them without re-attestation %d; garbage %d; renewed %d; left %d, cut %d, hung %d; turned bad %d (ended within %v at worst), refused as bad %d; slow %d",
		f.opened.Load(), f.plain.Load(), f.garbage.Load(), f.renewed.Load(), f.left.Load(), f.cut.Load(), f.hung.Load(),
		f.closedIn.Load(), time.Duration(f.worst.Load()).Round(time.Millisecond), f.refused.Load(), f.slow.Load())
}

// side is one end of the connection that a worker has at a time.
type side struct {
	*party
	cfg      *expat.Config
	began    atomic.Int64 // when this side last began to ask anew, in Unix ns
	peerBad  atomic.Int64 // since when its peer's device is bad; 0: it is good
	rejected atomic.Int64 // how often it has refused its peer anew
}

// worker has one connection after another between two devices of its own.
type worker struct {
	t      testing.TB
	figs   *figures
	client side
	server side
	addr   string
	ends   chan *end
	denied atomic.Int64 // exchanges that ran into a deadline, on either side
}

// end is the server's end of a connection.
type end struct {
	*expat.Conn
	over chan struct{} // closed when it is
}

// endOf is the server's end of c, or nil if that was given up while c was opened. A
// connection may be open at the server that its client has given up: it is left out.
func (w *worker) endOf(c *expat.Conn) *end {
	late := time.After(timeout + slack)
	for {
		select {
		case e := <-w.ends:
			if e.RemoteAddr().String() == c.LocalAddr().String() {
				return e
			}
		case <-late:
			return nil
		}
	}
}

func newWorker(t testing.TB, h *house, figs *figures) *worker {
	w := &worker{t: t, figs: figs, ends: make(chan *end, 64)}
	w.client.party, w.server.party = h.newParty(t, "client.test"), h.newParty(t, serverName)
	for _, s := range []*side{&w.client, &w.server} {
		s.cfg = h.config(s.party, every)
		s.cfg.BeforeReattest = func(*expat.Conn) { s.began.Store(time.Now().UnixNano()) }
		s.cfg.AfterReattest = func(_ *expat.Conn, r *attestation.Result, err error) { w.renewed(s, r, err) }
	}
	w.server.cfg.Refused = func(_ net.Addr, err error) {
		if timedOut(err) {
			w.denied.Add(1)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.addr = ln.Addr().String()
	listener := expat.NewListener(ln, w.server.cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			e := &end{nc.(*expat.Conn), make(chan struct{})}
			w.ends <- e
			_, _ = io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc})
			_ = nc.Close()
			close(e.over)
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return w
}

// renewed looks for the one thing that must never be: a device that was bad when it
// was asked, and was accepted.
func (w *worker) renewed(s *side, r *attestation.Result, err error) {
	switch bad := s.peerBad.Load(); {
	case r != nil && bad != 0 && s.began.Load() > bad:
		w.t.Errorf("a device that has been bad for %v was accepted", time.Duration(s.began.Load()-bad))
	case r != nil:
		w.figs.renewed.Add(1)
	case errors.Is(err, attestation.ErrRejected):
		s.rejected.Add(1)
	case timedOut(err):
		w.denied.Add(1)
	}
}

// life is one connection, from dialling to its end.
func (w *worker) life(ctx context.Context) {
	denied := w.denied.Load()
	c, err := expat.Dial(context.Background(), "tcp", w.addr, w.client.cfg)
	if err != nil {
		w.lost("a good connection was refused", err, denied)
		return
	}
	defer c.Close()
	w.figs.opened.Add(1)
	s := w.endOf(c)
	if s == nil {
		w.lost("a connection is open at the client alone", nil, denied)
		return
	}
	if err := w.talk(ctx, c, time.Now().Add(time.Duration(rand.Int64N(int64(3*time.Second))))); err != nil {
		_ = c.Close()
		<-s.over
		w.lost("a good connection ended", err, denied)
		return
	}
	switch rand.IntN(8) {
	case 0, 1, 2:
		w.turnBad(c, s)
	case 3, 4:
		_ = []*expat.Conn{c, s.Conn}[rand.IntN(2)].NetConn().Close()
		w.mustEnd(c, s, timeout+slack)
		w.figs.cut.Add(1)
	case 5:
		one := []*side{&w.client, &w.server}[rand.IntN(2)]
		one.turn(hanging{})
		w.mustEnd(c, s, every*11/10+timeout+slack)
		one.behave()
		w.figs.hung.Add(1)
	default:
		_ = c.Close()
		<-s.over
		w.figs.left.Add(1)
	}
}

// talk echoes until the time given, or the connection fails.
func (w *worker) talk(ctx context.Context, c *expat.Conn, until time.Time) error {
	sent, got := make([]byte, 100), make([]byte, 100)
	for time.Now().Before(until) && ctx.Err() == nil {
		sent[0]++
		if _, err := c.Write(sent); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(sent) != string(got) {
			w.t.Error("other bytes came back")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// turnBad turns the device of one side. The connection must end at the next
// renewal, and there must be no new one until the device is good again.
func (w *worker) turnBad(c *expat.Conn, s *end) {
	bad, judge := &w.client, &w.server
	if rand.IntN(2) == 0 {
		bad, judge = judge, bad
	}
	before := judge.rejected.Load()
	bad.behave(lies[rand.IntN(len(lies))])
	since := time.Now()
	judge.peerBad.Store(since.UnixNano())
	w.mustEnd(c, s, every*11/10+timeout+slack)
	took := int64(time.Since(since))
	for old := w.figs.worst.Load(); took > old && !w.figs.worst.CompareAndSwap(old, took); old = w.figs.worst.Load() {
	}
	if judge.rejected.Load() == before {
		w.figs.slow.Add(1) // it ran into a deadline instead
	}
	w.figs.closedIn.Add(1)
	if again, err := expat.Dial(context.Background(), "tcp", w.addr, w.client.cfg); err == nil {
		w.t.Error("a bad device got a connection")
		_ = again.Close()
	}
	w.figs.refused.Add(1)
	judge.peerBad.Store(0)
	bad.behave()
}

// mustEnd waits for both ends to be over, while data flows.
func (w *worker) mustEnd(c *expat.Conn, s *end, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if w.talk(ctx, c, time.Now().Add(within)) == nil {
		w.t.Errorf("connection is open %v after it had to end", within)
	}
	_ = c.Close()
	select {
	case <-s.over:
	case <-time.After(within):
		w.t.Errorf("the peer's end is open %v after it had to end", within)
		<-s.over
	}
}

// lost admits that a machine under load runs into deadlines, on either side, and
// nothing else. denied is what was counted of that before.
func (w *worker) lost(what string, err error, denied int64) {
	for range 50 {
		if timedOut(err) || w.denied.Load() > denied {
			w.figs.slow.Add(1)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Errorf("%s: %v", what, err)
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
