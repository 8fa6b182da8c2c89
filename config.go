package expat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// Limits and defaults. Sizes are checked before memory is taken.
const (
	// DefaultTimeout bounds the TLS handshake and the exchange together.
	DefaultTimeout = 30 * time.Second
	// DefaultVerifierTimeout bounds one appraisal, inside the former.
	DefaultVerifierTimeout = 10 * time.Second
	// DefaultMaxAuthenticator is the largest authenticator taken, in bytes.
	DefaultMaxAuthenticator = wire.DefaultMaxAuthenticator
	// MaxMaxAuthenticator is the largest value of Config.MaxAuthenticator.
	MaxMaxAuthenticator = wire.MaxMaxAuthenticator
	// DefaultMaxExchanges is how many exchanges servers work on at a time.
	DefaultMaxExchanges = 256
	// MaxReattestEvery is the largest value of Config.ReattestEvery: 2^31 s, as
	// long as the longest lifetime.
	MaxReattestEvery = (1 << 31) * time.Second
)

// A Config says what this side shows and what it demands. After it was passed
// to a function of this package it must not be modified; it may be reused, also
// at the same time and for both roles. The zero Config is an error: with
// neither Attester nor Verifier a connection would be attested in name only.
type Config struct {
	// TLS configures the TLS connection. It is required, cloned, and hardened:
	// TLS 1.3 only, no session tickets, no resumption (see the package
	// documentation). NextProtos names the application protocols; on the wire
	// each is offered as expat/1+NAME. RootCAs (nil: the system's) and
	// ServerName judge the authenticator of a server, ClientCAs that of a
	// client. Time is also the clock by which verdicts run out, beside the
	// monotonic one. InsecureSkipVerify is refused.
	TLS *tls.Config

	// Attester proves what this side is. Nil: a peer that asks is refused, and
	// the connection fails.
	Attester attestation.Attester

	// Verifier appraises what the peer shows. If it is set the peer must
	// attest; nil: this side does not ask, and learns nothing of the peer.
	Verifier attestation.Verifier

	// Identities are the certificates and keys that sign authenticators; the
	// first that fits the peer's request is used. Empty: TLS.Certificates, and
	// on a server what TLS.GetCertificate returned in the handshake. Evidence
	// is bound to the key of the one used.
	Identities []tls.Certificate

	// GetIdentities, if set, takes the place of Identities, so that certificates can
	// be renewed while the program runs (package rotate). It is called once for
	// each connection, and once each time that the peer asks anew on an open one.
	// Where TLS names no certificate (Certificates, GetCertificate,
	// GetClientCertificate), the TLS handshake shows one of these too: the first
	// that fits. An error, no certificate and the end of ctx fail the connection,
	// at [StageIdentity].
	GetIdentities func(ctx context.Context) ([]tls.Certificate, error)

	// ClientFirst makes a server show its Evidence only after the client's was
	// accepted. Servers with both Attester and Verifier only.
	ClientFirst bool

	// RootsForURI, if set, makes peers known by the URI in their certificate, such as
	// a SPIFFE ID, in place of a server's DNS name. It is given the URI and returns the roots
	// that may vouch for it; an error, no roots and the end of ctx refuse the
	// peer. The path is validated as ever. It is asked for the certificate of the TLS
	// handshake and for the authenticator's, on both sides, in place of TLS.RootCAs and
	// TLS.ClientCAs, which must not be set. A leaf that has another number of URIs than
	// one is refused, and so is a peer that changes its URI on a connection.
	RootsForURI func(ctx context.Context, name *url.URL) (*x509.CertPool, error)

	// AttestedKeyOnly accepts an authenticator whose certificate no CA vouches
	// for: the peer's name is then not proved, only that an acceptable
	// environment holds the key. A server must still show a certificate in the
	// TLS handshake that is valid for TLS.ServerName, or whose key is in
	// PinnedServerKeys; a client is an anonymous attested client.
	AttestedKeyOnly bool

	// PinnedServerKeys holds SHA-256 hashes of the SubjectPublicKeyInfo of
	// acceptable TLS handshake certificates. If it is not empty a client
	// compares with it in place of X.509 validation of the handshake
	// certificate. Only with AttestedKeyOnly.
	PinnedServerKeys [][32]byte

	// RequireSameLeaf demands that the peer's authenticator shows the very
	// certificate of its TLS handshake.
	RequireSameLeaf bool

	// RequireOCSPStaple demands a good OCSP response stapled to the leaf of
	// the peer's authenticator. A staple that is there must be good in any case.
	RequireOCSPStaple bool

	// CheckRevocation, if set, judges the peer's chain after X.509 validation,
	// for CRLs and the like. An error refuses it, the end of ctx too.
	CheckRevocation func(ctx context.Context, chain authenticator.Chain) error

	// Nonce, if set, returns a Verifier's nonce for the next request, at most
	// [authenticator.MaxNonce] bytes; it becomes part of the request's context.
	// If ctx ends first the connection fails.
	Nonce func(ctx context.Context) ([]byte, error)

	// Profile is the revision of the draft; zero: [attestation.Expat04].
	Profile attestation.Profile

	// Timeout bounds the TLS handshake and the exchange together; zero:
	// [DefaultTimeout]. Negative values are an error, here and below.
	Timeout time.Duration

	// VerifierTimeout bounds one appraisal; zero: [DefaultVerifierTimeout].
	VerifierTimeout time.Duration

	// Reattest lets each side ask the other anew while the connection is open
	// (docs/reattestation.md). It is agreed if both sides set it, or
	// ReattestEvery; otherwise a connection is attested once. Where it is
	// agreed a Conn carries application data in frames, and a side asks anew
	// after two thirds of its Result's lifetime, ±10 %.
	Reattest bool

	// ReattestEvery is how often this side asks the peer anew, ±10 %, or more
	// often where a Result's lifetime demands it. It implies Reattest, demands
	// it of the peer, and needs a Verifier. A connection is good for
	// [authenticator.MaxContexts] exchanges, those of both sides together.
	// Zero: only before lifetimes end.
	ReattestEvery time.Duration

	// AllowKeyChange lets the peer show a certificate with another key than
	// before when it is asked anew. What is lost: that it is the same holder of
	// the same key for as long as the connection lasts. A certificate that is
	// renewed for the same key is always allowed.
	AllowKeyChange bool

	// BeforeReattest, if set, is called before this side asks the peer anew on
	// an open connection, and AfterReattest when that is decided: with the new
	// Result, or with why there is none. They are called in a goroutine of that
	// exchange, which waits for them: they must not call Reattest or CloseWrite
	// of the same connection, which wait for it too.
	BeforeReattest func(c *Conn)
	AfterReattest  func(c *Conn, r *attestation.Result, err error)

	// Reattested, if set, is called when the peer has asked this side anew on an open
	// connection and has accepted the answer. Where it does not accept, the connection
	// fails instead. It is called in the goroutine that reads frames: it must return
	// soon, and must not call Reattest or CloseWrite of the same connection.
	Reattested func(c *Conn)

	// MaxAuthenticator is the largest authenticator taken from the peer in
	// bytes, at most [MaxMaxAuthenticator]; zero: [DefaultMaxAuthenticator].
	MaxAuthenticator int

	// MaxExchanges is how many exchanges the servers with this Config work on at a
	// time (attest, validate, appraise), those of listeners among them; further ones
	// wait within their Timeout. Those that only wait for their peer do not count.
	// Open connections that are attested anew have as many places of their own.
	// Zero: [DefaultMaxExchanges].
	MaxExchanges int

	// Refused, if set, is told of each connection that a listener drops, in
	// the goroutine of that connection.
	Refused func(remote net.Addr, err error)

	// Trace, if set, is told of each step of an exchange.
	Trace *Trace

	once     sync.Once
	prepared *prepared
	err      error
}

