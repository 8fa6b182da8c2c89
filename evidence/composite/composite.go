// Package composite attests several environments at once, such as a confidential
// VM and the TPM or accelerator in it: one CMW collection (RFC 9999, Section 3.3)
// with a label for each, of which every leaf carries the same binder. That ties
// them together as Evidence of one device, as RFC 9999 demands in its security
// considerations. The relying party takes it apart with verifier.NewCollection.
//
// docs/evidence/composite.md says what that proves, and what it does not.
package composite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// Part is one environment of a device.
type Part struct {
	// Label names the environment in the collection. Both sides agree on it.
	Label    string
	Attester attestation.Attester
	// MayBeAbsent leaves the environment out where its Attester fails, or
	// where the relying party takes none of its media types.
	MayBeAbsent bool
}

var (
	// ErrParts: the parts cannot be a collection.
	ErrParts = errors.New("composite: parts are not usable")
	// ErrPart: an environment gave no Evidence. A [*PartError] has details.
	ErrPart = errors.New("composite: an environment gave no Evidence")
)

// PartError says which environment gave no Evidence, and why. It wraps [ErrPart].
type PartError struct {
	Label string
	Err   error
}

func (e *PartError) Error() string { return fmt.Sprintf("%v: %q: %v", ErrPart, e.Label, e.Err) }

// Unwrap returns ErrPart and the cause.
func (e *PartError) Unwrap() []error { return []error{ErrPart, e.Err} }

// Attester asks every environment at the same time. It is safe for concurrent
// use.
type Attester struct {
	parts      []Part
	mediaTypes []string
}

var _ attestation.Attester = (*Attester)(nil)

// New makes an Attester of 1 to [cmw.MaxLeaves] parts. The error wraps [ErrParts].
func New(parts ...Part) (*Attester, error) {
	if len(parts) == 0 || len(parts) > cmw.MaxLeaves {
		return nil, fmt.Errorf("%w: there are %d, want 1 to %d", ErrParts, len(parts), cmw.MaxLeaves)
	}
	a := &Attester{parts: slices.Clone(parts)}
	slices.SortFunc(a.parts, func(x, y Part) int { return cmp.Compare(x.Label, y.Label) })
	required := false
	for i, p := range a.parts {
		switch {
		case p.Attester == nil:
			return nil, fmt.Errorf("%w: %q has no Attester", ErrParts, p.Label)
		case i > 0 && a.parts[i-1].Label == p.Label:
			return nil, fmt.Errorf("%w: %q is there twice", ErrParts, p.Label)
		}
		if err := checkLabel(p.Label); err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrParts, p.Label, err)
		}
		required = required || !p.MayBeAbsent
		a.mediaTypes = append(a.mediaTypes, missing(a.mediaTypes, p.Attester.MediaTypes())...)
	}
	if !required {
		return nil, fmt.Errorf("%w: every one may be absent", ErrParts)
	}
	return a, nil
}

// checkLabel refuses what no collection takes.
func checkLabel(label string) error {
	m, err := cmw.NewRecord("text/plain", []byte("x"), 0)
	if err == nil {
		_, err = cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel(label), Message: m}})
	}
	return err
}

// missing returns what of more is not in have yet.
func missing(have, more []string) []string {
	var out []string
	for _, t := range more {
		if len(attestation.Common([]string{t}, have)) == 0 {
			out = append(out, t)
		}
	}
	return out
}

// MediaTypes lists those of all parts.
func (a *Attester) MediaTypes() []string { return slices.Clone(a.mediaTypes) }

// answer is what one part gave.
type answer struct {
	part    int
	message *cmw.Message
	err     error
}

// Attest has every part attest b and returns the collection. The first part that
// fails and may not be absent ends the others, and the error is its [*PartError].
// Attest returns when ctx ends.
func (a *Attester) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(a.parts))
	for i, p := range a.parts {
		go p.attest(ctx, b, accept, func(m *cmw.Message, err error) { answers <- answer{i, m, err} })
	}
	got := make([]*cmw.Message, len(a.parts))
	for range a.parts {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case r := <-answers:
			if p := a.parts[r.part]; r.err != nil && !p.MayBeAbsent {
				return nil, &PartError{Label: p.Label, Err: r.err}
			}
			got[r.part] = r.message
		}
	}
	var items []cmw.Item
	for i, m := range got {
		if m != nil {
			items = append(items, cmw.Item{Label: cmw.TextLabel(a.parts[i].Label), Message: m})
		}
	}
	return cmw.NewCollection("", items)
}

// attest asks one part, and calls done once whatever the part does. A panic becomes
// an error: nobody else can recover it, and its text is left out as it may repeat
// Evidence.
func (p Part) attest(ctx context.Context, b attestation.Binding, accept []string, done func(*cmw.Message, error)) {
	var m *cmw.Message
	err := errors.New("it ended its goroutine") // runtime.Goexit
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked with a %T", r)
		}
		if err != nil {
			m = nil
		}
		done(m, err)
	}()
	usable := attestation.Common(p.Attester.MediaTypes(), accept)
	if len(usable) == 0 {
		err = attestation.ErrMediaType
		return
	}
	m, err = p.Attester.Attest(ctx, b, usable)
	switch {
	case err != nil:
	case m == nil:
		err = errors.New("it returned no message")
	case m.Kind() == cmw.KindCollection:
		err = errors.New("it returned a collection: make its environments parts of this one")
	}
}
