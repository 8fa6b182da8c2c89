package expat

import (
	"fmt"
	"strings"

	"github.com/expat-go/expat/internal/wire"
)

// ask is how far we are as relying party.
type ask uint8

const (
	askNone    ask = iota // we have no Verifier
	askPending            // REQUEST is sent, AUTHENTICATOR is awaited
	askJudging            // AUTHENTICATOR is here, RESULT is not sent
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
//
// On a live connection, one that has opened and on which frames go on (mux),
// DATA may come at any time, and each of the others again once the one before it
// has its RESULT.
//
// If the exchange has a stream of its own there is no DATA, and once asked nobody
// is asked anew unless both sides agreed to it.
type state struct {
	ask    ask
	answer answer
	live   bool
	apart  bool // the application's data is on other streams
	once   bool // nobody is asked anew
}

// begin is the state after our HELLO, and our REQUEST if asking.
func begin(asking bool) state {
	if asking {
		return state{ask: askPending}
	}
	return state{}
}

// asking tells whether our REQUEST has no RESULT yet.
func (s state) asking() bool { return s.ask == askPending || s.ask == askJudging }

// asked tells whether the peer's REQUEST has no RESULT yet.
func (s state) asked() bool { return s.answer == answerOwed || s.answer == answerSent }

// open tells whether application data may flow.
func (s state) open() bool {
	return s.live || !s.asking() && (s.answer == answerNone || s.answer == answerDone)
}

// peerMayBeOpen tells whether the peer may read what we send as application
// data: it has our RESULT 0, or never asked, and its own may be under way. That
// is so until the connection is live, or the stream ours: then all is frames.
func (s state) peerMayBeOpen() bool {
	return !s.live && !s.apart && (s.open() || !s.asking() && s.answer == answerSent)
}

// may tells whether the peer may send a frame.
func (s state) may(t wire.Type) bool {
	switch t {
	case wire.Alert:
		return true
	case wire.Hello:
		return s.answer == answerUnknown
	case wire.Request:
		return s.answer == answerPending || s.live && !s.once && s.answer == answerDone
	case wire.Authenticator:
		return s.ask == askPending && s.answer != answerUnknown
	case wire.Result:
		return s.answer == answerSent
	case wire.Data:
		return s.live && !s.apart
	}
	return false
}

// admit returns an error if a frame is out of order.
func (s state) admit(t wire.Type) error {
	if !s.may(t) {
		return fmt.Errorf("%w: %v while we wait for %s", ErrProtocol, t, s.awaited())
	}
	return nil
}

// awaited names what the peer may send, for errors.
func (s state) awaited() string {
	var names []string
	for _, t := range []wire.Type{wire.Hello, wire.Request, wire.Authenticator, wire.Result, wire.Data} {
		if s.may(t) {
			names = append(names, t.String())
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, " or ")
}

// stage is where a failure to receive belongs.
func (s state) stage() Stage {
	switch {
	case s.answer == answerUnknown:
		return StageHello
	case s.asking():
		return StageValidate
	case s.answer == answerPending:
		return StageRequest
	case s.live && s.answer != answerSent:
		return StageStream
	}
	return StageResult
}
