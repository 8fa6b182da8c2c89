package attestation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/bounded"
)

// An Attester collects Evidence, or obtains an Attestation Result, about the
// environment it runs in (RFC 9334, Section 3). It is safe for concurrent use.
type Attester interface {
	// MediaTypes lists what Attest can produce, in order of preference.
	MediaTypes() []string
	// Attest returns a message whose every leaf is bound to b: its signed
	// content carries b's binder and key hash, or b's report data. accept
	// lists the media types that the relying party takes, not empty. Attest
	// returns when ctx ends.
	Attest(ctx context.Context, b Binding, accept []string) (*cmw.Message, error)
}

// Attest runs the Attester for a received request that will be answered with
// id, and returns the extension for the leaf's entry. accept lists the media
// types the relying party takes.
//
// Errors: [ErrNotOffered], [ErrMediaType], [ErrContext], [ErrAttester],
// [ErrTooLarge], [ErrMalformed].
func Attest(ctx context.Context, p Profile, r *authenticator.ReceivedRequest, id *authenticator.Identity, a Attester, accept []string) (authenticator.Extension, error) {
	var none authenticator.Extension
	if r == nil || id == nil || a == nil {
		return none, fmt.Errorf("%w: request, identity and attester must not be nil", ErrMisuse)
	}
	offered, err := p.Offered(r)
	if err != nil {
		return none, err
	}
	if !offered {
		return none, ErrNotOffered
	}
	usable := Common(a.MediaTypes(), accept)
	if len(usable) == 0 {
		return none, fmt.Errorf("%w: we produce %q, the peer takes %q", ErrMediaType, a.MediaTypes(), accept)
	}
	b, err := p.bind(r.Session(), r.Context(), id.SPKI())
	if err != nil {
		return none, err
	}
	m, err := bounded.Call(ctx, func() (*cmw.Message, error) { return a.Attest(ctx, b, usable) })
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	if m == nil {
		return none, fmt.Errorf("%w: it returned no message", ErrAttester)
	}
	if err := errors.Join(checkLeaves(m), checkMediaTypes(m, usable)); err != nil {
		return none, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	return p.encode(m)
}

// Common returns the media types of ours that are also in theirs, in our order.
func Common(ours, theirs []string) []string {
	var out []string
	for _, t := range ours {
		if slices.ContainsFunc(theirs, func(u string) bool { return cmw.SameMediaType(t, u) }) {
			out = append(out, t)
		}
	}
	return out
}
