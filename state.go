package expat

import (
	"fmt"

	"github.com/expat-go/expat/internal/wire"
)

// ask is how far we are as relying party.
type ask uint8

const (
	askNone    ask = iota // we have no Verifier
	askPending            // REQUEST is sent, AUTHENTICATOR is awaited
	askDone               // RESULT 0 is sent
)

// answer is how far we are as attester.
type answer uint8

const (
	answerUnknown answer = iota // before the peer's HELLO
	answerNone                  // the peer does not ask
	answerPending               // REQUEST is awaited
	answerOwed                  // REQUEST is here, AUTHENTICATOR not yet sent
	answerSent                  // AUTHENTICATOR is sent, RESULT is awaited
	answerDone                  // RESULT 0 is here
)

// state decides which frame the peer may send next. It is the whole order of
// the exchange; ALERT alone may come at any time.
//
//	HELLO          first, once
//	REQUEST        once, if the peer's HELLO said that it will
//	AUTHENTICATOR  once, if we asked
//	RESULT         once, after our AUTHENTICATOR
type state struct {
	ask    ask
	answer answer
}

// begin is the state after our HELLO, and our REQUEST if asking.
func begin(asking bool) state {
	if asking {
		return state{ask: askPending}
	}
	return state{}
}

// open tells whether application data may flow.
func (s state) open() bool {
	return s.ask != askPending && (s.answer == answerNone || s.answer == answerDone)
}

// peerMayBeOpen tells whether the peer may read what we send as application
// data: it has our RESULT 0, or never asked, and its own may be under way.
func (s state) peerMayBeOpen() bool { return s.open() || s.ask != askPending && s.answer == answerSent }

// admit returns an error if a frame is out of order.
func (s state) admit(t wire.Type) error {
	var ok bool
	switch t {
	case wire.Alert:
		ok = true
	case wire.Hello:
		ok = s.answer == answerUnknown
	case wire.Request:
		ok = s.answer == answerPending
	case wire.Authenticator:
		ok = s.ask == askPending && s.answer != answerUnknown
	case wire.Result:
		ok = s.answer == answerSent
	}
	if !ok {
		return fmt.Errorf("%w: %v while we wait for %s", ErrProtocol, t, s.awaited())
	}
	return nil
}

// awaited names what the peer may send, for errors.
func (s state) awaited() string {
	switch {
	case s.answer == answerUnknown:
		return wire.Hello.String()
	case s.answer == answerPending && s.ask == askPending:
		return wire.Request.String() + " or " + wire.Authenticator.String()
	case s.answer == answerPending:
		return wire.Request.String()
	case s.answer == answerSent && s.ask == askPending:
		return wire.Authenticator.String() + " or " + wire.Result.String()
	case s.answer == answerSent:
		return wire.Result.String()
	case s.ask == askPending:
		return wire.Authenticator.String()
	}
	return "nothing"
}

// stage is where a failure to receive belongs.
func (s state) stage() Stage {
	switch {
	case s.answer == answerUnknown:
		return StageHello
	case s.ask == askPending:
		return StageValidate
	case s.answer == answerPending:
		return StageRequest
	}
	return StageResult
}
