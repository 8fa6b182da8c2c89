package expat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// This file is the exchange on an open connection: request, authenticator and
// result once more, with the code of the first.

// renewal is our asking the peer anew. Its fields are set when done is closed.
type renewal struct {
	answer chan []byte   // AUTHENTICATOR
	lost   chan *Error   // or why there is none
	done   chan struct{} // closed at the end
	result *attestation.Result
	err    error
}

// Reattest asks the peer anew, at once, and returns the new Result; [Conn.Peer]
// is it from then on. Calls at the same time share one exchange, which takes no
// longer than the Config's Timeout; ctx bounds the call alone. If the peer is
// refused, or does not answer, the connection is closed and the error is an
// [*Error] that wraps [ErrReattest]. Where there can be no exchange the
// connection stays as it is: the error then wraps [ErrNoReattest], also where
// re-attestation was not agreed or a side has ended its stream.
func (c *Conn) Reattest(ctx context.Context) (*attestation.Result, error) {
	if c.phase.Load() != phaseOpen {
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, err
		}
	}
	if c.mux == nil || c.mux.x.state.once || c.prepared.Verifier == nil {
		return nil, fmt.Errorf("expat: %w: it was not agreed, or there is no Verifier", ErrNoReattest)
	}
	r, err := c.mux.renew()
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return nil, over(ctx)
	case <-c.life.Done():
	}
	// It is most often this renewal that ends the connection, and AfterReattest
	// hears of it first. A hook that itself waits here is not waited for.
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return nil, over(ctx)
	case <-time.After(grace):
		return nil, context.Cause(c.life)
	}
}

// renew returns the renewal that is under way, or a new one.
func (m *mux) renew() (*renewal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.conn.life.Err() != nil:
		return nil, context.Cause(m.conn.life)
	case m.renewal != nil:
		return m.renewal, nil
	case m.closed[ownEnd] || m.closed[peersEnd]:
		return nil, fmt.Errorf("expat: %w: one of the sides has ended its stream", ErrNoReattest)
	}
	r := m.begin()
	go m.run(r)
	return r, nil
}

// begin notes that a renewal is under way. It is called with mu held.
func (m *mux) begin() *renewal {
	m.renewal = &renewal{answer: make(chan []byte, 1), lost: make(chan *Error, 1), done: make(chan struct{})}
	m.plan()
	return m.renewal
}

// run takes a renewal through.
func (m *mux) run(r *renewal) {
	ctx, cancel := context.WithTimeout(m.conn.life, m.x.timeout)
	defer cancel()
	if f := m.x.BeforeReattest; f != nil {
		f(m.conn)
	}
	v, lost, err := m.ask(ctx, r)
	switch {
	case lost != nil:
		r.err = lost
	case m.conn.life.Err() != nil:
		r.err = context.Cause(m.conn.life)
	case err != nil:
		err.Err = fmt.Errorf("%w: %w", ErrReattest, err.Err)
		m.fail(err)
		r.err = err
	default:
		r.result = v.result
	}
	if f := m.x.AfterReattest; f != nil {
		f(m.conn, r.result, r.err)
	}
	m.mu.Lock()
	m.renewal = nil
	m.plan()
	m.changed.Broadcast()
	m.mu.Unlock()
	close(r.done)
}

// ask sends REQUEST and judges the answer. lost says that the peer has ended its
// stream instead; then what was known of it stands.
func (m *mux) ask(ctx context.Context, r *renewal) (v *verdict, lost, err *Error) {
	q, e := m.x.newRequest(ctx)
	if e != nil {
		return nil, nil, failed(StageRequest, e)
	}
	m.mu.Lock()
	if m.closed[peersEnd] {
		m.mu.Unlock()
		return nil, failed(StageRequest, fmt.Errorf("%w: %w", ErrReattest, ErrClosed)), nil
	}
	m.x.state.ask = askPending
	m.out.send(frame{wire.Request, q.Bytes()})
	m.mu.Unlock()
	select {
	case payload := <-r.answer:
		v, err = m.x.judge(ctx, q, payload)
	case lost = <-r.lost:
		return nil, lost, nil
	case <-ctx.Done():
		return nil, nil, failed(StageValidate, fmt.Errorf("waiting for AUTHENTICATOR: %w", over(ctx)))
	}
	if err == nil {
		err = m.accept(v)
	}
	return v, nil, err
}

// accept takes a new verdict and tells the peer.
func (m *mux) accept(v *verdict) *Error {
	result, err := v.frame()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn.life.Err() != nil {
		return nil // run looks
	}
	m.x.verdict = *v
	m.x.state.ask = askDone
	m.out.send(result)
	m.publish()
	return nil
}

// publish lets users of the connection see what is known now. It is called with
// mu held.
func (m *mux) publish() {
	m.conn.opened.Store(&opened{result: m.x.result, peer: m.x.peer, until: m.limit()})
	m.plan()
}

// control does the step that a frame other than DATA asks for.
func (m *mux) control(t wire.Type, payload []byte) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn.life.Err() != nil {
		return nil
	}
	if err := m.x.state.admit(t); err != nil {
		return m.during(failed(m.x.state.stage(), err))
	}
	switch t {
	case wire.Request:
		return m.requested(payload)
	case wire.Authenticator:
		m.x.state.ask = askJudging
		m.renewal.answer <- payload
		return nil
	case wire.Result:
		return m.told(payload)
	}
	return m.during(m.x.receiveAlert(payload))
}