// prepared is what a Config means, worked out once. It is immutable.
type prepared struct {
	*Config
	profile    attestation.Profile
	timeout    time.Duration
	verifier   time.Duration
	maxAuth    int
	exchanges  chan struct{} // of servers: a place for each exchange that is worked on
	renewals   chan struct{} // as many for those on open connections: newcomers cannot take them
	identities []*authenticator.Identity
	roots      *x509.CertPool // judge servers
	now        func() time.Time
	client     *tls.Config // hardened
	server     *tls.Config // hardened
}

// prepare validates the Config; a bad value is an error, never cut to size.
func (c *Config) prepare() (*prepared, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: Config is nil", ErrConfig)
	}
	c.once.Do(func() {
		c.prepared, c.err = c.build()
		if c.err != nil {
			c.err = fmt.Errorf("%w: %w", ErrConfig, c.err)
		}
	})
	return c.prepared, c.err
}

func (c *Config) build() (*prepared, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &prepared{
		Config:    c,
		profile:   or(c.Profile, attestation.Expat04()),
		timeout:   or(c.Timeout, DefaultTimeout),
		verifier:  or(c.VerifierTimeout, DefaultVerifierTimeout),
		maxAuth:   or(c.MaxAuthenticator, DefaultMaxAuthenticator),
		exchanges: make(chan struct{}, or(c.MaxExchanges, DefaultMaxExchanges)),
		roots:     c.TLS.RootCAs,
		now:       c.TLS.Time,
	}
	p.renewals = make(chan struct{}, cap(p.exchanges))
	if p.now == nil {
		p.now = time.Now
	}
	var err error
	if p.roots == nil && c.Verifier != nil && c.RootsForURI == nil {
		if p.roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("TLS.RootCAs is nil and the system has no roots: %w", err)
		}
	}
	if p.identities, err = c.identities(); err != nil {
		return nil, err
	}
	names, err := offerNames(c.TLS.NextProtos)
	if err != nil {
		return nil, err
	}
	p.client = p.clientTLS(names)
	p.server = p.serverTLS(names)
	return p, nil
}

// mux tells whether HELLO says that frames may go on after opening.
func (c *Config) mux() bool { return c.Reattest || c.ReattestEvery > 0 }

