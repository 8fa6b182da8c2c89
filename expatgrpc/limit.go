package expatgrpc

import (
	"context"
	"fmt"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// places bounds what runs at a time, as a listener of package expat does; gRPC
// does not accept through one.
type places chan struct{}

// take waits for a place. It returns an error if ctx ends first.
func (p places) take(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for one of %d exchanges to be done: %w", cap(p), ctx.Err())
	}
}

func (p places) leave() { <-p }

// limit returns a copy of a Config whose Attester and Verifier share places.
func limit(cfg *expat.Config) *expat.Config {
	cfg = cfg.Clone()
	n := cfg.MaxExchanges
	if n == 0 {
		n = expat.DefaultMaxExchanges
	}
	p := make(places, n)
	if cfg.Attester != nil {
		cfg.Attester = &limitedAttester{cfg.Attester, p}
	}
	if cfg.Verifier != nil {
		cfg.Verifier = &limitedVerifier{cfg.Verifier, p}
	}
	return cfg
}

type limitedAttester struct {
	attestation.Attester
	places places
}

// Attest implements [attestation.Attester].
func (a *limitedAttester) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if err := a.places.take(ctx); err != nil {
		return nil, err
	}
	defer a.places.leave()
	return a.Attester.Attest(ctx, b, accept)
}

type limitedVerifier struct {
	attestation.Verifier
	places places
}

// Appraise implements [attestation.Verifier].
func (v *limitedVerifier) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if err := v.places.take(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", attestation.ErrUnavailable, err)
	}
	defer v.places.leave()
	return v.Verifier.Appraise(ctx, b, m)
}
