package expat

import (
	"context"
	"crypto/tls"
	"io"
	"time"

	"github.com/expat-go/expat/authenticator"
)

// Handshake runs the TLS handshake and the exchange, if that was not done yet.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext runs the TLS handshake and the exchange, if that was not
// done yet, within ctx and the Config's Timeout. If it fails the connection is
// closed, and the same [*Error] comes back from every later use. Once it has
// succeeded ctx has no effect on the connection.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	if c.phase.Load() == phaseOpen {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase.Load() == phaseOpen:
		return nil
	case c.phase.Load() == phaseFailed:
		return c.cause()
	case c.err != nil:
		return c.err
	}
	err := c.handshake(ctx)
	if err != nil {
		c.shut(err)
		c.err = err
		c.prepared.Trace.done(c.err)
		return c.err
	}
	c.prepared.Trace.done(nil)
	return nil
}

// handshake returns nil with the connection open. It holds c.mu.
func (c *Conn) handshake(ctx context.Context) *Error {
	// Close ends what no closed socket does: an Attester or Verifier at work.
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(c.life, func() { end(context.Cause(c.life)) })()
	ctx, cancel := context.WithTimeout(ctx, c.prepared.timeout)
	defer cancel()
	c.supply.ctx = ctx
	if err := c.tls.HandshakeContext(context.WithValue(ctx, supplyKey{}, &c.supply)); err != nil {
		if c.supply.err != nil {
			return failed(StageIdentity, c.supply.err)
		}
		if ended := c.ended(ctx); ended != nil {
			err = ended
		}
		return broken(StageTLS, tlsFailure(err, c.foreign))
	}
	cs := c.tls.ConnectionState()
	if err := checkNegotiated(cs); err != nil {
		return failed(StageNegotiate, err)
	}
	c.prepared.Trace.tlsDone(cs)
	if err := c.openStream(ctx); err != nil {
		return err
	}
	x, err := c.newExchange(ctx, cs)
	if err != nil {
		return err
	}
	// A read under way ends when ctx does; whatever else waits looks at ctx.
	stop := context.AfterFunc(ctx, func() {
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
		time.AfterFunc(3*grace, func() { c.shut(failed(StageHello, over(ctx))) }) // should a caller move the deadline
	})
	if err := x.run(ctx); err != nil {
		stop()
		return err
	}
	if !stop() {
		return failed(StageResult, over(ctx))
	}
	c.open(x)
	return nil
}

// ended says why a handshake within ctx is over: Close, which ctx may be a moment
// late to follow, or ctx itself. It is nil if the handshake may go on.
func (c *Conn) ended(ctx context.Context) error {
	switch {
	case c.life.Err() != nil:
		return over(c.life)
	case ctx.Err() != nil:
		return over(ctx)
	}
	return nil
}

func (c *Conn) newExchange(ctx context.Context, cs tls.ConnectionState) (*exchange, *Error) {
	session, err := authenticator.NewSession(cs, c.role)
	if err != nil {
		return nil, failed(StageNegotiate, err)
	}
	x := &exchange{prepared: c.prepared, conn: c, tls: c.tls, role: c.role, session: session}
	var e *Error
	x.own, e = c.identities(ctx)
	return x, e
}

// servedBy is the configuration that served a client.
func (c *Conn) servedBy() *tls.Config {
	if c.served != nil {
		return c.served
	}
	return c.prepared.server
}

// open lets application data flow until the first verdict runs out.
func (c *Conn) open(x *exchange) {
	o := &opened{result: x.result, peer: x.peer, until: x.until()}
	c.opened.Store(o)
	if c.apart != nil || x.mux() && x.hello.Mux {
		c.openMux(x)
		return
	}
	if !o.until.never() {
		o.expiry = time.AfterFunc(lookEvery, c.look)
		o.expiry.Reset(c.prepared.wait(o.until)) // look finds it
	}
	c.phase.CompareAndSwap(phaseNew, phaseOpen) // unless it has run out already
	if c.life.Err() != nil {
		o.stop() // Close came before there was a timer to stop
	}
}

// openMux does the same where frames go on. The deadlines of the socket become
// those of the application's stream.
func (c *Conn) openMux(x *exchange) {
	c.limits.Lock()
	defer c.limits.Unlock()
	_ = c.net.SetDeadline(time.Time{})
	c.mux = newMux(c, x)
	c.mux.readBy.set(c.readBy)
	c.mux.writeBy.set(c.writeBy)
	c.phase.CompareAndSwap(phaseNew, phaseOpen)
	c.mux.start()
}

// look is what the timer calls. It ends the connection if a verdict has run out, and
// has itself called again if not.
func (c *Conn) look() {
	o := c.opened.Load()
	switch {
	case c.prepared.reached(o.until):
		c.expire()
	case c.life.Err() == nil:
		o.expiry.Reset(c.prepared.wait(o.until))
	}
}

// fail ends an open connection; err stays. It tells whether that is news.
func (c *Conn) fail(err *Error) bool {
	news := c.phase.Swap(phaseFailed) != phaseFailed
	c.end(err)
	return news
}

// cause is why a connection has failed that has.
func (c *Conn) cause() error {
	<-c.life.Done() // fail has just begun, at worst
	return context.Cause(c.life)
}

// expire ends a connection on which a verdict ran out. Reads and writes under
// way end too, whether or not the peer takes a close_notify, and what is
// deciphered and not read is dropped.
func (c *Conn) expire() {
	if c.mux != nil {
		c.mux.fail(errExpired)
		return
	}
	if !c.fail(errExpired) {
		return
	}
	limit := time.AfterFunc(grace, func() { _ = c.net.Close() })
	defer limit.Stop()
	_ = c.net.SetReadDeadline(time.Unix(1, 0))
	_, _ = io.Copy(io.Discard, c.tls) // from the connection under it nothing comes: see readUnder
	_ = c.tls.Close()
}
