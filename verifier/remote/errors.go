package remote

import (
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
)

// The reasons for which the service gives no verdict, found with [errors.Is]. All
// come with [attestation.ErrUnavailable]: none of them opens a connection.
var (
	// ErrConfig: the Options cannot be used.
	ErrConfig = errors.New("invalid configuration of the remote verifier")
	// ErrUnreachable: no connection, no answer in time, or the service says that it
	// is overloaded or down (HTTP 429, 502, 503, 504). Only these are tried again.
	ErrUnreachable = errors.New("verifier service is not reachable")
	// ErrOpen: the last attempts failed, so that none is made for a while.
	ErrOpen = errors.New("verifier service was down a moment ago")
	// ErrClosed: [Verifier.Close] was called.
	ErrClosed = errors.New("remote verifier was closed")
	// ErrRefused: the service does not do what it was asked for.
	ErrRefused = errors.New("verifier service refused the request")
	// ErrProtocol: what the service answers is not the challenge-response API.
	ErrProtocol = errors.New("verifier service broke the protocol")
	// ErrResult: the EAR is not good, or is about something else.
	ErrResult = errors.New("verifier service gave no usable attestation result")
)

// Step is the part of an appraisal at which it failed.
type Step string

// The steps.
const (
	StepConnect  Step = "connect"  // before anything is sent
	StepSession  Step = "session"  // newSession
	StepEvidence Step = "evidence" // the Evidence is posted
	StepPoll     Step = "poll"     // waiting for the result
	StepResult   Step = "result"   // the EAR is checked
)

// Error tells how an appraisal came to no verdict. It repeats nothing of Evidence,
// result or answer.
type Error struct {
	Step   Step
	Status int // of the HTTP answer; 0 if there was none
	Err    error

	after time.Duration // Retry-After
	final bool          // not to be tried again, although the service is not reachable
	left  bool          // the caller went away or came late, which says nothing of the service
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("verifier service: %s: HTTP status %d: %v", e.Step, e.Status, e.Err)
	}
	return fmt.Sprintf("verifier service: %s: %v", e.Step, e.Err)
}

// Unwrap returns the reason and [attestation.ErrUnavailable].
func (e *Error) Unwrap() []error { return []error{e.Err, attestation.ErrUnavailable} }

func broken(step Step, format string, args ...any) *Error {
	return &Error{Step: step, Err: fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)}
}

// transient tells whether an error can be gone the next time, and how long the
// service asks to wait.
func transient(err error) (after time.Duration, again bool) {
	var e *Error
	if !errors.As(err, &e) || e.final || !errors.Is(e.Err, ErrUnreachable) {
		return 0, false
	}
	return e.after, true
}
