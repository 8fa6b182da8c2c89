package attacktest

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// Connections that are open, on which both sides may be asked anew: I-1, I-6, I-9,
// I-15.

func liveAttacks() []attack {
	return slices.Concat(
		attesting(Attack{
			Name: "second request in a renewal", Requirement: "I-6", Has: genuine,
			Does:    "asks anew on an open connection, and again before he has given his verdict",
			Defence: "one exchange at a time in each direction",
		}, asks((*scene).live, func(p *peer) ([]byte, error) {
			if err := p.anew(); err != nil {
				return nil, err
			}
			return p.question(asUsual)
		})),
		attesting(Attack{
			Name: "context used before in a renewal", Requirement: "I-6", Has: genuine,
			Does:    "asks anew on an open connection with the context of his first request",
			Defence: "contexts are remembered for as long as the connection lasts",
		}, asks((*scene).live, func(p *peer) ([]byte, error) {
			return p.question(func(o *authenticator.RequestOptions) { o.Context = p.before.Context() })
		})),
		attesting(Attack{
			Name: "application data after a refused renewal", Requirement: "I-15", Has: genuine,
			Does:    "asks anew on an open connection, rejects the proof, and goes on with application data",
			Defence: "RESULT other than 0 closes the connection",
		}, afterRefusal),
		slowly(relying(Attack{
			Name: "old authenticator in a renewal", Requirement: "I-1", Has: genuine,
			Does:    "answers with his first authenticator when he is asked anew",
			Defence: "context and transcript are those of the new request",
		}, renewed(func(_ context.Context, p *peer) ([]byte, error) { return p.shown, nil }))),
		slowly(relying(Attack{
			Name: "old Evidence in a renewal", Requirement: "I-9", Has: genuine,
			Does:    "answers with his first Evidence in a good authenticator when he is asked anew: his state has changed since",
			Defence: "the new request's context enters the binder",
		}, renewed(func(ctx context.Context, p *peer) ([]byte, error) {
			old, err := p.madeFor(ctx, p.first, p.id)
			if err != nil {
				return nil, err
			}
			return p.answer(ctx, p.id, old)
		}))),
	)
}

// live is an open connection on which both sides may be asked anew.
func (s *scene) live(ctx context.Context) (*peer, error) {
	p, err := s.meet(ctx)
	if err != nil {
		return nil, err
	}
	p.mux = true
	if err := p.begin(s.attests, s.own().Attester != nil); err != nil {
		return nil, err
	}
	if !p.hello.Mux {
		return nil, inapplicable("the victim does not offer to be asked anew")
	}
	p.first = p.asked
	if err := p.honest(ctx); err != nil {
		return nil, err
	}
	if s.attests {
		if err := p.judge(0); err != nil {
			return nil, err
		}
	}
	if err := p.opened(ctx); err != nil {
		return nil, err
	}
	p.client = nil // it is open, as it should be
	return p, nil
}

// await reads up to a frame of a live connection.
func (p *peer) await(want wire.Type, within time.Duration) ([]byte, error) {
	_ = p.tls.SetReadDeadline(time.Now().Add(within))
	for {
		t, payload, err := wire.Read(p.tls, wire.MaxMaxAuthenticator)
		switch {
		case err != nil:
			return nil, err
		case t == want:
			return payload, nil
		case alertIn(t, payload) != "":
			return nil, &unexpected{want, describe(t, payload), alertIn(t, payload)}
		}
	}
}

// anew asks a live victim and reads the answer.
func (p *peer) anew() error {
	b, err := p.question(asUsual)
	if err != nil {
		return err
	}
	p.send(wire.Request, b)
	_, err = p.await(wire.Authenticator, p.options.Prompt)
	return err
}

func afterRefusal(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.live(ctx)
	if err != nil {
		return verdict{}, err
	}
	if err := p.anew(); err != nil {
		return verdict{}, err
	}
	p.sendVerdict(expat.AlertAttestationRejected, 0)
	p.speak()
	return p.verdict(ctx, s.options.Prompt)
}

// renewed is an attack by what a victim is shown when it asks anew.
func renewed(make func(ctx context.Context, p *peer) ([]byte, error)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.live(ctx)
		if err != nil {
			return verdict{}, err
		}
		b, err := p.await(wire.Request, s.options.Patience)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return verdict{}, inapplicable("the victim does not ask anew within the run")
		}
		if err != nil {
			return verdict{}, err
		}
		if p.asked, err = p.session.ReceiveRequest(b); err != nil {
			return verdict{}, err
		}
		if b, err = make(ctx, p); err != nil {
			return verdict{}, err
		}
		p.send(wire.Authenticator, b)
		return p.verdict(ctx, s.options.Patience, wire.Result)
	}
}
