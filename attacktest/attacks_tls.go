package attacktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/internal/wire"
)

// TLS connections that carry no assurance: I-9, I-12.

func tlsAttacks() []attack {
	return slices.Concat(
		either(Attack{
			Name: "TLS 1.2", Requirement: "I-12", Has: genuine,
			Does:    "negotiates TLS 1.2 with extended_master_secret",
			Defence: "TLS 1.3 only",
		}, oldTLS),
		[]attack{{Attack: Attack{
			Name: "TLS 1.2 without extended master secret", Requirement: "I-12", Has: "nothing", Victim: Endpoint,
			Does:    "offers TLS 1.2 without extended_master_secret, in a ClientHello made by hand",
			Defence: "TLS 1.3 only",
		}, try: withoutEMS}},
		[]attack{{Attack: Attack{
			Name: "session ticket", Requirement: "I-9", Has: genuine, Victim: Endpoint,
			Does:    "waits on an attested connection for a ticket with which to resume it",
			Defence: "no NewSessionTicket is sent",
		}, try: ticket}},
		[]attack{{Attack: Attack{
			Name: "resumption", Requirement: "I-9", Has: genuine, Victim: Endpoint,
			Does:    "resumes an attested connection",
			Defence: "a resumed connection is refused",
		}, try: resumeEndpoint}},
		[]attack{{Attack: Attack{
			Name: "resumption", Requirement: "I-9", Has: genuine, Victim: Client,
			Does:    "gives the client tickets on an attested connection",
			Defence: "a client keeps no ticket, and uses none",
		}, try: resumeClient}},
	)
}

func oldTLS(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.reach(ctx)
	if err != nil {
		return verdict{}, err
	}
	err = p.secure(ctx, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
	if err != nil {
		return p.refusedInTLS(ctx, err)
	}
	p.sendHello(s.attests, true)
	p.stage = expat.StageNegotiate
	return p.verdict(ctx, s.options.Patience, wire.Hello, wire.Request)
}

// withoutEMS looks at the answer to a ClientHello: crypto/tls cannot be made to
// leave extended_master_secret out.
func withoutEMS(ctx context.Context, s *scene) (verdict, error) {
	p, err := s.reach(ctx)
	if err != nil {
		return verdict{}, err
	}
	hello, err := helloWithoutEMS(s.target.ServerName, s.target.alpn())
	if err != nil {
		return verdict{}, err
	}
	if _, err := p.raw.Write(hello); err != nil {
		return verdict{}, err
	}
	_ = p.raw.SetReadDeadline(time.Now().Add(s.options.Prompt))
	var header [5]byte // of a record: type, version, length
	if _, err := io.ReadFull(p.raw, header[:]); err != nil {
		return refusedAt(expat.StageTLS, ""), nil
	}
	const alert, handshake = 21, 22
	switch header[0] {
	case handshake:
		return p.accepted("a ServerHello arrived"), nil
	case alert:
		var body [2]byte
		if _, err := io.ReadFull(p.raw, body[:]); err != nil {
			return refusedAt(expat.StageTLS, ""), nil
		}
		return refusedAt(expat.StageTLS, "TLS: "+tlsAlertText(body[1])), nil
	}
	return verdict{}, fmt.Errorf("a record of type %d answers the ClientHello", header[0])
}

func tlsAlertText(code byte) string {
	return string(bytes.TrimPrefix([]byte(tls.AlertError(code).Error()), []byte("tls: ")))
}

// helloWithoutEMS is a ClientHello of TLS 1.2 (RFC 5246, Section 7.4.1.2), in a
// record.
func helloWithoutEMS(serverName, alpn string) ([]byte, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	hello, err := message(1, func(b *cryptobyte.Builder) {
		b.AddUint16(tls.VersionTLS12)
		b.AddBytes(random)
		b.AddUint8(0) // no session
		list16(b, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)
		b.AddBytes([]byte{1, 0}) // no compression
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			if serverName != "" {
				extension(b, 0, func(b *cryptobyte.Builder) {
					b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
						b.AddUint8(0)
						b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(serverName)) })
					})
				})
			}
			extension(b, 10, func(b *cryptobyte.Builder) { list16(b, uint16(tls.X25519), uint16(tls.CurveP256)) })
			extension(b, 11, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) })
			extension(b, 13, func(b *cryptobyte.Builder) {
				list16(b, uint16(tls.ECDSAWithP256AndSHA256), uint16(tls.PSSWithSHA256), uint16(tls.ECDSAWithP384AndSHA384))
			})
			extension(b, 16, func(b *cryptobyte.Builder) {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
					b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(alpn)) })
				})
			})
		})
	})
	if err != nil {
		return nil, err
	}
	var record cryptobyte.Builder
	record.AddUint8(22)
	record.AddUint16(tls.VersionTLS10)
	record.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(hello) })
	return record.Bytes()
}

