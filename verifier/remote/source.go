package remote

import (
	"context"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
)

// Source obtains EARs about the platform it runs on, for an Attester to show in place
// of Evidence: the passport model (RFC 9334, Section 5.1). It is a Source of package
// passport.
type Source struct {
	verifier *Verifier
	attester attestation.Attester
	usable   []string
}

// Source makes a Source: a makes the Evidence, the service appraises it. The error
// wraps [ErrConfig].
func (v *Verifier) Source(a attestation.Attester) (*Source, error) {
	if a == nil {
		return nil, fmt.Errorf("%w: a source needs an attester", ErrConfig)
	}
	usable := attestation.Common(a.MediaTypes(), v.o.MediaTypes)
	if len(usable) == 0 {
		return nil, fmt.Errorf("%w: the attester makes %q, the service takes %q", ErrConfig, a.MediaTypes(), v.o.MediaTypes)
	}
	return &Source{verifier: v, attester: a, usable: usable}, nil
}

// Obtain returns an EAR that answers b, and until when it holds. The error wraps
// [attestation.ErrAttester] where there is no Evidence, and is otherwise that of
// [Verifier.Appraise]: a verdict of no is no passport.
func (s *Source) Obtain(ctx context.Context, b attestation.Binding) (token []byte, expires time.Time, err error) {
	m, err := s.attester.Attest(ctx, b, s.usable)
	switch {
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("%w: %w", attestation.ErrAttester, err)
	case m == nil:
		return nil, time.Time{}, fmt.Errorf("%w: it returned no message", attestation.ErrAttester)
	}
	return s.verifier.Obtain(ctx, b, m)
}
