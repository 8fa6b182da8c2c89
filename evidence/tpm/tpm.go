package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// DefaultCommandTimeout is how long one command may take. Making an RSA key takes
// some TPMs half a minute.
const DefaultCommandTimeout = 2 * time.Minute

// Options say how to reach and use a TPM.
type Options struct {
	// Open opens the transport, at first and whenever it broke. Required.
	Open Opener
	// OwnerAuth and EndorsementAuth are the authorization values of the two
	// hierarchies. Nil: empty, as on most machines.
	OwnerAuth, EndorsementAuth []byte
	// CommandTimeout bounds one command, where the transport has deadlines.
	// Zero: [DefaultCommandTimeout].
	CommandTimeout time.Duration
}

// TPM is one TPM 2.0. It is safe for concurrent use: commands wait for their turn
// in order of arrival. A caller whose context ends returns at once; a command that
// the TPM has begun then finishes unobserved, so that nothing it made stays behind
// in the TPM. When the transport breaks, the next command opens it again.
type TPM struct {
	options Options
	turn    chan struct{} // holds one element while somebody talks to the TPM
	closed  chan struct{}
	once    sync.Once

	// The rest belongs to who has the turn.
	conn    io.ReadWriteCloser // nil: not connected
	loaded  []loadedKey        // least recently used first
	ours    map[string]bool    // Names of all objects that we have loaded
	orphans []tpm2.TPMHandle   // sessions that could not be flushed
}

// loadedKey is a key in a transient slot of the TPM.
type loadedKey struct {
	key    *key
	handle tpm2.TPMHandle
}

// maxLoaded is how many keys stay loaded. A TPM has at least three transient
// slots, and loading a key takes one for its parent.
const maxLoaded = 2

// Open connects to a TPM. The error wraps [ErrOptions] or [ErrGone].
func Open(ctx context.Context, o Options) (*TPM, error) {
	if o.Open == nil {
		return nil, fmt.Errorf("%w: set Open", ErrOptions)
	}
	if o.CommandTimeout < 0 {
		return nil, fmt.Errorf("%w: CommandTimeout is negative", ErrOptions)
	}
	if o.CommandTimeout == 0 {
		o.CommandTimeout = DefaultCommandTimeout
	}
	o.OwnerAuth, o.EndorsementAuth = bytes.Clone(o.OwnerAuth), bytes.Clone(o.EndorsementAuth)
	t := &TPM{options: o, turn: make(chan struct{}, 1), closed: make(chan struct{}), ours: make(map[string]bool)}
	_, err := run(ctx, t, func(s *session) (*tpm2.GetRandomResponse, error) {
		return tpm2.GetRandom{BytesRequested: 8}.Execute(s) // is it a TPM 2.0 that has been started?
	})
	if ctx.Err() != nil {
		go t.Close() // waits for the command that nobody waits for any more
		return nil, context.Cause(ctx)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close waits for the command that is running, takes our keys out of the TPM's
// slots and closes the transport. Commands that wait fail with [ErrClosed].
func (t *TPM) Close() error {
	t.once.Do(func() {
		close(t.closed)
		t.turn <- struct{}{} // never given back
		if t.conn == nil {
			return
		}
		s := &session{t: t, ctx: context.Background()}
		for _, l := range t.loaded {
			s.flush(l.handle)
		}
		t.disconnect()
	})
	return nil
}

// session is one turn at the TPM. It sends commands for as long as its context
// lasts.
type session struct {
	t   *TPM
	ctx context.Context
}

// Send makes session a transport of go-tpm.
func (s *session) Send(command []byte) ([]byte, error) {
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	if s.t.conn == nil {
		return nil, ErrGone
	}
	response, err := roundTrip(s.t.conn, s.t.options.CommandTimeout, command)
	if err != nil {
		s.t.disconnect()
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return response, nil
}

// cleanup is a session that goes on after the context of s ended.
func (s *session) cleanup() *session {
	return &session{t: s.t, ctx: context.WithoutCancel(s.ctx)}
}

// flush takes an object out of its slot. If that fails the TPM is gone, or the
// handle is.
func (s *session) flush(h tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(s.cleanup())
}

// disconnect forgets the transport. What was loaded is out of reach, or will be
// found again by reclaim.
func (t *TPM) disconnect() {
	if t.conn != nil {
		t.conn.Close()
	}
	t.conn, t.loaded = nil, nil
}

func (s *session) connect() error {
	conn, err := s.t.options.Open(s.ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	s.t.conn = conn
	for _, h := range s.t.orphans {
		s.flush(h)
	}
	s.t.orphans = nil
	return nil
}

// run waits for the turn and has job talk to the TPM. Jobs must be repeatable: one
// that finds a transport broken that had been idle is run again on a new one.
func run[T any](ctx context.Context, t *TPM, job func(*session) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var zero T
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	select {
	case <-t.closed:
		return zero, ErrClosed
	default:
	}
	select {
	case t.turn <- struct{}{}:
	case <-t.closed:
		return zero, ErrClosed
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-t.turn }()
		value, err := attempt(&session{t: t, ctx: ctx}, job)
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
}

func attempt[T any](s *session, job func(*session) (T, error)) (T, error) {
	for {
		fresh := s.t.conn == nil
		if fresh {
			if err := s.connect(); err != nil {
				var zero T
				return zero, err
			}
		}
		value, err := job(s)
		if !fresh && s.ctx.Err() == nil && errors.Is(err, ErrGone) {
			continue
		}
		return value, explain(err)
	}
}
