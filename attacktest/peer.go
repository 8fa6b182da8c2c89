package attacktest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// peer is the attacker's end of one connection to a victim: frames driven by
// hand on a TLS connection of its own.
type peer struct {
	*scene
	raw     net.Conn
	tls     *tls.Conn // nil before secure
	role    authenticator.Role
	session *authenticator.Session
	party   *Party
	id      *authenticator.Identity // of party
	stage   expat.Stage             // how far we have come
	broken  error                   // why a frame could not be made

	hello  wire.HelloMap                  // the victim's
	asking []byte                         // the victim's REQUEST
	asked  *authenticator.ReceivedRequest // the same, received

	mux    bool                           // we say that frames may go on
	first  *authenticator.ReceivedRequest // the victim's first REQUEST on a live connection
	shown  []byte                         // the honest AUTHENTICATOR
	before *authenticator.Request         // ours, which was judged

	client chan clientEnd // what became of a victim that is a client; else nil
}

type clientEnd struct {
	conn net.Conn
	err  error
}

// tlsOptions vary the TLS handshake of the attacker.
type tlsOptions func(*tls.Config)

// own is what the attacker has to show this victim.
func (s *scene) own() *Party {
	if s.victim.isClient() {
		return s.target.AsServer
	}
	return s.target.AsClient
}

// reach connects to the victim, without TLS. A client victim runs from here.
func (s *scene) reach(ctx context.Context) (*peer, error) {
	if !s.victim.isClient() {
		nc, err := s.target.Dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		return s.newPeer(ctx, nc, authenticator.Client, s.own())
	}
	theirs, ours, err := loopback(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.newPeer(ctx, ours, authenticator.Server, s.own())
	if err != nil {
		return nil, err
	}
	p.client = make(chan clientEnd, 1)
	s.runClient(ctx, theirs, p.client)
	return p, nil
}

// runClient starts a client victim, and sees to it that it is gone with the scene.
func (s *scene) runClient(ctx context.Context, nc net.Conn, ended chan clientEnd) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		c, err := s.target.Client(ctx, nc)
		if err != nil {
			_ = nc.Close()
		}
		ended <- clientEnd{c, err}
	}()
	s.cleanup(func() {
		cancel()
		_ = nc.Close()
		for {
			select {
			case end, ok := <-ended:
				if !ok {
					return
				}
				if end.conn != nil {
					_ = end.conn.Close()
				}
			case <-time.After(s.options.Prompt):
				return // it hangs, which was waited for already
			}
		}
	})
}

func (s *scene) newPeer(ctx context.Context, nc net.Conn, role authenticator.Role, party *Party) (*peer, error) {
	p := &peer{scene: s, raw: nc, role: role, party: party, stage: expat.StageTLS, mux: s.endpoint.demands}
	if role == authenticator.Server {
		p.mux = s.client.demands
	}
	s.cleanup(func() { _ = nc.Close() })
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	s.cleanup(func() { stop() })
	if len(party.Identity.Certificate) > 0 {
		id, err := authenticator.NewIdentity(party.Identity)
		if err != nil {
			return nil, err
		}
		p.id = id
	}
	return p, nil
}

// secure does the TLS handshake.
func (p *peer) secure(ctx context.Context, change ...tlsOptions) error {
	cfg := p.tlsConfig(change...)
	if p.role == authenticator.Client {
		p.tls = tls.Client(p.raw, cfg)
	} else {
		p.tls = tls.Server(p.raw, cfg)
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.Patience)
	defer cancel()
	if err := p.tls.HandshakeContext(ctx); err != nil {
		return err
	}
	p.stage = expat.StageNegotiate
	return nil
}

func (p *peer) tlsConfig(change ...tlsOptions) *tls.Config {
	cfg := &tls.Config{
		ServerName:         p.target.ServerName,
		InsecureSkipVerify: true, // an attacker does not ask whom he attacks
		NextProtos:         []string{p.target.alpn()},
		MinVersion:         tls.VersionTLS13,

		SessionTicketsDisabled: true,
	}
	if p.id != nil {
		cfg.Certificates = []tls.Certificate{p.party.Identity}
	}
	for _, f := range change {
		f(cfg)
	}
	return cfg
}

// meet connects to the victim and does the TLS handshake.
func (s *scene) meet(ctx context.Context, change ...tlsOptions) (*peer, error) {
	p, err := s.reach(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.secure(ctx, change...); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	p.session, err = authenticator.NewSession(p.tls.ConnectionState(), p.role)
	return p, err
}

// fresh is a Session of this connection on which no context is used.
func (p *peer) fresh(self authenticator.Role) (*authenticator.Session, error) {
	return authenticator.NewSession(p.tls.ConnectionState(), self)
}

func opposite(r authenticator.Role) authenticator.Role {
	return authenticator.Client + authenticator.Server - r
}

// begin says HELLO and reads the victim's.
func (p *peer) begin(asks, attests bool) error {
	p.sendHello(asks, attests)
	return p.receive()
}

// greeted connects to the victim and says HELLO.
func (s *scene) greeted(ctx context.Context, asks, attests bool) (*peer, error) {
	p, err := s.meet(ctx)
	if err != nil {
		return nil, err
	}
	return p, p.begin(asks, attests)
}

// answer makes the authenticator for the victim's request with an identity and
// an Attester of choice; a nil Attester leaves the Evidence out.
func (p *peer) answer(ctx context.Context, id *authenticator.Identity, a attestation.Attester) ([]byte, error) {
	return p.answerTo(ctx, p.session, p.asked, id, a)
}

func (p *peer) answerTo(ctx context.Context, s *authenticator.Session, asked *authenticator.ReceivedRequest, id *authenticator.Identity, a attestation.Attester) ([]byte, error) {
	var leaf []authenticator.Extension
	if a != nil {
		e, err := attestation.Attest(ctx, p.target.profile(), asked, id, a, a.MediaTypes())
		if err != nil {
			return nil, err
		}
		leaf = append(leaf, e)
	}
	return s.Authenticate(ctx, asked, id, leaf...)
}

// honest answers the victim's request as it should be answered, if it asks.
func (p *peer) honest(ctx context.Context) error {
	if p.asked == nil {
		return nil
	}
	if p.party.Attester == nil {
		return errors.New("the victim asks, and the Target has no Attester for this side")
	}
	b, err := p.answer(ctx, p.id, p.party.Attester)
	if err != nil {
		return err
	}
	p.shown = b
	p.send(wire.Authenticator, b)
	if b, err = p.read(wire.Result); err != nil {
		return err
	}
	m, err := wire.ParseResult(b)
	if err == nil && m.Code != 0 {
		err = fmt.Errorf("RESULT %s for an honest authenticator", alertText(m.Code))
	}
	p.lifetime = m.Lifetime
	return err
}

// loopback returns the two ends of a TCP connection.
func loopback(ctx context.Context) (a, b net.Conn, err error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	// The connection is complete once it is in the listener's queue.
	if a, err = new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = ln.Accept(); err != nil {
		_ = a.Close()
		return nil, nil, err
	}
	if a.LocalAddr().String() != b.RemoteAddr().String() {
		_, _ = a.Close(), b.Close()
		return nil, nil, errors.New("somebody else connected to a socket of this run")
	}
	return a, b, nil
}
