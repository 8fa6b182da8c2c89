package attacktest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// A Target is what is attacked, and what the attacker has. Only Dial and the
// parties that its endpoint's role calls for are required.
type Target struct {
	// Dial opens a connection to the endpoint, a server; TLS is not yet done.
	// Required.
	Dial func(ctx context.Context) (net.Conn, error)

	// ServerName is the name that clients ask the endpoint for (SNI).
	ServerName string

	// Protocol is the application protocol of the endpoint, as in NextProtos of
	// its TLS configuration; "" if it has none.
	Protocol string

	// Client runs a client that relies on the endpoint over nc, until the
	// connection is open (nil error) or refused. It closes nc when ctx ends.
	// [ClientOf] makes one of a Config. Nil: clients are not attacked.
	Client func(ctx context.Context, nc net.Conn) (net.Conn, error)

	// AsClient is what a client has that the endpoint accepts. Its Attester may
	// be nil if the endpoint does not ask.
	AsClient *Party

	// AsServer is what a server has that Client accepts, the endpoint or another
	// one. Required with Client.
	AsServer *Party

	// EndpointKey is the certificate and key that the endpoint shows in its TLS
	// handshake, for attacks by someone who has stolen them.
	EndpointKey *tls.Certificate

	// MediaTypes are formats of Evidence that the attacker says he accepts, beside
	// those that the Attesters of AsClient and AsServer make. A victim of another
	// platform attests in none of those.
	MediaTypes []string

	// Profile is the revision of the draft; zero: [attestation.Expat04].
	Profile attestation.Profile
}

// A Party is one side as an attacker can be it: a certificate that the victim
// trusts, an environment that the victim accepts, and variations of both that
// the victim must refuse. Those left out make attacks not applicable.
type Party struct {
	// Identity is the certificate and the key that is attested. Required.
	Identity tls.Certificate

	// Attester makes good Evidence for Identity.
	Attester attestation.Attester

	// Other is a certificate of the same name and CA for a key outside the
	// environment: one that a CA issued by mistake.
	Other *tls.Certificate

	// Foreign makes Evidence for the key of Other, as far as the environment
	// lets itself be told to, without lying about where that key is.
	Foreign attestation.Attester

	// Misnamed makes Evidence with the right binder that names another key.
	Misnamed attestation.Attester

	// Unknown is an environment that is signed for by nobody whom the victim
	// trusts, and good in all else.
	Unknown *Party

	// Diverted is another instance with the same software, in place of which
	// the victim means Identity's. Leave it out if any instance is good.
	Diverted *Party

	// Twin is a Party with the victim's own key as Identity, attested.
	Twin *Party

	// Dressed makes Evidence that is signed for one Binding and carries another
	// in an envelope that no signature covers, such as an unprotected header.
	Dressed func(ctx context.Context, signed, outer attestation.Binding) (*cmw.Message, error)
}

// ClientOf makes a Client of what the user's own client is configured with.
func ClientOf(cfg *expat.Config) func(context.Context, net.Conn) (net.Conn, error) {
	return func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		c := expat.Client(nc, cfg)
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return c, nil
	}
}

// Options vary a run. The zero Options attack everything.
type Options struct {
	// Only names the attacks to run, as in [Attack.Name]. Empty: all.
	Only []string

	// Patience is how long a victim may be kept waiting before it must have
	// closed the connection: a little more than its deadline. Zero:
	// [DefaultPatience], for the deadline that package expat has by default.
	Patience time.Duration

	// Prompt is how soon a victim must refuse what is wrong on the face of it,
	// without waiting for more or for its deadline. Zero: [DefaultPrompt].
	Prompt time.Duration

	// Drip is the time between two bytes of a slow peer. Zero: [DefaultDrip].
	Drip time.Duration

	// Parallel is how many attacks run at a time, at most [MaxParallel]; those
	// that only wait are not counted. Zero: [DefaultParallel].
	Parallel int

	// Timeout bounds the whole run. Zero: [DefaultTimeout].
	Timeout time.Duration
}

// Defaults of Options.
const (
	DefaultPatience = 35 * time.Second
	DefaultPrompt   = 5 * time.Second
	DefaultDrip     = time.Second
	DefaultTimeout  = 2 * time.Minute
	DefaultParallel = 4
)

// MaxParallel is the largest value of Options.Parallel.
const MaxParallel = 16

// ErrTarget: the Target or the Options cannot be used.
var ErrTarget = errors.New("attacktest: target cannot be used")

func (t *Target) check() error {
	switch {
	case t.Dial == nil:
		return fmt.Errorf("%w: set Dial", ErrTarget)
	case t.AsClient == nil:
		return fmt.Errorf("%w: set AsClient, with the certificate of a client at least", ErrTarget)
	case t.Client != nil && (t.AsServer == nil || t.AsServer.Attester == nil):
		return fmt.Errorf("%w: Client needs AsServer with an Attester", ErrTarget)
	}
	for name, p := range map[string]*Party{"AsClient": t.AsClient, "AsServer": t.AsServer} {
		if p == nil || name == "AsClient" && p.Attester == nil && len(p.Identity.Certificate) == 0 {
			continue
		}
		if _, err := authenticator.NewIdentity(p.Identity); err != nil {
			return fmt.Errorf("%w: %s.Identity: %w", ErrTarget, name, err)
		}
	}
	return nil
}

func (t *Target) profile() attestation.Profile {
	var zero attestation.Profile
	if t.Profile == zero {
		return attestation.Expat04()
	}
	return t.Profile
}

// mediaTypes is all that the attacker accepts when he asks.
func (t *Target) mediaTypes() []string {
	types := slices.Clone(t.MediaTypes)
	for _, p := range []*Party{t.AsClient, t.AsServer} {
		if p == nil || p.Attester == nil {
			continue
		}
		for _, m := range p.Attester.MediaTypes() {
			if !slices.Contains(types, m) {
				types = append(types, m)
			}
		}
	}
	return types
}

// alpn is the name under which expat/1 is negotiated.
func (t *Target) alpn() string {
	if t.Protocol == "" {
		return "expat/1"
	}
	return "expat/1+" + t.Protocol
}

func (o Options) filled() (Options, error) {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Patience, DefaultPatience}, {&o.Prompt, DefaultPrompt}, {&o.Drip, DefaultDrip}, {&o.Timeout, DefaultTimeout}} {
		if *d.v < 0 {
			return o, fmt.Errorf("%w: negative time", ErrTarget)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.Prompt > o.Patience {
		o.Prompt = o.Patience
	}
	if o.Parallel < 0 || o.Parallel > MaxParallel {
		return o, fmt.Errorf("%w: Parallel must be 0 to %d", ErrTarget, MaxParallel)
	}
	if o.Parallel == 0 {
		o.Parallel = DefaultParallel
	}
	return o, nil
}
