package attacktest

import (
	"bytes"
	"context"
	"slices"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

// What is too long, too deep or too much: I-17. The victim must refuse at once,
// without waiting for the rest.

func limitAttacks() []attack {
	const limits = "sizes, depth and counts are checked before memory is taken"
	return slices.Concat(
		either(Attack{
			Name: "unknown frame", Requirement: "I-17", Has: "nothing",
			Does:    "sends a frame of a type that does not exist",
			Defence: "the order of frames",
		}, says("\xff\x00\x00\x01x")),
		either(Attack{
			Name: "long HELLO", Requirement: "I-17", Has: "nothing",
			Does:    "announces a HELLO of 16 MiB",
			Defence: limits,
		}, says("\x01\xff\xff\xff")),
		either(Attack{
			Name: "deep HELLO", Requirement: "I-17", Has: "nothing",
			Does:    "nests a HELLO a thousand levels deep, under a key that means nothing",
			Defence: limits,
		}, hello("\x19\x27\x10"+string(bytes.Repeat([]byte{0x81}, 1000))+"\x00")),
		either(Attack{
			Name: "HELLO of four billion items", Requirement: "I-17", Has: "nothing",
			Does:    "announces an array of 2^32 items inside a HELLO",
			Defence: limits,
		}, hello("\x19\x27\x10\x9b\x00\x00\x00\x01\x00\x00\x00\x00")),
		either(Attack{
			Name: "HELLO that contradicts itself", Requirement: "I-17", Has: "nothing",
			Does:    "says in HELLO both that he multiplexes and that he does not",
			Defence: "duplicate keys are refused",
		}, hello("\x05\xf5")),
		relying(Attack{
			Name: "long authenticator", Requirement: "I-17", Has: "nothing",
			Does:    "announces an authenticator of 16 MiB, and begins it",
			Defence: limits,
		}, long(wire.Authenticator)),
		attesting(Attack{
			Name: "long request", Requirement: "I-17", Has: "nothing",
			Does:    "announces a request of 16 MiB, and begins it",
			Defence: limits,
		}, long(wire.Request)),
		relying(Attack{
			Name: "deep attestation", Requirement: "I-17", Has: genuine,
			Does:    "puts good Evidence five collections deep",
			Defence: limits,
		}, shows(nested(5))),
		relying(Attack{
			Name: "very deep attestation", Requirement: "I-17", Has: genuine,
			Does:    "puts good Evidence ten thousand collections deep",
			Defence: limits,
		}, shows(nested(10000))),
		relying(Attack{
			Name: "attestation of many leaves", Requirement: "I-17", Has: genuine,
			Does:    "shows a collection that holds his good Evidence seventeen times",
			Defence: limits,
		}, shows(many(17))),
	)
}

// says is an attack by the first bytes that are sent.
func says(first string) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.meet(ctx)
		if err != nil {
			return verdict{}, err
		}
		p.stage = expat.StageHello
		p.write([]byte(first))
		return p.verdict(ctx, s.options.Prompt)
	}
}

// hello is an attack by one more entry of a good HELLO, encoded.
func hello(entry string) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.meet(ctx)
		if err != nil {
			return verdict{}, err
		}
		// One of both must ask, or that is what is refused.
		b, err := p.says(s.attests && !s.asks, true).Encode()
		if err != nil {
			return verdict{}, err
		}
		b[0]++ // one more entry of a map with less than 23
		p.send(wire.Hello, append(b, entry...))
		return p.verdict(ctx, s.options.Prompt)
	}
}

// long announces a frame of 16 MiB and sends the beginning.
func long(t wire.Type) try {
	return func(ctx context.Context, s *scene) (verdict, error) {
		p, err := s.greeted(ctx, t == wire.Request, true)
		if err != nil {
			return verdict{}, err
		}
		p.stage = expat.StageValidate
		if t == wire.Request {
			p.stage = expat.StageRequest
		}
		p.write(append([]byte{byte(t), 0xff, 0xff, 0xff}, make([]byte, 16<<10)...))
		return p.verdict(ctx, s.options.Prompt)
	}
}

// encodedEvidence is good Evidence for what the victim asked, encoded.
func (p *peer) encodedEvidence(ctx context.Context) ([]byte, error) {
	b, err := p.bindingOf(ctx, p.asked, p.id)
	if err != nil {
		return nil, err
	}
	m, err := p.evidence(ctx, b)
	if err != nil {
		return nil, err
	}
	return m.MarshalCBOR()
}

// nested puts good Evidence into collections of one item each.
func nested(levels int) func(context.Context, *peer) ([]byte, error) {
	return func(ctx context.Context, p *peer) ([]byte, error) {
		b, err := p.encodedEvidence(ctx)
		if err != nil {
			return nil, err
		}
		return p.answerWith(ctx, append(bytes.Repeat([]byte("\xa1\x61a"), levels), b...))
	}
}

// many shows the same Evidence so many times, at most 23, as far as it fits.
func many(n int) func(context.Context, *peer) ([]byte, error) {
	return func(ctx context.Context, p *peer) ([]byte, error) {
		b, err := p.encodedEvidence(ctx)
		if err != nil {
			return nil, err
		}
		if n*(len(b)+2) > cmw.MaxSize {
			return nil, inapplicable("the platform's Evidence is too large to be shown so often")
		}
		out := []byte{0xa0 | byte(n)}
		for i := range n {
			out = append(append(out, 0x61, 'a'+byte(i)), b...)
		}
		return p.answerWith(ctx, out)
	}
}