func extension(b *cryptobyte.Builder, typ uint16, body func(*cryptobyte.Builder)) {
	b.AddUint16(typ)
	b.AddUint16LengthPrefixed(body)
}

func list16(b *cryptobyte.Builder, values ...uint16) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, v := range values {
			b.AddUint16(v)
		}
	})
}

// cache keeps the last session that a server gave.
type cache struct{ last *tls.ClientSessionState }

func (c *cache) Get(string) (*tls.ClientSessionState, bool) { return c.last, c.last != nil }
func (c *cache) Put(_ string, s *tls.ClientSessionState)    { c.last = s }

func resumable(kept *cache) tlsOptions {
	return func(c *tls.Config) { c.ClientSessionCache, c.SessionTicketsDisabled = kept, false }
}

// collect goes through an honest exchange and returns the session it was given.
func collect(ctx context.Context, s *scene) (*peer, *cache, error) {
	kept := new(cache)
	p, err := s.meet(ctx, resumable(kept))
	if err != nil {
		return nil, nil, err
	}
	if err := p.begin(s.attests, p.party.Attester != nil); err != nil {
		return nil, nil, err
	}
	if err := p.honest(ctx); err != nil {
		return nil, nil, err
	}
	if s.attests {
		err = p.judge(0)
	}
	p.stage = expat.StageLifetime
	// crypto/tls takes tickets while it reads. Most arrive with the first frame.
	_ = p.tls.SetReadDeadline(time.Now().Add(linger))
	_, _ = p.tls.Read(make([]byte, 1))
	return p, kept, err
}

// linger is how long a late ticket is waited for.
const linger = 200 * time.Millisecond

func ticket(ctx context.Context, s *scene) (verdict, error) {
	p, kept, err := collect(ctx, s)
	if err != nil {
		return verdict{}, err
	}
	if kept.last != nil {
		return p.accepted("a NewSessionTicket arrived"), nil
	}
	return refusedAt(expat.StageTLS, "no ticket"), nil
}

func resumeEndpoint(ctx context.Context, s *scene) (verdict, error) {
	_, kept, err := collect(ctx, s)
	if err != nil {
		return verdict{}, err
	}
	if kept.last == nil {
		return refusedAt(expat.StageTLS, "no ticket"), nil
	}
	p, err := s.reach(ctx)
	if err != nil {
		return verdict{}, err
	}
	if err := p.secure(ctx, resumable(kept)); err != nil {
		return p.refusedInTLS(ctx, err)
	}
	if !p.tls.ConnectionState().DidResume {
		return refusedAt(expat.StageTLS, "full handshake"), nil
	}
	p.sendHello(s.attests, true)
	p.stage = expat.StageNegotiate
	return p.verdict(ctx, s.options.Patience, wire.Hello, wire.Request)
}

// resumeClient has a client connect twice to a server that gives tickets.
func resumeClient(ctx context.Context, s *scene) (verdict, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return verdict{}, err
	}
	tickets := func(c *tls.Config) {
		c.SessionTicketsDisabled = false
		c.SetSessionTicketKeys([][32]byte{key})
	}
	for i := range 2 {
		p, err := s.meet(ctx, tickets)
		if err != nil {
			return verdict{}, err
		}
		if p.tls.ConnectionState().DidResume {
			p.sendHello(false, true)
			return p.verdict(ctx, s.options.Patience, wire.Hello, wire.Request)
		}
		if i == 1 {
			break
		}
		if err := p.begin(s.attests, true); err != nil {
			return verdict{}, err
		}
		if err := p.honest(ctx); err != nil {
			return verdict{}, err
		}
		if s.attests {
			if err := p.judge(0); err != nil {
				return verdict{}, err
			}
		}
		if err := p.opened(ctx); err != nil {
			return verdict{}, err
		}
	}
	return refusedAt(expat.StageTLS, "full handshake"), nil
}
