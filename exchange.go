package expat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// grace is how long a failing connection may take to tell the peer why.
const grace = 200 * time.Millisecond

// exchange is the run of expat/1 on one connection: between the TLS handshake and
// the first application byte, and with mux for as long as the connection lasts.
type exchange struct {
	*prepared
	conn    *Conn
	tls     channel
	role    authenticator.Role
	session *authenticator.Session
	out     *sender
	state   state

	ownMu sync.Mutex
	own   []*authenticator.Identity // what signs our authenticators

	hello   wire.HelloMap                  // the peer's
	request *authenticator.Request         // ours
	asked   *authenticator.ReceivedRequest // the peer's
	refusal *Error                         // why we sent an empty authenticator

	gone bool // the peer has ended the connection

	verdict         // ours on the peer
	theirs  instant // when the peer's on us runs out
}

// until is when the first of both verdicts runs out.
func (x *exchange) until() instant { return x.ours.earlier(x.theirs) }

// run returns nil when both sides have agreed that application data may flow.
// Otherwise the peer has been told, as far as it listens, and the connection is
// closed.
func (x *exchange) run(ctx context.Context) *Error {
	x.out = newSender(x.tls, x.Trace, func() {
		// Nothing that we wait for can arrive now, but for the peer's reason.
		_ = x.tls.SetReadDeadline(time.Now().Add(grace))
	}, x.conn.lapsed)
	err := x.steps(ctx)
	if err == nil {
		if e := x.out.flush(ctx); e != nil {
			err = broken(StageResult, e)
		}
	}
	if err == nil && x.reached(x.until()) {
		err = errExpired // the peer took longer over its verdict than ours holds
	}
	if err != nil {
		x.abort(ctx, err)
	}
	return err
}

func (x *exchange) steps(ctx context.Context) *Error {
	if err := x.begin(ctx); err != nil {
		return err
	}
	for !x.state.open() {
		t, payload, err := x.receive(ctx)
		if err != nil {
			return broken(x.state.stage(), err)
		}
		if err := x.handle(ctx, t, payload); err != nil {
			return err
		}
	}
	return nil
}

// handle does the step that a frame in order asks for.
func (x *exchange) handle(ctx context.Context, t wire.Type, payload []byte) *Error {
	switch t {
	case wire.Hello:
		return x.receiveHello(payload)
	case wire.Request:
		return x.receiveRequest(ctx, payload)
	case wire.Authenticator:
		return x.receiveAuthenticator(ctx, payload)
	case wire.Result:
		return x.receiveResult(payload)
	}
	return x.receiveAlert(payload)
}

// work takes one of a server's places for a step that costs more than waiting
// does: so peers that say nothing take no place from those that do.
func (x *exchange) work(ctx context.Context, stage Stage, step func() *Error) *Error {
	places := x.exchanges
	if x.state.live {
		places = x.renewals
	}
	if x.role == authenticator.Server {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-ctx.Done():
			return failed(stage, fmt.Errorf("waiting for one of %d exchanges to be done: %w", cap(places), over(ctx)))
		}
	}
	if ctx.Err() != nil {
		return failed(stage, over(ctx))
	}
	return step()
}

// receive reads a frame, until ctx ends.
func (x *exchange) receive(ctx context.Context) (wire.Type, []byte, error) {
	t, payload, err := wire.ReadIf(x.tls, x.maxAuth, x.state.admit)
	ended := x.conn.ended(ctx)
	switch {
	case err == nil:
		x.Trace.received(Frame{Name: t.String(), Size: wire.HeaderSize + len(payload)})
		return t, payload, nil
	case ended != nil:
		return 0, nil, fmt.Errorf("waiting for %s: %w", x.state.awaited(), ended)
	case errors.Is(err, wire.ErrType):
		return 0, nil, fmt.Errorf("%w (application data before the exchange is done?)", err)
	case errors.Is(err, wire.ErrTooLarge), errors.Is(err, ErrProtocol):
		return 0, nil, err
	case x.out.failed() != nil:
		err = x.out.failed() // which also ended the read
	}
	if x.gone = gone(err); x.gone {
		err = fmt.Errorf("%w, while we waited for %s (%w)", ErrClosed, x.state.awaited(), err)
	}
	return 0, nil, err
}

