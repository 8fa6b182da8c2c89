package attacktest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/wire"
)

// A lax side speaks expat/1 with every check that it should make, but for those
// in flaws: it shows that the attacks can succeed.
type lax struct {
	*world
	flaws    map[flaw]bool
	side     side
	role     authenticator.Role
	deadline time.Duration
	alone    bool // attests and does not ask
	lifetime time.Duration

	tls     *tls.Conn
	session *authenticator.Session
	id      *authenticator.Identity

	request  *authenticator.Request
	hello    wire.HelloMap
	greeted  bool // the peer's HELLO is here
	judged   bool // the peer is accepted
	answered bool // our authenticator is sent
	accepted bool // by the peer
	live     bool // open, and frames go on
}

type flaw string

// The checks that can be left out.
const (
	// the order of frames, and who must attest
	noALPN           flaw = "takes any ALPN"
	noRequirement    flaw = "lets the peer say that it cannot attest"
	emptySuccess     flaw = "takes an empty authenticator for success"
	noEvidence       flaw = "takes an authenticator without Evidence"
	anyFormat        flaw = "takes formats it does not know"
	anyVerdict       flaw = "opens on RESULT at any time"
	earlyData        flaw = "takes application data at any time"
	nobodyAsks       flaw = "opens where nobody asks"
	anyCode          flaw = "takes any RESULT for acceptance"
	noRequestOrder   flaw = "answers any number of requests"
	noContextSet     flaw = "keeps no used contexts"
	noDirection      flaw = "answers requests of its own type"
	anyContext       flaw = "answers contexts of any length"
	unasked          flaw = "sends Evidence without an offer"
	anyLength        flaw = "reads frames of any length"
	anyFrame         flaw = "skips frames it does not know"
	anyHello         flaw = "goes on after a HELLO that cannot be read"
	deepHello        flaw = "reads HELLO to any depth"
	lastKey          flaw = "takes the last of duplicate keys"
	noOverallTimeout flaw = "renews its deadline with each byte"
	noTimeout        flaw = "has no deadline"
	noTLSTimeout     flaw = "has no deadline for TLS"

	// the authenticator
	noContext   flaw = "does not compare contexts"
	noSignature flaw = "does not check CertificateVerify"
	noFinished  flaw = "does not check Finished"
	noRole      flaw = "takes the labels of either role"
	noX509      flaw = "does not validate the chain"
	noOwnKey    flaw = "does not look for its own key"

	// the Evidence
	noBinder      flaw = "does not compare the binder"
	noKeyHash     flaw = "does not compare the key hash"
	noProvenance  flaw = "does not ask where the key is"
	noInstance    flaw = "does not ask which machine it is"
	noChain       flaw = "trusts any signer of Evidence"
	noEvidenceSig flaw = "does not check the signature of Evidence"
	envelope      flaw = "reads the binder where it is not signed"
	collection    flaw = "takes the binder of any leaf"
	noLimits      flaw = "reads CMWs of any depth and size"

	// TLS and time
	oldTLS     flaw = "takes TLS 1.2"
	tickets    flaw = "sends tickets"
	resumes    flaw = "takes and sends tickets, and resumes"
	noExpiry   flaw = "ignores lifetimes of the peer's verdict"
	noLifetime flaw = "ignores lifetimes of its own verdict"

	// and what is no flaw, but lets others be found in another way
	demanding flaw = "demands to be able to ask anew"
)

func (l *lax) is(f flaw) bool { return l.flaws[f] }

// run takes nc through TLS and the exchange.
func (l lax) run(nc net.Conn) (net.Conn, error) {
	if l.is(noOverallTimeout) {
		nc = &renewing{nc, l.deadline}
	} else if !l.is(noTimeout) && !l.is(noTLSTimeout) {
		_ = nc.SetDeadline(time.Now().Add(l.deadline))
	}
	if l.role == authenticator.Client {
		l.tls = tls.Client(nc, l.config())
	} else {
		l.tls = tls.Server(nc, l.config())
	}
	if err := l.tls.Handshake(); err != nil {
		return nil, err
	}
	if l.is(noTLSTimeout) {
		_ = nc.SetDeadline(time.Now().Add(l.deadline))
	}
	cs := l.tls.ConnectionState()
	if cs.NegotiatedProtocol != "expat/1" && !l.is(noALPN) || cs.DidResume && !l.is(resumes) {
		return nil, errors.New("no expat/1")
	}
	if err := l.greet(cs); err != nil {
		return nil, err
	}
	for !l.open() {
		if code := l.step(); code != 0 {
			if code > 0 {
				l.send(wire.Alert, wire.EncodeAlert(uint16(code)))
			}
			return nil, fmt.Errorf("refused with code %d", code)
		}
	}
	_ = nc.SetDeadline(time.Time{})
	if l.lifetime > 0 {
		time.AfterFunc(l.lifetime, func() { _ = nc.Close() })
	}
	if l.hello.Mux {
		return l.goOn()
	}
	return l.tls, nil
}

func (l *lax) open() bool {
	return l.greeted && (l.judged || l.alone) && (l.accepted || !l.hello.WillRequest)
}

// clientCache has the sessions of clients that keep them.
var clientCache = keeping{tls.NewLRUClientSessionCache(64)}

// keeping keeps tickets that were used: clients run at the same time, and one must
// not take another's away.
type keeping struct{ tls.ClientSessionCache }

