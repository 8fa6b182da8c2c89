package expat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/expat-go/expat/internal/wire"
)

// mux is an open connection on which frames go on. One goroutine, the pump,
// reads all frames: DATA goes to the inbox, the rest moves the exchange. What
// takes long is done in goroutines that live as long as it takes. See
// docs/reattestation.md.
type mux struct {
	conn *Conn
	x    *exchange
	out  *sender
	in   inbox

	readBy, writeBy deadline
	writing         sync.Mutex // one Write at a time

	header [wire.HeaderSize]byte // of the pump
	pumped chan struct{}         // closed when the pump has ended
	parted chan struct{}         // closed when the peer of a failed connection was told

	mu      sync.Mutex // guards x.state and what x knows of both verdicts, and:
	changed *sync.Cond // something below has changed
	renewal *renewal   // under way; nil: none
	shown   *flight    // our latest AUTHENTICATOR
	paid    time.Time  // up to when answers are used up; see pace
	due     instant    // when to ask anew; never: only when told to
	drawn   instant    // when the verdict was made to which due belongs
	timer   *time.Timer
	closed  [2]bool // the stream has ended: ours, the peer's
}

const ownEnd, peersEnd = 0, 1

func newMux(c *Conn, x *exchange) *mux {
	m := &mux{conn: c, x: x, out: x.out, pumped: make(chan struct{}), parted: make(chan struct{})}
	m.changed = sync.NewCond(&m.mu)
	m.in.init(c.life)
	x.state.live = true
	x.state.once = !x.mux() || !x.hello.Mux
	x.request, x.asked = nil, nil
	return m
}

// start lets frames flow.
func (m *mux) start() {
	m.mu.Lock()
	m.plan()
	m.mu.Unlock()
	go m.pump()
}

// read is Conn.Read.
func (m *mux) read(b []byte) (int, error) {
	n, err := m.in.read(b, &m.readBy)
	if m.conn.lapsed() {
		return 0, m.conn.cause()
	}
	return n, err
}

// write is Conn.Write.
func (m *mux) write(b []byte) (int, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	stop := m.writeBy.passed()
	switch {
	case m.conn.life.Err() != nil:
		return 0, context.Cause(m.conn.life)
	case isClosed(stop):
		return 0, errDeadline
	case len(b) == 0:
		return 0, nil
	}
	n, err := m.out.stream(b, stop, m.conn.life.Done())
	switch {
	case n < len(b) && m.conn.lapsed():
		err = m.conn.cause()
	case m.conn.life.Err() != nil && (err != nil || n < len(b)):
		err = context.Cause(m.conn.life)
	case err == nil && n < len(b):
		err = errDeadline
	}
	return n, err
}

// pump reads frames until the stream ends or the connection fails.
func (m *mux) pump() {
	defer close(m.pumped)
	for {
		violation, err := m.step()
		switch {
		case err != nil:
			m.ended(err)
			return
		case violation != nil:
			m.fail(violation)
			// The last word must not be lost to a reset, which unread bytes
			// would cause. It takes no longer than farewell lets it.
			_, _ = io.Copy(io.Discard, m.x.tls)
			return
		}
	}
}

// step reads one frame and does what it asks for. It returns a violation of the
// protocol or of a verdict, or an error of the connection.
func (m *mux) step() (*Error, error) {
	if _, err := io.ReadFull(m.x.tls, m.header[:]); err != nil {
		return nil, err
	}
	t, n, err := wire.ParseHeader(m.header, m.x.maxAuth)
	switch {
	case err != nil:
	case t == wire.Data && n == 0:
		err = fmt.Errorf("%w: DATA without data", ErrProtocol)
	default:
		err = m.admit(t) // before its payload costs memory
	}
	if err != nil {
		return m.violation(err), nil
	}
	if t == wire.Data {
		return nil, m.in.fill(m.x.tls, n)
	}
	payload, err := wire.ReadPayload(m.x.tls, n)
	if err != nil {
		return nil, err
	}
	m.x.Trace.received(Frame{Name: t.String(), Size: wire.HeaderSize + n})
	violation := m.control(t, payload)
	if f := m.x.Reattested; f != nil && violation == nil && t == wire.Result && m.conn.life.Err() == nil {
		f(m.conn)
	}
	return violation, nil
}

// admit returns an error if a frame is out of order.
func (m *mux) admit(t wire.Type) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.x.state.admit(t)
}

// violation is the error of a frame that cannot be.
func (m *mux) violation(err error) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.during(failed(m.x.state.stage(), err))
}

// during marks what goes wrong while a side is asked anew. It is called with mu
// held.
func (m *mux) during(e *Error) *Error {
	if e != nil && (m.x.state.asking() || m.x.state.asked()) {
		e.Err = fmt.Errorf("%w: %w", ErrReattest, e.Err)
	}
	return e
}

