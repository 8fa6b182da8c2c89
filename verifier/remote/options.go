package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/expat-go/expat/verifier/ear"
)

// Limits and defaults. A zero field of [Options] means the default, a negative one
// is an error.
const (
	DefaultMaxInFlight    = 64
	DefaultAttempts       = 3
	DefaultAttemptTimeout = 3 * time.Second
	DefaultBackoff        = 100 * time.Millisecond
	DefaultMaxBackoff     = 2 * time.Second
	DefaultPollInterval   = 200 * time.Millisecond
	DefaultBreakAfter     = 5
	DefaultBreakFor       = 5 * time.Second

	// maxBody bounds what is read of an answer in bytes, beside what the service
	// repeats of the Evidence.
	maxBody = 64 << 10
	// maxLocation bounds a session URL in bytes.
	maxLocation = 16 << 10
	// maxWait is the longest Retry-After that is waited for, whatever the deadline.
	maxWait = 30 * time.Second
	// cleanupTimeout bounds the deletion of a session.
	cleanupTimeout = 2 * time.Second
)

// Options configure a [Verifier].
type Options struct {
	// URL is the base of the service, to which /challenge-response/v1/… is added.
	// It is https, without user, query or fragment.
	URL string
	// PlainHTTPToLoopback admits http to an IP address of this machine. Whoever can
	// read loopback traffic sees Evidence and token then; the EAR is signed still.
	PlainHTTPToLoopback bool
	// TLS is cloned. Nil, or no MinVersion: TLS 1.3 and the system's roots; TLS 1.2
	// must be asked for. InsecureSkipVerify is refused.
	TLS *tls.Config
	// Token, if set, returns a bearer token (RFC 6750) for each request.
	Token func(ctx context.Context) (string, error)

	// MediaTypes lists the Evidence that the service appraises. Required.
	MediaTypes []string
	// ReportDataTypes are those of MediaTypes whose nonce is the 64-byte report data,
	// as a service must be told that compares its nonce with such a field and knows
	// nothing of [attestation.Binding.ReportData]. A message all of whose leaves are
	// so typed carries the report data as the nonce in place of the binder. As that
	// commits to the key, the EAR then need not state the key.
	ReportDataTypes []string
	// Checker judges the EAR. Required.
	Checker *ear.Checker
	// Lifetime bounds that of a Result, which never outlives its EAR. Zero: as long as
	// the EAR.
	Lifetime time.Duration

	// SendKey sends the key beside the nonce, as the service of this module demands,
	// so that it compares the whole binding and attests the key. That service keeps
	// no session, so that none is deleted.
	SendKey bool
	// AcceptUnattestedKey takes an EAR that does not state the authenticator's key, as
	// a service makes it that compares nothing but the nonce. Such a service does not
	// notice Evidence that vouches for another key, obtained from a TEE that quotes
	// whatever it is given: what is lost is that the attested environment holds the
	// key of the connection. An EAR that states another key is refused all the same.
	AcceptUnattestedKey bool

	// MaxInFlight is how many attempts are under way at a time; further ones wait
	// within their deadline.
	MaxInFlight int
	// Attempts is how often an appraisal is tried at most, in its deadline; 1 is
	// once.
	Attempts int
	// AttemptTimeout bounds one attempt: session, Evidence, and waiting for the result.
	AttemptTimeout time.Duration
	// Backoff is the bound of the first wait between attempts, which doubles up to
	// MaxBackoff; waits are random below it.
	Backoff, MaxBackoff time.Duration
	// PollInterval is how long to wait between questions for a result.
	PollInterval time.Duration
	// BreakAfter failed attempts in a row stop further ones for BreakFor; then one
	// at a time is made, until one succeeds.
	BreakAfter int
	BreakFor   time.Duration

	// CacheEntries is how many EARs are kept, to answer the same question again: the
	// same Evidence for the same connection, request and key. It never serves another
	// connection, as the EAR would not repeat its nonce. 0: none are kept.
	CacheEntries int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// fill checks the options and puts the defaults in.
func (o *Options) fill() (*url.URL, error) {
	base, err := o.base()
	errs := []error{err}
	bad := func(is bool, text string) {
		if is {
			errs = append(errs, errors.New(text))
		}
	}
	bad(len(o.MediaTypes) == 0, "set MediaTypes: what the service appraises")
	for _, t := range o.ReportDataTypes {
		bad(!contains(o.MediaTypes, t), fmt.Sprintf("ReportDataTypes holds %q, which MediaTypes does not", t))
	}
	bad(o.Checker == nil, "set Checker: it judges what the service answers")
	bad(min(o.MaxInFlight, o.Attempts, o.BreakAfter, o.CacheEntries) < 0, "numbers must not be negative")
	bad(min(o.AttemptTimeout, o.Backoff, o.MaxBackoff, o.PollInterval, o.BreakFor, o.Lifetime) < 0, "times must not be negative")
	or(&o.MaxInFlight, DefaultMaxInFlight)
	or(&o.Attempts, DefaultAttempts)
	or(&o.AttemptTimeout, DefaultAttemptTimeout)
	or(&o.Backoff, DefaultBackoff)
	or(&o.MaxBackoff, max(DefaultMaxBackoff, o.Backoff))
	or(&o.PollInterval, DefaultPollInterval)
	or(&o.BreakAfter, DefaultBreakAfter)
	or(&o.BreakFor, DefaultBreakFor)
	bad(o.Backoff > o.MaxBackoff, "Backoff must not exceed MaxBackoff")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TLS, err = hardened(o.TLS); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return base, nil
}

func (o *Options) base() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("URL must be https://HOST[:PORT][/PATH]")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("URL must have no user, query or fragment")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme != "http":
		return nil, errors.New("URL must be https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
		return nil, errors.New("URL must be https: plain http goes to an IP address of loopback only")
	}
	if !o.PlainHTTPToLoopback {
		return nil, errors.New("URL is plain http: use https, or set PlainHTTPToLoopback")
	}
	return u, nil
}

func hardened(c *tls.Config) (*tls.Config, error) {
	if c == nil {
		c = new(tls.Config)
	}
	c = c.Clone()
	or(&c.MinVersion, tls.VersionTLS13)
	switch {
	case c.InsecureSkipVerify:
		return nil, errors.New("TLS.InsecureSkipVerify is refused: give RootCAs")
	case c.MinVersion < tls.VersionTLS12:
		return nil, errors.New("TLS.MinVersion must be TLS 1.2 or 1.3")
	}
	return c, nil
}

// or puts def where *v is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
