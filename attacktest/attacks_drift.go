package attacktest

import (
	"context"
	"slices"
	"time"

	"github.com/expat-go/expat"
)

// Verdicts that have run out: I-9.

func driftAttacks() []attack {
	return slowly(slices.Concat(
		attesting(Attack{
			Name: "state drift, our verdict", Requirement: "I-9", Has: genuine,
			Does:    "accepts the victim for a few seconds, and goes on using the connection",
			Defence: "the connection closes when a verdict runs out",
		}, ourVerdict),
		relying(Attack{
			Name: "state drift, its verdict", Requirement: "I-9", Has: genuine,
			Does:    "goes on using a connection when the victim's verdict on him has run out",
			Defence: "the connection closes when a verdict runs out",
		}, itsVerdict),
	))
}

// shortVerdict is how long the attacker accepts a victim for: long enough for it to
// open on a slow machine.
const shortVerdict = 4 * time.Second

func ourVerdict(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.proved(ctx)
	if err != nil {
		return verdict{}, err
	}
	if err := p.judge(shortVerdict); err != nil {
		return verdict{}, err
	}
	return p.outlives(ctx, shortVerdict)
}

func itsVerdict(ctx context.Context, s *scene) (verdict, error) {
	if s.lifetime == 0 || s.lifetime > s.options.Patience {
		return verdict{}, inapplicable("the victim's verdicts last longer than the run")
	}
	p, err := s.greeted(ctx, false, true)
	if err != nil {
		return verdict{}, err
	}
	if err := p.honest(ctx); err != nil {
		return verdict{}, err
	}
	return p.outlives(ctx, s.lifetime)
}

// outlives waits for the end of an open connection, whose verdict holds for a
// time.
func (p *peer) outlives(ctx context.Context, lifetime time.Duration) (verdict, error) {
	if err := p.opened(ctx); err != nil {
		return verdict{}, err
	}
	p.client = nil // it is open, as it should be
	p.stage = expat.StageLifetime
	return p.closes(ctx, lifetime+p.options.Prompt, true)
}