// ended notes that nothing more will arrive: the peer ended its stream in good
// order, or the connection broke. What arrived before was sent under a verdict
// that holds, and stays to be read. A request of ours will not be answered.
func (m *mux) ended(err error) {
	if m.conn.life.Err() != nil {
		return
	}
	unsent := m.out.failed()
	switch {
	case err == io.EOF && m.conn.cut.Load():
		err = io.ErrUnexpectedEOF // without close_notify
	case unsent != nil && errors.Is(err, os.ErrDeadlineExceeded):
		err = unsent // which set the deadline
	}
	if m.conn.apart != nil {
		m.lost(err)
		return
	}
	m.mu.Lock()
	if m.conn.life.Err() != nil { // Close came meanwhile, and the renewal may be gone
		m.mu.Unlock()
		return
	}
	m.closed[peersEnd] = true
	if err != io.EOF {
		m.closed[ownEnd] = true
	}
	lost := fmt.Errorf("%w (%w)", ErrClosed, err)
	e := m.during(failed(m.x.state.stage(), lost))
	if m.x.state.ask == askPending {
		m.x.state.ask = askDone
		m.renewal.lost <- e
	}
	m.publish()
	m.mu.Unlock()
	if err == io.EOF {
		m.in.end(io.EOF)
		return
	}
	if errors.Is(e, ErrReattest) {
		err = e
	}
	m.in.end(err)
	m.out.fail(err)
}

// lost ends a connection whose exchange can no longer speak. A stream of its own
// ends with the connection alone: else a peer that ended it could not be asked.
func (m *mux) lost(err error) {
	if err == io.EOF || gone(err) {
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	m.mu.Lock()
	e := m.during(broken(m.x.state.stage(), err))
	m.mu.Unlock()
	m.fail(e)
}

// fail ends the connection at once: what waits to be read or written is dropped,
// and the peer is told why.
func (m *mux) fail(e *Error) {
	m.mu.Lock()
	if m.conn.life.Err() != nil {
		m.mu.Unlock()
		return
	}
	word := m.x.lastWord(e)
	m.conn.fail(e)
	m.mu.Unlock()
	m.stop()
	if m.conn.apart != nil {
		m.conn.shut(e) // no other stream may go on while the peer is told
		return
	}
	go m.farewell(e, word)
}

// stop lets go whoever waits. The end of conn.life came before.
func (m *mux) stop() {
	m.mu.Lock()
	if m.timer != nil {
		m.timer.Stop()
	}
	m.changed.Broadcast()
	m.mu.Unlock()
	m.readBy.stop()
	m.writeBy.stop()
	m.in.drop()
	m.out.cut()
}

// close is Conn.Close. What belongs to an exchange leaves before, so that the
// peer finds a good end, or of a failed connection the reason.
func (m *mux) close() error {
	if m.conn.phase.Load() == phaseFailed && m.conn.apart == nil {
		select {
		case <-m.parted:
		case <-time.After(2 * grace): // a Trace that closes holds up the pump
		}
		_ = m.conn.net.Close()
		return nil
	}
	cut := m.out.busy()
	m.stop()
	if cut && m.conn.apart == nil {
		return m.conn.net.Close() // what the peer has of that Write must not seem complete
	}
	short, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = m.out.end(short)
	return m.x.tls.Close()
}

// farewell tells the peer why, as far as it listens, and closes the connection.
func (m *mux) farewell(e *Error, word frame) {
	defer close(m.parted)
	limit := time.AfterFunc(grace, func() { _ = m.conn.net.Close() }) // ends a write that hangs, and the pump
	defer limit.Stop()
	if e.Side == Local {
		m.out.send(word)
	}
	if m.out.end(context.Background()) == nil && m.x.tls.CloseWrite() == nil && e.Side == Local {
		<-m.pumped
	}
	_ = m.conn.net.Close()
}

// closeWrite is Conn.CloseWrite.
func (m *mux) closeWrite() error {
	m.mu.Lock()
	m.closed[ownEnd] = true
	for m.conn.life.Err() == nil && (m.renewal != nil || m.x.state.answer == answerOwed) {
		m.changed.Wait()
	}
	m.publish()
	m.mu.Unlock()
	m.writing.Lock()
	defer m.writing.Unlock()
	if err := m.out.end(m.conn.life); err != nil {
		return m.conn.explain(err)
	}
	return m.conn.explain(m.x.tls.CloseWrite())
}

// setDeadlines sets those that are not nil.
func (m *mux) setDeadlines(read, write *time.Time) error {
	if m.conn.life.Err() != nil {
		return context.Cause(m.conn.life)
	}
	if read != nil {
		m.readBy.set(*read)
	}
	if write != nil {
		m.writeBy.set(*write)
	}
	return nil
}