// requested starts to answer a REQUEST. After our CloseWrite there is no way to.
func (m *mux) requested(payload []byte) *Error {
	asked, err := m.x.session.ReceiveRequest(payload)
	if err != nil {
		return &Error{Stage: StageRequest, Alert: alertOf(StageRequest, err), Side: Local, Err: fmt.Errorf("%w: %w", ErrReattest, err)}
	}
	if m.closed[ownEnd] {
		return nil
	}
	m.x.state.answer = answerOwed
	go m.show(asked, m.pace(time.Now()))
	return nil
}

// How often a REQUEST is answered: to attest can be slow and take a device that
// serves all connections, and a peer that asks over and over on one connection
// escapes whatever limits new ones. Who asks more often gets its answer later.
const (
	answerBurst    = 16
	answerInterval = 100 * time.Millisecond
)

// pace is how long to wait with the answer to a REQUEST that comes now. It is
// called with mu held.
func (m *mux) pace(now time.Time) time.Duration {
	if earliest := now.Add(-answerBurst * answerInterval); m.paid.Before(earliest) {
		m.paid = earliest
	}
	m.paid = m.paid.Add(answerInterval)
	return m.paid.Sub(now)
}

// show answers a REQUEST after a time.
func (m *mux) show(asked *authenticator.ReceivedRequest, wait time.Duration) {
	ctx, cancel := context.WithTimeout(m.conn.life, m.x.timeout)
	defer cancel()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	err := m.x.renewSigners(ctx)
	var message []byte
	var refusal *Error
	if err == nil {
		message, refusal, err = m.x.attest(ctx, asked)
	}
	if err != nil {
		err.Err = fmt.Errorf("%w: %w", ErrReattest, err.Err)
		m.fail(err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.x.refusal = refusal
	m.x.state.answer = answerSent
	m.shown = m.out.send(frame{wire.Authenticator, message})
	m.changed.Broadcast()
}

// told takes the peer's RESULT. One that comes before our AUTHENTICATOR has left
// cannot be about it, and would let a peer that does not read have us queue
// another.
func (m *mux) told(payload []byte) *Error {
	if !m.out.left(m.shown) {
		return m.during(failed(StageResult, fmt.Errorf("%w: RESULT on what was not sent yet", ErrProtocol)))
	}
	if err := m.x.receiveResult(payload); err != nil {
		return m.during(err)
	}
	m.publish()
	return nil
}

// plan sets the timer to what comes next: asking anew, or the end of a verdict.
// It is called with mu held, whenever one of the two may have changed.
func (m *mux) plan() {
	if m.conn.life.Err() != nil {
		return
	}
	if m.drawn != m.x.made {
		m.drawn, m.due = m.x.made, m.x.due()
	}
	next := m.limit()
	if m.renewal == nil && m.mayRenew() {
		next = next.earlier(m.due)
	}
	switch {
	case next.never() && m.timer != nil:
		m.timer.Stop()
	case next.never():
	case m.timer == nil:
		m.timer = time.AfterFunc(m.x.wait(next), m.wake)
	default:
		m.timer.Reset(m.x.wait(next))
	}
}

// mayRenew tells whether anybody can be asked anew.
func (m *mux) mayRenew() bool { return !m.x.state.once && !m.halfClosed() }

func (m *mux) halfClosed() bool { return m.closed[ownEnd] || m.closed[peersEnd] }

// limit is when the first verdict runs out. Once a side has ended its stream nobody can
// be asked anew: then one that was to be renewed stands for two intervals at most.
func (m *mux) limit() instant {
	until := m.x.until()
	if m.halfClosed() && m.x.ReattestEvery > 0 {
		until = until.earlier(m.x.made.add(2 * m.x.ReattestEvery))
	}
	return until
}

// wake is what the timer calls.
func (m *mux) wake() {
	m.mu.Lock()
	switch {
	case m.conn.life.Err() != nil:
	case m.x.reached(m.limit()):
		m.mu.Unlock()
		m.fail(errExpired)
		return
	case m.renewal == nil && m.mayRenew() && m.x.reached(m.due):
		r := m.begin()
		m.mu.Unlock()
		m.run(r)
		return
	default:
		m.plan() // what the timer was set for has moved
	}
	m.mu.Unlock()
}

// The parts of a lifetime after which the peer is asked anew, and how far that
// moves at random, so that the connections of a service do not all ask at once.
const (
	renewAfter  = 2. / 3
	renewJitter = 0.1
)

// due is when the peer is to be asked anew.
func (x *exchange) due() instant {
	after := x.ReattestEvery
	if !x.ours.never() {
		if d := time.Duration(float64(x.ours.at.Sub(x.made.at)) * renewAfter); after == 0 || d < after {
			after = d
		}
	}
	if after == 0 {
		return instant{}
	}
	return x.made.add(time.Duration(float64(after) * (1 - renewJitter + 2*renewJitter*rand.Float64())))
}
