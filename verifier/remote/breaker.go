package remote

import (
	"errors"
	"sync"
	"time"
)

// State is that of the breaker.
type State uint8

// The states of the breaker.
const (
	Closed   State = iota // attempts are made
	Open                  // attempts fail at once
	HalfOpen              // one attempt at a time is made, to see whether the service is back
)

func (s State) String() string { return [...]string{"closed", "open", "half-open"}[s] }

// health is what an attempt says of the service.
type health uint8

const (
	unknown health = iota // nothing: the caller went away, or what the peer sent may be to blame
	there                 // it answers, whatever it thinks of what the peer sent
	well
	ill
)

// healthOf judges the service by the outcome of an attempt. The peer chooses what
// is posted as Evidence: an HTTP error in answer to that does not count against the
// service, or a hostile peer could close it to all others.
func healthOf(err error) health {
	var e *Error
	switch {
	case err == nil:
		return well
	case !errors.As(err, &e), e.left:
		return unknown
	case errors.Is(err, ErrRefused) && (e.Step == StepEvidence || e.Step == StepPoll):
		return there
	case errors.Is(err, ErrRefused):
		return unknown
	case e.Status != 0 && e.Step != StepSession && errors.Is(err, ErrUnreachable):
		return unknown
	}
	return ill
}

// breaker stops attempts after a number of failures in a row. It is safe for
// concurrent use.
type breaker struct {
	threshold int
	pause     time.Duration
	now       func() time.Time

	mu       sync.Mutex
	failures int // in a row
	open     bool
	since    time.Time // when it opened
	probing  bool
}

func (b *breaker) state() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return Closed
	case b.now().Sub(b.since) < b.pause:
		return Open
	}
	return HalfOpen
}

// allow admits an attempt, whose outcome must be told to done with the same probe.
func (b *breaker) allow() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return false, nil
	case b.probing || b.now().Sub(b.since) < b.pause:
		return false, &Error{Step: StepConnect, Err: ErrOpen}
	}
	b.probing = true
	return true, nil
}

func (b *breaker) done(probe bool, h health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	if h == there && probe {
		h = well
	}
	switch h {
	case well:
		b.failures, b.open = 0, false
	case ill:
		b.failures++
		if probe || (!b.open && b.failures >= b.threshold) {
			b.open, b.since = true, b.now()
		}
	}
}
