package attacktest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// Attackers between a client and the endpoint: I-3, I-13. Two TLS connections end
// at them, one to each side.

func relayAttacks() []attack {
	const mistake = "a certificate for the endpoint's name that a CA issued by mistake"
	const stolen = "the key of the endpoint's TLS certificate"
	return slices.Concat(
		between(Attack{
			Name: "terminating proxy", Requirement: "I-13", Has: mistake,
			Does:    "ends TLS on both sides and passes every frame on",
			Defence: "the authenticator is signed over exporter values of one connection",
		}, passing(mistaken)),
		between(Attack{
			Name: "terminating proxy with the TLS key", Requirement: "I-3", Has: stolen,
			Does:    "ends TLS on both sides and passes every frame on",
			Defence: "the authenticator is signed over exporter values of one connection",
		}, passing(stolenKey)),
		between(Attack{
			Name: "relayed Evidence", Requirement: "I-3", Has: mistake,
			Does:    "has the endpoint answer the client's context, and puts its Evidence into an authenticator of his own",
			Defence: "the connection's exporter value and the leaf's key in the binder",
		}, relaying(mistaken)),
		between(Attack{
			Name: "relayed Evidence with the TLS key", Requirement: "I-3", Has: stolen,
			Does:    "has the endpoint answer the client's context, and puts its Evidence into an authenticator with its key",
			Defence: "the connection's exporter value in the binder",
		}, relaying(stolenKey)),
		[]attack{{Attack: Attack{
			Name: "relayed Evidence of a client", Requirement: "I-3", Has: genuine, Victim: EndpointRelying,
			Does:    "has a client attest to him for the endpoint's context, and shows the endpoint its Evidence",
			Defence: "the connection's exporter value and the leaf's key in the binder",
		}, try: relayClient}},
	)
}

func between(a Attack, do try) []attack {
	a.Victim = ClientRelying
	return []attack{{Attack: a, try: do}}
}

// mistaken and stolenKey are what the attacker shows the client.
func mistaken(t *Target) (*tls.Certificate, error) {
	if t.AsServer.Other == nil {
		return nil, inapplicable("AsServer has no Other")
	}
	return t.AsServer.Other, nil
}

func stolenKey(t *Target) (*tls.Certificate, error) {
	if t.EndpointKey == nil {
		return nil, inapplicable("the Target has no EndpointKey: nobody has stolen it")
	}
	return t.EndpointKey, nil
}

// asClient is a connection to the endpoint beside the one to the victim.
func (s *scene) asClient(ctx context.Context) (*peer, error) {
	nc, err := s.target.Dial(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.newPeer(ctx, nc, authenticator.Client, s.target.AsClient)
	if err != nil {
		return nil, err
	}
	if err := p.secure(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake with the endpoint: %w", err)
	}
	p.session, err = authenticator.NewSession(p.tls.ConnectionState(), p.role)
	return p, err
}

// faced is a client that has ended its TLS connection at the attacker.
func (s *scene) faced(ctx context.Context, show *tls.Certificate) (*peer, error) {
	p, err := s.reach(ctx)
	if err != nil {
		return nil, err
	}
	err = p.secure(ctx, func(c *tls.Config) { c.Certificates = []tls.Certificate{*show} })
	if err != nil {
		return nil, fmt.Errorf("TLS handshake with the client: %w", err)
	}
	p.session, err = authenticator.NewSession(p.tls.ConnectionState(), p.role)
	return p, err
}

// passing passes frames between the client and the endpoint until one refuses.
func passing(show func(*Target) (*tls.Certificate, error)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		cert, err := show(s.target)
		if err != nil {
			return verdict{}, err
		}
		if s.client.demands && !s.endpoint.offers {
			return verdict{}, inapplicable("the client demands to be able to ask anew, which the endpoint does not offer")
		}
		victim, err := s.faced(ctx, cert)
		if err != nil {
			return verdict{}, err
		}
		endpoint, err := s.asClient(ctx)
		if err != nil {
			return verdict{}, err
		}
		alerts := make(chan string, 2)
		go func() { alerts <- pass(victim, endpoint) }()
		go func() { alerts <- pass(endpoint, victim) }()
		end, err := victim.awaitClient(ctx)
		_, _ = victim.raw.Close(), endpoint.raw.Close()
		alert := <-alerts
		if second := <-alerts; alert == "" {
			alert = second
		}
		if err != nil {
			return verdict{}, err
		}
		return clientVerdict(end, refusedAt(expat.StageValidate, alert)), nil
	}
}

