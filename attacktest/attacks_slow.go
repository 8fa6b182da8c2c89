package attacktest

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/internal/wire"
)

// Peers that take all the time in the world: I-17.

func slowAttacks() []attack {
	const deadline = "one deadline over the TLS handshake and the exchange"
	return slowly(slices.Concat(
		either(Attack{
			Name: "silent", Requirement: "I-17", Has: "nothing",
			Does: "connects and says nothing", Defence: deadline,
		}, silentBeforeTLS),
		either(Attack{
			Name: "slow TLS handshake", Requirement: "I-17", Has: "nothing",
			Does: "sends his TLS handshake byte by byte", Defence: deadline,
		}, slowTLS),
		either(Attack{
			Name: "silent after TLS", Requirement: "I-17", Has: "nothing",
			Does: "says nothing after the TLS handshake", Defence: deadline,
		}, silentAfter(nil)),
		either(Attack{
			Name: "slow HELLO", Requirement: "I-17", Has: "nothing",
			Does: "sends his HELLO byte by byte", Defence: deadline,
		}, slowHello),
		relying(Attack{
			Name: "silent after HELLO", Requirement: "I-17", Has: "nothing",
			Does: "says that he can attest, and never does", Defence: deadline,
		}, silentAfter(func(_ context.Context, p *peer) error { return p.begin(false, true) })),
		attesting(Attack{
			Name: "silent after HELLO", Requirement: "I-17", Has: "nothing",
			Does: "says that he will ask, and never does", Defence: deadline,
		}, silentAfter(func(_ context.Context, p *peer) error { return p.begin(true, true) })),
		attesting(Attack{
			Name: "silent after the proof", Requirement: "I-17", Has: genuine,
			Does: "never says what he makes of the victim's proof", Defence: deadline,
		}, silentAfter(noVerdict)),
	))
}

func silentBeforeTLS(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.reach(ctx)
	if err != nil {
		return verdict{}, err
	}
	return p.closes(ctx, s.options.Patience, false)
}

// slowConn writes byte by byte.
type slowConn struct {
	net.Conn
	every time.Duration
}

func (c *slowConn) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(c.every)
	}
	return len(b), nil
}

func slowTLS(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.reach(ctx)
	if err != nil {
		return verdict{}, err
	}
	fast := p.raw
	p.raw = &slowConn{fast, s.options.Drip}
	start := time.Now()
	err = p.secure(ctx)
	if err == nil {
		return verdict{}, inapplicable("the handshake was over before the victim's deadline; raise Drip")
	}
	if time.Since(start) >= s.options.Patience {
		return p.andClient(ctx, p.accepted("the connection is still open after %v", s.options.Patience))
	}
	return p.andClient(ctx, refusedAt(expat.StageTLS, tlsAlert(err)))
}

func silentAfter(do func(context.Context, *peer) error) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.meet(ctx)
		if err != nil {
			return verdict{}, err
		}
		p.stage = expat.StageHello
		if do != nil {
			if err := do(ctx, p); err != nil {
				return verdict{}, err
			}
		}
		return p.verdict(ctx, s.options.Patience)
	}
}

func noVerdict(ctx context.Context, p *peer) error {
	if err := p.begin(true, p.party.Attester != nil); err != nil {
		return err
	}
	if err := p.honest(ctx); err != nil {
		return err
	}
	_, _, _, err := p.askAs(asUsual)
	return err
}

func slowHello(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.meet(ctx)
	if err != nil {
		return verdict{}, err
	}
	p.stage = expat.StageHello
	ended := make(chan struct{})
	sent := make(chan struct{})
	go func() { // a HELLO of 4 KiB
		defer close(sent)
		b := append([]byte{byte(wire.Hello), 0, wire.MaxHello >> 8, 0}, make([]byte, wire.MaxHello)...)
		tick := time.NewTicker(s.options.Drip)
		defer tick.Stop()
		for i := range b {
			select {
			case <-tick.C:
				p.write(b[i : i+1])
			case <-ended:
				return
			}
		}
	}()
	v, err := p.verdict(ctx, s.options.Patience)
	close(ended)
	<-sent
	return v, err
}
