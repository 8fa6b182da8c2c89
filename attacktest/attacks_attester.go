package attacktest

import (
	"context"
	"errors"
	"slices"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// Relying parties that ask for what no attester may give, or give no verdict:
// I-5, I-6, I-15.

func attesterAttacks() []attack {
	return slices.Concat(
		mutually(attesting(Attack{
			Name: "context reuse across request types", Requirement: "I-6", Has: genuine,
			Does:    "asks with the context of the victim's own request",
			Defence: "one set of used contexts for both directions and both request types",
		}, asks((*scene).proved, contextOfVictim))),
		mutually(relying(Attack{
			Name: "reflection", Requirement: "I-5", Has: "nothing",
			Does:    "asks with the victim's own context and sends its authenticator back",
			Defence: "used contexts, the role in the exporter labels, the victim's own key",
		}, reflection)),
		attesting(Attack{
			Name: "request twice", Requirement: "I-6", Has: genuine,
			Does:    "sends the same request again where a verdict is due",
			Defence: "a context is answered once",
		}, asksTwice),
		attesting(Attack{
			Name: "request of the wrong direction", Requirement: "I-6", Has: genuine,
			Does:    "sends a request of the type that only the victim may send",
			Defence: "the handshake type of a request belongs to the sender's role",
		}, asks((*scene).proved, wrongType)),
		attesting(Attack{
			Name: "context without entropy", Requirement: "I-1", Has: genuine,
			Does:    "asks for attestation with a context of eight bytes",
			Defence: "nothing is attested for a context that cannot be fresh",
		}, asks((*scene).proved, shortContext)),
		attesting(Attack{
			Name: "Evidence without an offer", Requirement: "I-8", Has: genuine,
			Does:    "sends a request that does not offer cmw_attestation",
			Defence: "Evidence goes to nobody who did not ask for it",
		}, withoutOffer),
		attesting(Attack{
			Name: "nobody asks", Requirement: "I-8", Has: "nothing",
			Does:    "offers to attest, does not ask, and sends application data",
			Defence: "a connection on which nobody is attested is refused",
		}, nobodyAsks),
		attesting(Attack{
			Name: "application data for a verdict", Requirement: "I-15", Has: genuine,
			Does:    "sends application data where RESULT is due",
			Defence: "the victim opens on RESULT 0 only",
		}, afterProof(func(*peer) {})),
		attesting(Attack{
			Name: "application data after a refusal", Requirement: "I-15", Has: genuine,
			Does:    "rejects the victim's proof, and sends application data all the same",
			Defence: "RESULT other than 0 closes the connection",
		}, afterProof(func(p *peer) { p.sendVerdict(expat.AlertAttestationRejected, 0) })),
	)
}

// proved is a connection to a victim that attests, on which we have proved what
// it wanted.
func (s *scene) proved(ctx context.Context) (*peer, error) {
	p, err := s.greeted(ctx, true, s.own().Attester != nil)
	if err != nil {
		return nil, err
	}
	return p, p.honest(ctx)
}

// askAs sends a request that differs as told and reads the answer.
func (p *peer) askAs(change func(*authenticator.RequestOptions)) (*authenticator.Session, *authenticator.Request, []byte, error) {
	session, q, err := p.request(change)
	if err != nil {
		return nil, nil, nil, err
	}
	p.send(wire.Request, q.Bytes())
	b, err := p.read(wire.Authenticator)
	return session, q, b, err
}

func asUsual(*authenticator.RequestOptions) {}

// asks is an attack by what is asked on a connection, one that is proved or live.
func asks(on func(*scene, context.Context) (*peer, error), request func(p *peer) ([]byte, error)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := on(s, ctx)
		if err != nil {
			return verdict{}, err
		}
		b, err := request(p)
		if err != nil {
			return verdict{}, err
		}
		p.send(wire.Request, b)
		return p.verdict(ctx, s.options.Patience, wire.Authenticator)
	}
}