// pass copies frames until there are no more, and returns the code of a refusal
// among them. It ends on application data too: the sender is then open.
func pass(from, to *peer) (alert string) {
	defer to.raw.Close()
	for {
		t, payload, err := wire.Read(from.tls, wire.MaxMaxAuthenticator)
		if err != nil {
			return alert
		}
		if code := alertIn(t, payload); code != "" {
			alert = code
		}
		b, err := wire.Append(nil, t, payload)
		if err != nil {
			return alert
		}
		if _, err := to.tls.Write(b); err != nil {
			return alert
		}
	}
}

// relaying repacks Evidence that the endpoint makes for the client's context.
func relaying(show func(*Target) (*tls.Certificate, error)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		cert, err := show(s.target)
		if err != nil {
			return verdict{}, err
		}
		victim, err := s.faced(ctx, cert)
		if err != nil {
			return verdict{}, err
		}
		if err := victim.begin(false, true); err != nil {
			return verdict{}, err
		}
		endpoint, err := s.asClient(ctx)
		if err != nil {
			return verdict{}, err
		}
		if err := endpoint.begin(true, endpoint.party.Attester != nil); err != nil {
			return verdict{}, err
		}
		if !endpoint.hello.CanAttest {
			return verdict{}, inapplicable("the endpoint does not attest")
		}
		if err := endpoint.honest(ctx); err != nil {
			return verdict{}, err
		}
		id, err := authenticator.NewIdentity(*cert)
		if err != nil {
			return verdict{}, err
		}
		return victim.showTaken(ctx, endpoint, id)
	}
}

// relayClient is the reverse: the Evidence of a client is shown to the endpoint.
func relayClient(ctx context.Context, s *scene) (verdict, error) {
	if s.target.Client == nil {
		return verdict{}, inapplicable("the Target has no Client")
	}
	victim, err := s.greeted(ctx, false, true)
	if err != nil {
		return verdict{}, err
	}
	c := &scene{target: s.target, options: s.options, victim: ClientAttester, facts: s.client, client: s.client}
	defer c.close()
	client, err := c.greeted(ctx, true, true)
	if err != nil {
		return verdict{}, err
	}
	if !client.hello.CanAttest {
		return verdict{}, inapplicable("the client does not attest")
	}
	if err := client.honest(ctx); err != nil {
		return verdict{}, err
	}
	return victim.showTaken(ctx, client, victim.id)
}

// showTaken takes Evidence from a side that attests, for the context in which the
// victim asked, and shows it in an authenticator with id.
func (p *peer) showTaken(ctx context.Context, from *peer, id *authenticator.Identity) (verdict, error) {
	e, err := from.take(p.asked.Context())
	if err != nil {
		return verdict{}, err
	}
	b, err := p.session.Authenticate(ctx, p.asked, id, e)
	if err != nil {
		return verdict{}, err
	}
	p.send(wire.Authenticator, b)
	return p.verdict(ctx, p.options.Patience, wire.Result)
}

// take asks with a context, and returns the cmw_attestation of the answer.
func (p *peer) take(context []byte) (authenticator.Extension, error) {
	var none authenticator.Extension
	session, q, b, err := p.askAs(func(o *authenticator.RequestOptions) { o.Context = context })
	if err != nil {
		return none, err
	}
	shown, err := session.Validate(q, b, anyChain)
	if err != nil {
		return none, err
	}
	for _, e := range shown.Entries()[0].Extensions {
		if e.Type == p.target.profile().Offer().Type {
			return e, nil
		}
	}
	return none, errors.New("the authenticator to be relayed carries no Evidence")
}
