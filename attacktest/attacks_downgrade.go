package attacktest

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

// Peers that would rather not attest: I-8, I-15.

const nothingMuch = "a certificate of the right CA, and no environment"

// early is what an application would say; no frame begins like it.
const early = "application data before its time\n"

// said is how an application that says it is heard: in frames, if we have said
// that they go on.
func (p *peer) said() []byte {
	if !p.mux {
		return []byte(early)
	}
	b, err := wire.Append(nil, wire.Data, []byte(early))
	if err != nil {
		p.broken = err
	}
	return b
}

func (p *peer) speak() { p.write(p.said()) }

func downgradeAttacks() []attack {
	return slices.Concat(
		either(Attack{
			Name: "no ALPN", Requirement: "I-8", Has: nothingMuch,
			Does:    "negotiates no protocol in TLS",
			Defence: "attestation is required by local configuration; no other ALPN name is taken",
		}, negotiates(nil)),
		[]attack{{Attack: Attack{
			Name: "other ALPN", Requirement: "I-8", Has: nothingMuch, Victim: Endpoint,
			Does:    "offers h2 and http/1.1 only",
			Defence: "no other ALPN name is taken",
		}, try: negotiates([]string{"h2", "http/1.1"})}},
		relying(Attack{
			Name: "cannot attest", Requirement: "I-8", Has: nothingMuch,
			Does:    "says in HELLO that he cannot attest, and goes on",
			Defence: "who must attest is not the peer's to say",
		}, cannotAttest),
		relying(Attack{
			Name: "empty authenticator", Requirement: "I-8", Has: nothingMuch,
			Does:    "refuses with a valid empty authenticator",
			Defence: "an empty authenticator is never success",
		}, shows(func(_ context.Context, p *peer) ([]byte, error) { return p.session.Refuse(p.asked) })),
		relying(Attack{
			Name: "missing extension", Requirement: "I-8", Has: nothingMuch,
			Does:    "sends a good authenticator without cmw_attestation",
			Defence: "a certificate alone is not enough",
		}, shows(func(ctx context.Context, p *peer) ([]byte, error) { return p.answer(ctx, p.id, nil) })),
		relying(Attack{
			Name: "unknown format", Requirement: "I-8", Has: nothingMuch,
			Does:    "sends bytes under a media type that nobody reads",
			Defence: "only media types of the policy are read",
		}, shows(unknownFormat)),
		relying(Attack{
			Name: "verdict of his own", Requirement: "I-8", Has: nothingMuch,
			Does:    "sends RESULT 0 in place of an authenticator, and application data",
			Defence: "the order of frames",
		}, insteadOfProof(func(p *peer) { p.sendVerdict(expat.AlertAccepted, 0) })),
		relying(Attack{
			Name: "application data for proof", Requirement: "I-15", Has: nothingMuch,
			Does:    "sends application data in place of an authenticator",
			Defence: "no application byte is taken before RESULT",
		}, insteadOfProof(func(*peer) {})),
		relying(Attack{
			Name: "early application data", Requirement: "I-15", Has: genuine,
			Does:    "sends application data first and a good proof after it",
			Defence: "no application byte is taken before RESULT",
		}, earlyData),
	)
}

// negotiates is an attack by what is negotiated in ALPN.
func negotiates(names []string) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.reach(ctx)
		if err != nil {
			return verdict{}, err
		}
		if err := p.secure(ctx, func(c *tls.Config) { c.NextProtos = names }); err != nil {
			return p.refusedInTLS(ctx, err)
		}
		p.sendHello(s.attests, true)
		p.stage = expat.StageNegotiate
		p.speak()
		return p.verdict(ctx, s.options.Patience, wire.Hello, wire.Request, wire.Result, wire.Authenticator)
	}
}

// refusedInTLS is the verdict for a TLS handshake that failed as it should.
func (p *peer) refusedInTLS(ctx context.Context, err error) (verdict, error) {
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return verdict{}, err
	}
	return p.andClient(ctx, refusedAt(expat.StageTLS, tlsAlert(err)))
}

func cannotAttest(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.greeted(ctx, false, false)
	if err != nil {
		return verdict{}, err
	}
	p.speak()
	return p.verdict(ctx, s.options.Patience, wire.Result)
}

func unknownFormat(ctx context.Context, p *peer) ([]byte, error) {
	m, err := cmw.NewRecord("application/vnd.expat-go.unknown", []byte("trust me"), cmw.Evidence)
	if err != nil {
		return nil, err
	}
	b, err := m.MarshalCBOR()
	if err != nil {
		return nil, err
	}
	return p.answerWith(ctx, b)
}

// insteadOfProof does something else where an authenticator is awaited.
func insteadOfProof(do func(*peer)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.greeted(ctx, false, true)
		if err != nil {
			return verdict{}, err
		}
		do(p)
		p.stage = expat.StageValidate
		p.speak()
		return p.verdict(ctx, s.options.Prompt, wire.Result)
	}
}

func earlyData(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.greeted(ctx, false, true)
	if err != nil {
		return verdict{}, err
	}
	b, err := p.answer(ctx, p.id, p.party.Attester)
	if err != nil {
		return verdict{}, err
	}
	frame, err := wire.Append(p.said(), wire.Authenticator, b)
	if err != nil {
		return verdict{}, err
	}
	p.stage = expat.StageValidate
	p.write(frame)
	return p.verdict(ctx, s.options.Prompt, wire.Result)
}
