package passport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

// The reasons for which there is no passport, found with [errors.Is].
var (
	// ErrSource: the source gave no usable EAR.
	ErrSource = errors.New("passport: no EAR could be obtained")
	// ErrOtherKey: the passport is for another key than the one to be attested.
	ErrOtherKey = errors.New("passport: the cached EAR is for another key")
	// ErrClosed: the attester was closed.
	ErrClosed = errors.New("passport: attester is closed")
)

// A Source obtains EARs, most often by sending a Verifier Evidence of the platform it
// runs on. It is safe for concurrent use.
type Source interface {
	// Obtain returns an EAR as JWT whose eat_nonce is b's binder and whose akpub
	// is b's key, and until when it holds. It returns when ctx ends.
	Obtain(ctx context.Context, b attestation.Binding) (token []byte, expires time.Time, err error)
}

// SourceFunc is a function as a [Source].
type SourceFunc func(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error)

// Obtain calls f.
func (f SourceFunc) Obtain(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error) {
	return f(ctx, b)
}

// Checked is a [Source] made from a function that does not say until when its EARs hold,
// as the client of a Verifier has one. Each EAR is checked as a relying party would
// before it is presented: c must accept it, its nonce must be the binder, and no other
// key may be stated. The error wraps [attestation.ErrMisuse].
func Checked(obtain func(context.Context, attestation.Binding) ([]byte, error), c *ear.Checker) (Source, error) {
	if obtain == nil || c == nil {
		return nil, fmt.Errorf("%w: a source needs a function and a checker", attestation.ErrMisuse)
	}
	return SourceFunc(func(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error) {
		token, err := obtain(ctx, b)
		if err != nil {
			return nil, time.Time{}, err
		}
		e, err := c.Check(ctx, token)
		if err != nil {
			return nil, time.Time{}, err
		}
		if _, err := e.Result(b, ear.ResultOptions{AllowUnstatedKey: true}); err != nil {
			return nil, time.Time{}, err
		}
		return token, e.Expires(), nil
	}), nil
}

// PerConnection is an Attester that obtains an EAR for each request: the Verifier is
// asked while the peer waits, and the EAR proves what this platform is now.
type PerConnection struct{ source Source }

// NewPerConnection makes a PerConnection; the error wraps [attestation.ErrMisuse].
func NewPerConnection(source Source) (*PerConnection, error) {
	if source == nil {
		return nil, fmt.Errorf("%w: an attester with passports needs a source", attestation.ErrMisuse)
	}
	return &PerConnection{source: source}, nil
}

// MediaTypes is [ear.MediaType].
func (*PerConnection) MediaTypes() []string { return []string{ear.MediaType} }

// Attest obtains an EAR that answers b. The error wraps [ErrSource].
func (p *PerConnection) Attest(ctx context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	token, expires, err := p.source.Obtain(ctx, b)
	if err := usable(token, expires, err); err != nil {
		return nil, err
	}
	return record(token)
}

// margin is what must be left of an EAR when it is presented: it is under way and
// being checked for a while.
const margin = 5 * time.Second

// usable tells whether what a source returned can be presented.
func usable(token []byte, expires time.Time, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSource, err)
	case len(token) == 0 || len(token) > ear.MaxSize:
		return fmt.Errorf("%w: the source returned %d bytes", ErrSource, len(token))
	case time.Until(expires) <= margin:
		return fmt.Errorf("%w: less than %v is left of the one obtained", ErrSource, margin)
	}
	return nil
}

func record(token []byte) (*cmw.Message, error) {
	return cmw.NewRecord(ear.MediaType, token, cmw.AttestationResults)
}
