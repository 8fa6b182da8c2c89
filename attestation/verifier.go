package attestation

import (
	"context"
	"errors"
	"fmt"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/bounded"
)

// A Verifier appraises Evidence or an Attestation Result (RFC 9334, Section 3).
// It is safe for concurrent use.
type Verifier interface {
	// MediaTypes lists what Appraise understands, in order of preference. The
	// peer is told; a message of another type never reaches Appraise.
	MediaTypes() []string
	// Appraise judges m. b is what m must be bound to: Appraise compares the
	// binder and key hash (or report data) in m's signed content with it.
	//
	// The answer is a Result from [NewResult] with that b, or an error that
	// wraps [ErrRejected] when the answer is no, [ErrMalformed] when m cannot
	// be read, and [ErrUnavailable] when no verdict was reached; any other
	// error counts as the last. Appraise returns when ctx ends.
	Appraise(ctx context.Context, b Binding, m *cmw.Message) (*Result, error)
}

// Appraise takes the attestation out of a validated authenticator and has the
// Verifier judge it against the Binding that this side computes. The Result it
// returns is acceptable and answers that Binding; every other outcome is an
// error: [ErrMissing], [ErrPlacement], [ErrMalformed], [ErrMediaType],
// [ErrContext], [ErrConnection], [ErrRejected], [ErrUnavailable] or
// [ErrWrongResult].
func Appraise(ctx context.Context, p Profile, peer *authenticator.Peer, v Verifier) (*Result, error) {
	if peer == nil || v == nil {
		return nil, fmt.Errorf("%w: peer and verifier must not be nil", ErrMisuse)
	}
	if peer.Spontaneous() {
		return nil, fmt.Errorf("%w: a spontaneous authenticator answers no request", ErrConnection)
	}
	m, err := p.extract(peer)
	if err != nil {
		return nil, err
	}
	if err := checkMediaTypes(m, v.MediaTypes()); err != nil {
		return nil, err
	}
	b, err := p.bind(peer.Session(), peer.Context(), peer.SPKI())
	if err != nil {
		return nil, err
	}
	r, err := bounded.Call(ctx, func() (*Result, error) { return v.Appraise(ctx, b, m) })
	switch {
	case err != nil:
		return nil, verdict(err)
	case r == nil:
		return nil, fmt.Errorf("%w: it returned neither result nor error", ErrUnavailable)
	case !r.binding.same(b):
		return nil, ErrWrongResult
	}
	return r, nil
}

// checkMediaTypes admits only leaves of the given types. The type in the error
// is cut short: it comes from the peer.
func checkMediaTypes(m *cmw.Message, accepted []string) error {
	for _, leaf := range m.Leaves() {
		if len(Common([]string{leaf.MediaType}, accepted)) == 0 {
			return fmt.Errorf("%w: the message holds %.100q, accepted are %q", ErrMediaType, leaf.MediaType, accepted)
		}
	}
	return nil
}

// verdict makes sure that a Verifier's error wraps one of the three reasons.
func verdict(err error) error {
	for _, known := range []error{ErrRejected, ErrMalformed, ErrUnavailable} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