// request makes a request that differs as told, on a Session that has seen no
// other.
func (p *peer) request(change func(*authenticator.RequestOptions)) (*authenticator.Session, *authenticator.Request, error) {
	session, err := p.fresh(p.role)
	if err != nil {
		return nil, nil, err
	}
	o := p.offer()
	change(&o)
	q, err := session.NewRequest(o)
	return session, q, err
}

// sameContext asks with the context of the victim's own request.
func (p *peer) sameContext(o *authenticator.RequestOptions) { o.Context = p.asked.Context() }

// question is a request that differs as told, as it is sent.
func (p *peer) question(change func(*authenticator.RequestOptions)) ([]byte, error) {
	_, q, err := p.request(change)
	if err != nil {
		return nil, err
	}
	return q.Bytes(), nil
}

func contextOfVictim(p *peer) ([]byte, error) { return p.question(p.sameContext) }

func shortContext(p *peer) ([]byte, error) {
	return p.question(func(o *authenticator.RequestOptions) { o.Context = []byte("8 bytes.") })
}

// Handshake types of requests (RFC 9261, Section 4).
const certificateRequest, clientCertificateRequest = 13, 17

func wrongType(p *peer) ([]byte, error) {
	b, err := p.question(asUsual)
	if err != nil {
		return nil, err
	}
	b = slices.Clone(b)
	b[0] ^= certificateRequest ^ clientCertificateRequest
	return b, nil
}

// reflection sends back what the victim answers to its own question.
func reflection(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.greeted(ctx, true, true)
	if err != nil {
		return verdict{}, err
	}
	_, _, b, err := p.askAs(p.sameContext)
	var said *unexpected
	if errors.As(err, &said) || err == nil && refusal(b) {
		alert := "empty authenticator"
		if said != nil {
			alert = said.alert
		}
		return p.andClient(ctx, refusedAt(p.stage, alert))
	}
	if err != nil {
		return verdict{}, err
	}
	p.send(wire.Authenticator, b)
	return p.verdict(ctx, s.options.Patience, wire.Result)
}

func asksTwice(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.proved(ctx)
	if err != nil {
		return verdict{}, err
	}
	_, q, _, err := p.askAs(asUsual)
	if err != nil {
		return verdict{}, err
	}
	p.send(wire.Request, q.Bytes())
	return p.verdict(ctx, s.options.Patience, wire.Authenticator)
}

// withoutOffer accepts an authenticator without Evidence as a refusal.
func withoutOffer(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.proved(ctx)
	if err != nil {
		return verdict{}, err
	}
	session, q, b, err := p.askAs(func(o *authenticator.RequestOptions) { o.Extensions = nil })
	var said *unexpected
	if errors.As(err, &said) {
		return p.andClient(ctx, refusedAt(p.stage, said.alert))
	}
	if err != nil {
		return verdict{}, err
	}
	// An extension that was not offered is what Validate refuses.
	if _, err := session.Validate(q, b, anyChain); errors.Is(err, authenticator.ErrUnsupportedExtension) {
		return p.andClient(ctx, p.accepted("the authenticator carries Evidence"))
	}
	alert := ""
	if refusal(b) {
		alert = "empty authenticator"
	}
	return p.andClient(ctx, refusedAt(expat.StageAttest, alert))
}

func nobodyAsks(ctx context.Context, s *scene) (verdict, error) {
	if s.asks {
		return verdict{}, inapplicable("the victim asks, so somebody is attested")
	}
	p, err := s.greeted(ctx, false, true)
	if err != nil {
		return verdict{}, err
	}
	p.speak()
	return p.verdict(ctx, s.options.Prompt)
}

// afterProof reads the victim's proof and does something, then speaks as the
// application.
func afterProof(do func(*peer)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.proved(ctx)
		if err != nil {
			return verdict{}, err
		}
		if _, _, _, err := p.askAs(asUsual); err != nil {
			return verdict{}, err
		}
		do(p)
		p.stage = expat.StageResult
		p.speak()
		return p.verdict(ctx, s.options.Prompt)
	}
}
