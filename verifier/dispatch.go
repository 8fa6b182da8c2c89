package verifier

import (
	"context"
	"errors"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// ErrRoute: a media type has none or more than one to read it.
var ErrRoute = errors.New("verifier: media types are not unambiguous")

// reader is what a media type leads to: an Extractor or a Verifier.
type reader interface{ MediaTypes() []string }

// route is one media type and who reads it.
type route[R reader] struct {
	mediaType string
	reader    R
}

// routes are fixed when they are made. The media type of a message chooses among
// what its receiver configured, and what is in the message chooses nothing.
type routes[R reader] []route[R]

func newRoutes[R reader](readers []R) (routes[R], error) {
	if len(readers) == 0 {
		return nil, fmt.Errorf("%w: nothing reads any: give at least one", ErrRoute)
	}
	var all routes[R]
	for i, r := range readers {
		if any(r) == nil {
			return nil, fmt.Errorf("%w: number %d is nil", ErrRoute, i)
		}
		types := r.MediaTypes()
		if len(types) == 0 {
			return nil, fmt.Errorf("%w: number %d reads none", ErrRoute, i)
		}
		for _, t := range types {
			if !cmw.SameMediaType(t, t) {
				return nil, fmt.Errorf("%w: %q is not a media type", ErrRoute, t)
			}
			if _, taken := all.find(t); taken {
				return nil, fmt.Errorf("%w: %q is read twice", ErrRoute, t)
			}
			all = append(all, route[R]{t, r})
		}
	}
	return all, nil
}

func (rs routes[R]) find(mediaType string) (R, bool) {
	for _, r := range rs {
		if r.mediaType == mediaType || cmw.SameMediaType(r.mediaType, mediaType) {
			return r.reader, true
		}
	}
	var none R
	return none, false
}

func (rs routes[R]) mediaTypes() []string {
	var types []string
	for _, r := range rs {
		types = append(types, r.mediaType)
	}
	return types
}

// dispatch is a Verifier that hands each message to one of several.
type dispatch struct{ routes routes[attestation.Verifier] }

// NewDispatch makes a Verifier that hands a message with one leaf to the one of
// the verifiers that takes its media type; a message with several is rejected
// with [ErrComposite]. The error wraps [ErrRoute] if two take one media type.
func NewDispatch(verifiers ...attestation.Verifier) (attestation.Verifier, error) {
	r, err := newRoutes(verifiers)
	if err != nil {
		return nil, err
	}
	return &dispatch{r}, nil
}

func (d *dispatch) MediaTypes() []string { return d.routes.mediaTypes() }

func (d *dispatch) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	leaves := m.Leaves()
	if len(leaves) != 1 {
		return nil, attestation.Reject(fmt.Errorf("%w (it has %d)", ErrComposite, len(leaves)))
	}
	v, ok := d.routes.find(leaves[0].MediaType)
	if !ok {
		return nil, fmt.Errorf("%w: no verifier takes %q", attestation.ErrMalformed, leaves[0].MediaType)
	}
	return v.Appraise(ctx, b, m)
}