// begin sends HELLO and, if we ask, REQUEST, in one flight.
func (x *exchange) begin(ctx context.Context) *Error {
	hello := wire.HelloMap{
		WillRequest: x.Verifier != nil, CanAttest: x.Attester != nil,
		Models: models, Mux: x.mux(), MaxAuthenticator: x.maxAuth,
	}
	x.state = begin(hello.WillRequest)
	x.state.apart = x.conn.apart != nil
	if hello.WillRequest {
		hello.MediaTypes = x.Verifier.MediaTypes()
	}
	payload, err := hello.Encode()
	if err != nil {
		return failed(StageHello, fmt.Errorf("%w: the Verifier's media types: %w", ErrConfig, err))
	}
	flight := []frame{{wire.Hello, payload}}
	if hello.WillRequest {
		if x.request, err = x.newRequest(ctx); err != nil {
			return failed(StageRequest, err)
		}
		flight = append(flight, frame{wire.Request, x.request.Bytes()})
	}
	x.out.send(flight...)
	return nil
}

func (x *exchange) receiveHello(payload []byte) *Error {
	var err error
	if x.hello, err = wire.ParseHello(payload); err != nil {
		return failed(StageHello, err)
	}
	switch {
	case x.Verifier == nil && !x.hello.WillRequest:
		return failed(StageHello, ErrNobodyAsks)
	case x.Verifier != nil && !x.hello.CanAttest:
		return failed(StageHello, ErrNotAttested)
	case x.ReattestEvery > 0 && !x.hello.Mux:
		return failed(StageHello, fmt.Errorf("%w, as ReattestEvery demands: set Reattest there", ErrNoReattest))
	}
	x.state.answer = answerNone
	if x.hello.WillRequest {
		x.state.answer = answerPending
	}
	return nil
}

func (x *exchange) receiveAlert(payload []byte) *Error {
	code, err := wire.ParseAlert(payload)
	if err == nil && Alert(code) == AlertAccepted {
		err = fmt.Errorf("%w: ALERT with code 0", ErrProtocol)
	}
	if err != nil {
		return failed(x.state.stage(), err)
	}
	stage := x.state.stage()
	if x.state.answer == answerSent {
		stage = StageResult // it is about what we sent, whatever else is missing
	}
	return x.withRefusal(reported(stage, code))
}

// withRefusal adds to a peer's report why we refused: the peer cannot know.
func (x *exchange) withRefusal(e *Error) *Error {
	if x.refusal != nil {
		e.Err = fmt.Errorf("%w, after we refused: %w", e.Err, x.refusal.Err)
	}
	return e
}

// abort tells the peer why, as far as it listens, and closes the connection. A
// peer that may be open is told nothing: its application would read the ALERT.
func (x *exchange) abort(ctx context.Context, e *Error) {
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	defer func() {
		x.conn.shut(e) // a write that hangs ends here
		_ = x.out.end(short)
	}()
	if x.out.over() || e.Side == Peer || x.gone || x.state.peerMayBeOpen() {
		return
	}
	x.out.send(x.lastWord(e))
	if x.out.end(short) != nil || ctx.Err() != nil {
		return
	}
	// Closing a socket that holds unread bytes resets it, which can take the
	// last word away from the peer: read what is under way, within limits. The
	// end of our stream lets a peer that does the same stop at once.
	limit := time.AfterFunc(grace, func() { x.conn.shut(e) })
	defer limit.Stop()
	_ = x.tls.CloseWrite()
	_, _ = io.CopyN(io.Discard, x.tls, int64(x.maxAuth)+wire.MaxRequest)
}

// lastWord is how a failure is told: RESULT is the verdict on an authenticator,
// ALERT everything else.
func (x *exchange) lastWord(e *Error) frame {
	if x.state.ask == askJudging {
		if payload, err := (wire.ResultMap{Code: uint16(e.Alert)}).Encode(); err == nil {
			return frame{wire.Result, payload}
		}
	}
	return frame{wire.Alert, wire.EncodeAlert(uint16(e.Alert))}
}