// check finds values that cannot be meant.
func (c *Config) check() error {
	var errs []error
	bad := func(is bool, text string) {
		if is {
			errs = append(errs, errors.New(text))
		}
	}
	bad(c.Attester == nil && c.Verifier == nil, "set Attester, Verifier or both: without them nothing is attested")
	bad(c.TLS == nil, "set TLS")
	bad(c.Timeout < 0 || c.VerifierTimeout < 0, "Timeout and VerifierTimeout must not be negative")
	bad(c.MaxAuthenticator < 0 || c.MaxAuthenticator > MaxMaxAuthenticator, fmt.Sprintf("MaxAuthenticator must be 0 to %d", MaxMaxAuthenticator))
	bad(c.GetIdentities != nil && len(c.Identities) > 0, "set Identities or GetIdentities, not both")
	bad(c.GetIdentities != nil && c.Attester == nil && c.TLS != nil && (len(c.TLS.Certificates) > 0 || c.TLS.GetCertificate != nil || c.TLS.GetClientCertificate != nil),
		"GetIdentities would not be called: TLS names the certificate, and there is no Attester")
	bad(c.MaxExchanges < 0, "MaxExchanges must not be negative")
	bad(c.ReattestEvery < 0, "ReattestEvery must not be negative")
	bad(c.ReattestEvery > MaxReattestEvery, fmt.Sprintf("ReattestEvery must be at most %v", MaxReattestEvery))
	bad(c.Verifier == nil && (c.ReattestEvery > 0 || c.AllowKeyChange || c.BeforeReattest != nil || c.AfterReattest != nil),
		"ReattestEvery, AllowKeyChange, BeforeReattest and AfterReattest need a Verifier: without one nobody is asked anew")
	bad(c.Attester == nil && c.Reattested != nil, "Reattested needs an Attester: without one this side shows nothing")
	bad(c.ClientFirst && (c.Attester == nil || c.Verifier == nil), "ClientFirst needs Attester and Verifier")
	bad(len(c.PinnedServerKeys) > 0 && !c.AttestedKeyOnly, "PinnedServerKeys is for AttestedKeyOnly")
	bad(c.AttestedKeyOnly && c.Verifier == nil, "AttestedKeyOnly without a Verifier trusts any key")
	bad(c.AttestedKeyOnly && c.RootsForURI != nil, "RootsForURI has a CA prove a name, AttestedKeyOnly has none")
	bad(c.AttestedKeyOnly && c.RequireOCSPStaple, "RequireOCSPStaple needs a CA, AttestedKeyOnly has none")
	bad(c.Verifier == nil && (c.RequireSameLeaf || c.RequireOCSPStaple || c.CheckRevocation != nil || c.Nonce != nil),
		"RequireSameLeaf, RequireOCSPStaple, CheckRevocation and Nonce need a Verifier: without one the peer shows no authenticator")
	if c.TLS != nil {
		bad(c.RootsForURI != nil && (c.TLS.RootCAs != nil || c.TLS.ClientCAs != nil), "set RootsForURI, or TLS.RootCAs and TLS.ClientCAs, not both")
		bad(c.TLS.InsecureSkipVerify, "TLS.InsecureSkipVerify is refused; see AttestedKeyOnly")
		bad(c.TLS.MinVersion > tls.VersionTLS13 || (c.TLS.MaxVersion != 0 && c.TLS.MaxVersion < tls.VersionTLS13), "TLS 1.3 must be allowed")
		bad(c.Attester != nil && len(c.Identities) == 0 && c.GetIdentities == nil && len(c.TLS.Certificates) == 0 &&
			c.TLS.GetCertificate == nil && c.TLS.GetConfigForClient == nil, "an Attester needs Identities or TLS.Certificates to sign with")
	}
	return errors.Join(errs...)
}

// identities prepares the certificates that sign authenticators.
func (c *Config) identities() ([]*authenticator.Identity, error) {
	if c.Attester == nil {
		return nil, nil
	}
	if c.GetIdentities != nil {
		return nil, nil // Conn.identities asks for them
	}
	certs := c.Identities
	if len(certs) == 0 {
		certs = c.TLS.Certificates
	}
	var out []*authenticator.Identity
	for i, cert := range certs {
		id, err := authenticator.NewIdentity(cert)
		if err != nil {
			return nil, fmt.Errorf("identity %d: %w", i, err)
		}
		out = append(out, id)
	}
	return out, nil
}

// clientRoots are the roots that judge a client's authenticator: those of the
// TLS configuration that served it.
func clientRoots(c *tls.Config) (*x509.CertPool, error) {
	if c.ClientCAs == nil {
		return nil, errors.New("TLS.ClientCAs is not set, so no client certificate can be trusted; see AttestedKeyOnly")
	}
	return c.ClientCAs, nil
}

// models are the topologies that a side with an Attester or Verifier takes part
// in: both, since what is conveyed is named by its media type.
const models = wire.BackgroundCheck | wire.Passport

// or returns v, or def if v is the zero value.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
