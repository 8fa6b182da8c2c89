package attacktest

import (
	"context"
	"slices"

	"github.com/expat-go/expat/internal/wire"
)

// suite is every attack, by what it attacks.
func suite() []attack {
	return slices.Concat(bindingAttacks(), keyAttacks(), downgradeAttacks(), relayAttacks(),
		attesterAttacks(), tlsAttacks(), driftAttacks(), liveAttacks(), limitAttacks(), slowAttacks())
}

type try = func(ctx context.Context, s *scene) (verdict, error)

// relying are an attack on both victims that rely on what they are shown.
func relying(a Attack, do try) []attack { return onBoth(a, EndpointRelying, ClientRelying, do) }

// attesting are an attack on both victims that attest.
func attesting(a Attack, do try) []attack { return onBoth(a, EndpointAttester, ClientAttester, do) }

// either are an attack on both victims, whatever their part.
func either(a Attack, do try) []attack { return onBoth(a, Endpoint, Client, do) }

func onBoth(a Attack, endpoint, client Victim, do try) []attack {
	b := a
	a.Victim, b.Victim = endpoint, client
	return []attack{{Attack: a, try: do}, {Attack: b, try: do}}
}

func slowly(attacks []attack) []attack {
	for i := range attacks {
		attacks[i].Slow = true
	}
	return attacks
}

func mutually(attacks []attack) []attack {
	for i := range attacks {
		attacks[i].mutual = true
	}
	return attacks
}

// shows is an attack by what is sent in place of a good authenticator.
func shows(make func(ctx context.Context, p *peer) ([]byte, error)) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.greeted(ctx, false, true)
		if err != nil {
			return verdict{}, err
		}
		b, err := make(ctx, p)
		if err != nil {
			return verdict{}, err
		}
		p.send(wire.Authenticator, b)
		return p.verdict(ctx, p.options.Patience, wire.Result)
	}
}
