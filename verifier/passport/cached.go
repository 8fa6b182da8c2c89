package passport

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/bounded"
	"github.com/expat-go/expat/verifier/ear"
)

const (
	// defaultTimeout bounds one call of the source.
	defaultTimeout = 30 * time.Second
	// minRetry and maxRetry bound the wait after a failure, which doubles.
	minRetry = time.Second
	maxRetry = time.Minute
	// nonceSize is the size in bytes of the challenge for an EAR that answers no
	// connection.
	nonceSize = 32
)

// CachedOptions describe a [Cached].
type CachedOptions struct {
	Source Source // required
	// SPKI is the SubjectPublicKeyInfo in DER of the key that is attested, the
	// one of the identity's leaf. Required.
	SPKI []byte
	// Timeout bounds one call of the source. Zero: 30 seconds.
	Timeout time.Duration
	// Observe, if set, is told of each attempt: until when the EAR holds, or why
	// there is none. It is called by one goroutine and must not block.
	Observe func(expires time.Time, err error)
}

// Cached is an Attester that obtains an EAR for a key beforehand and presents it on
// every connection, without a Verifier that must be up at that moment. Relying parties
// take it only with [VerifierOptions.KeyBound], or unbound.
//
// It renews the EAR when two thirds of its time have passed, a random part earlier so
// that many attesters do not ask at once. While the source is down the old EAR serves
// as long as it holds. [Cached.Close] ends the renewal.
type Cached struct {
	o      CachedOptions
	cancel context.CancelCauseFunc
	kick   chan struct{} // capacity 1: renew now
	ended  chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	token   []byte
	expires time.Time
	err     error         // of the last attempt
	attempt chan struct{} // closed at the end of the attempt under way or to come
	running bool          // an attempt is under way
}

// NewCached makes a Cached and begins to obtain an EAR, until ctx ends or Close is
// called. The error wraps [attestation.ErrMisuse] or [attestation.ErrMalformed].
func NewCached(ctx context.Context, o CachedOptions) (*Cached, error) {
	if o.Source == nil || o.Timeout < 0 {
		return nil, fmt.Errorf("%w: an attester with passports needs a source and a Timeout that is not negative", attestation.ErrMisuse)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	b, err := challenge(o.SPKI)
	if err != nil {
		return nil, err
	}
	o.SPKI = b.SPKI() // a copy
	ctx, cancel := context.WithCancelCause(ctx)
	c := &Cached{
		o: o, cancel: cancel, running: true,
		kick: make(chan struct{}, 1), ended: make(chan struct{}), attempt: make(chan struct{}),
	}
	go c.renew(ctx)
	return c, nil
}

// challenge is a Binding for the key and a fresh nonce.
func challenge(spki []byte) (attestation.Binding, error) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return attestation.AssertedBinding(nonce, spki)
}

// Close ends the renewal; Attest then fails. It returns when nothing is left running
// but a source that ignores its context.
func (c *Cached) Close() error {
	c.cancel(ErrClosed)
	<-c.ended
	return nil
}

// MediaTypes is [ear.MediaType].
func (*Cached) MediaTypes() []string { return []string{ear.MediaType} }

// Attest presents the EAR. Where there is none yet it waits for the attempt under way;
// where the last attempt failed it fails at once. The errors wrap [ErrOtherKey],
// [ErrSource] or [ErrClosed].
func (c *Cached) Attest(ctx context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	if !b.MatchKey(c.o.SPKI) {
		return nil, ErrOtherKey
	}
	for {
		token, wait, err := c.current()
		if err != nil {
			return nil, err
		}
		if token != nil {
			return record(token)
		}
		select {
		case <-wait:
		case <-c.ended:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrSource, context.Cause(ctx))
		}
	}
}

// current returns the EAR, or what to wait for, or why there is none.
func (c *Cached) current() (token []byte, wait <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
		return nil, nil, ErrClosed
	default:
	}
	switch {
	case time.Until(c.expires) > margin:
		return c.token, nil, nil
	case c.running:
		return nil, c.attempt, nil
	case c.err != nil:
		return nil, nil, c.err
	}
	// The timer is late, as after the machine was suspended.
	select {
	case c.kick <- struct{}{}:
	default:
	}
	return nil, c.attempt, nil
}

// renew is the only one to call the source, one call at a time.
func (c *Cached) renew(ctx context.Context) {
	defer close(c.ended)
	failures := 0
	for {
		err := c.obtain(ctx)
		if ctx.Err() != nil {
			return
		}
		if failures++; err == nil {
			failures = 0
		}
		timer := time.NewTimer(c.pause(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-c.kick:
			timer.Stop()
		}
		c.mu.Lock()
		c.running = true
		c.mu.Unlock()
	}
}

// obtain makes one attempt and tells those who wait for it.
func (c *Cached) obtain(ctx context.Context) error {
	type answer struct {
		token   []byte
		expires time.Time
	}
	limited, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	got, err := bounded.Call(limited, func() (answer, error) {
		b, err := challenge(c.o.SPKI)
		if err != nil {
			return answer{}, err
		}
		token, expires, err := c.o.Source.Obtain(limited, b)
		return answer{append([]byte(nil), token...), expires}, err
	})
	err = usable(got.token, got.expires, err)
	c.mu.Lock()
	if err == nil {
		c.token, c.expires = got.token, got.expires
	}
	c.err, c.running = err, false
	close(c.attempt)
	c.attempt = make(chan struct{})
	expires := c.expires
	c.mu.Unlock()
	if c.o.Observe != nil && ctx.Err() == nil {
		c.o.Observe(expires, err)
	}
	return err
}

// pause is how long to wait before the next attempt.
func (c *Cached) pause(failures int) time.Duration {
	if failures > 0 {
		wait := min(minRetry<<min(failures-1, 10), maxRetry)
		return wait/2 + mathrand.N(wait/2)
	}
	c.mu.Lock()
	left := max(time.Until(c.expires), 0) // less if the clock was set meanwhile
	c.mu.Unlock()
	return max(left*2/3-mathrand.N(left/10+1), minRetry)
}
