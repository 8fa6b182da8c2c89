package service

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier/ear"
)

// Limits and defaults. A zero field of [Options] means the default, a negative one is
// an error.
const (
	// MaxEvidence is the largest Evidence taken, in bytes.
	MaxEvidence = 64 << 10

	DefaultMaxInFlight     = 256
	DefaultTimeout         = 10 * time.Second
	DefaultSessionLifetime = 150 * time.Second
)

// Options configure a [Handler].
type Options struct {
	// Verifier appraises. Required. One that changes while the service runs, such as
	// one that reads its policy again, does so behind this interface.
	Verifier attestation.Verifier
	// Issuer signs the EARs. Required.
	Issuer *ear.Issuer
	// Published are keys that /.well-known/jwks.json has beside the Issuer's: while
	// replicas behind one address go from one key to another, each publishes both.
	Published []ear.Key
	// Audience is the aud of the EARs; "" is none.
	Audience string

	// MaxInFlight is how many appraisals are under way at a time; further ones are
	// told to come again (HTTP 503).
	MaxInFlight int
	// Timeout bounds one appraisal.
	Timeout time.Duration
	// SessionLifetime is for how long a session takes Evidence.
	SessionLifetime time.Duration

	// Logger, if set, is told of each appraisal: what came of it, never of what.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// ErrConfig: the Options cannot be used.
var ErrConfig = errors.New("invalid configuration of the verifier service")

func (o *Options) fill() error {
	var errs []error
	bad := func(is bool, text string) {
		if is {
			errs = append(errs, errors.New(text))
		}
	}
	bad(o.Verifier == nil, "set Verifier: it appraises")
	bad(o.Issuer == nil, "set Issuer: an unsigned answer is none")
	bad(o.MaxInFlight < 0 || min(o.Timeout, o.SessionLifetime) < 0, "MaxInFlight, Timeout and SessionLifetime must not be negative")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.SessionLifetime == 0 {
		o.SessionLifetime = DefaultSessionLifetime
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}