func (k keeping) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		k.ClientSessionCache.Put(key, s)
	}
}

func (l *lax) config() *tls.Config {
	c := &tls.Config{
		Certificates: []tls.Certificate{l.side.cert}, RootCAs: l.ca.Pool(), ServerName: name,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"expat/1"}, SessionTicketsDisabled: true,
	}
	if l.is(oldTLS) {
		c.MinVersion = tls.VersionTLS12
	}
	if l.is(noALPN) {
		c.NextProtos = append(c.NextProtos, "h2")
	}
	if l.is(tickets) || l.is(resumes) {
		c.SessionTicketsDisabled = false
		c.SetSessionTicketKeys([][32]byte{{1}})
	}
	if l.is(resumes) && l.role == authenticator.Client {
		c.ClientSessionCache = clientCache
	}
	return c
}

// greet sends HELLO and REQUEST.
func (l *lax) greet(cs tls.ConnectionState) error {
	h := wire.HelloMap{WillRequest: !l.alone, CanAttest: true, Mux: true}
	if h.WillRequest {
		h.MediaTypes = []string{simulated.MediaType}
	}
	b, err := h.Encode()
	if err != nil {
		return err
	}
	l.send(wire.Hello, b)
	if l.session, err = authenticator.NewSession(cs, l.role); err != nil {
		return err
	}
	if l.id, err = authenticator.NewIdentity(l.side.cert); err != nil || l.alone {
		return err
	}
	l.request, err = l.session.NewRequest(offer())
	if err != nil {
		return err
	}
	l.send(wire.Request, l.request.Bytes())
	return nil
}

func offer() authenticator.RequestOptions {
	return authenticator.RequestOptions{Extensions: []authenticator.Extension{attestation.Expat04().Offer()}}
}

func (l *lax) send(t wire.Type, payload []byte) {
	b, err := wire.Append(nil, t, payload)
	if err == nil {
		_, _ = l.tls.Write(b)
	}
}

// silently closes without a word.
const silently = -1

// step reads a frame and does what it asks for. It returns a code to refuse with.
func (l *lax) step() int {
	t, payload, code := l.read()
	if code != 0 {
		return code
	}
	switch {
	case t == 0: // skipped
	case t == wire.Data:
		l.send(wire.Data, payload)
	case t == wire.Alert:
		return silently
	case t == wire.Hello && !l.greeted:
		return l.receiveHello(payload)
	case !l.greeted && !(t == wire.Result && l.is(anyVerdict)):
		return 13
	case t == wire.Request && (!l.answered || l.is(noRequestOrder)):
		return l.answer(payload)
	case t == wire.Authenticator && l.request != nil && !l.judged:
		return l.judge(payload)
	case t == wire.Result && (l.answered || l.is(anyVerdict)):
		return l.receiveResult(payload)
	default:
		return 13
	}
	return 0
}

// read reads a frame; type 0 is to be skipped.
func (l *lax) read() (wire.Type, []byte, int) {
	var header [4]byte
	if _, err := io.ReadFull(l.tls, header[:]); err != nil {
		return 0, nil, timeoutOr(err, silently)
	}
	n := int(header[1])<<16 | int(header[2])<<8 | int(header[3])
	if header[0] < 1 || header[0] > 6 || header[0] == 6 && !l.live {
		switch {
		case l.is(earlyData) && header[0] == 6: // a frame, delivered
			_, err := io.CopyN(io.Discard, l.tls, int64(n))
			return 0, nil, timeoutOr(err, 0)
		case l.is(earlyData): // a line of text, delivered
			for b := header[3:]; b[0] != '\n'; {
				if _, err := io.ReadFull(l.tls, b); err != nil {
					return 0, nil, silently
				}
			}
			return 0, nil, 0
		case l.is(anyFrame):
			_, err := io.CopyN(io.Discard, l.tls, int64(n))
			return 0, nil, timeoutOr(err, 0)
		}
		return 0, nil, l.unless13()
	}
	limit := map[wire.Type]int{wire.Hello: 4096, wire.Request: 16384, wire.Authenticator: 262144, wire.Result: 256, wire.Alert: 2, wire.Data: wire.MaxData}
	if n > limit[wire.Type(header[0])] && !l.is(anyLength) {
		return 0, nil, 10
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(l.tls, payload)
	return wire.Type(header[0]), payload, timeoutOr(err, 0)
}

// unless13 is how application data is refused: without a word once the peer may
// be open.
func (l *lax) unless13() int {
	if l.answered && (l.judged || l.alone) {
		return silently
	}
	return 13
}

func timeoutOr(err error, code int) int {
	var n net.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &n) && n.Timeout():
		return 11
	case code == 0:
		return silently
	}
	return code
}

// renewing is a connection whose deadline starts anew with each read.
type renewing struct {
	net.Conn
	every time.Duration
}

func (r *renewing) Read(b []byte) (int, error) {
	_ = r.Conn.SetReadDeadline(time.Now().Add(r.every))
	return r.Conn.Read(b)
}

// relies runs a lax client as Target.Client does.
func (l lax) relies(ctx context.Context, nc net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	c, err := l.run(nc)
	stop()
	if err != nil {
		_ = nc.Close()
	}
	return c, err
}

// serves runs a lax server, and echoes.
func (l lax) serves(nc net.Conn) {
	if c, err := l.run(nc); err == nil {
		echo(c)
	}
}
