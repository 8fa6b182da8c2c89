package expat

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// rogue is a peer that is driven by hand: it speaks frames on a TLS connection
// of its own, so that a test can deviate from the protocol in one line.
type rogue struct {
	testing.TB
	tls     *tls.Conn
	role    authenticator.Role
	session *authenticator.Session
	id      *authenticator.Identity

	victim *Conn
	result chan error // of the victim's handshake

	hello wire.HelloMap                  // the victim's
	raw   []byte                         // the victim's REQUEST
	asked *authenticator.ReceivedRequest // the same
}

// roles runs a test with the victim in each role.
func roles(t *testing.T, f func(t *testing.T, victim authenticator.Role)) {
	for _, role := range []authenticator.Role{authenticator.Client, authenticator.Server} {
		t.Run("victim is the "+role.String(), func(t *testing.T) {
			t.Parallel()
			f(t, role)
		})
	}
}

// direction names the exchange in which the victim asks, or attests.
func direction(victim authenticator.Role, asks bool) string {
	if (victim == authenticator.Client) == asks {
		return serverAttests
	}
	return clientAttests
}

// meet has a victim shake hands with a rogue. change is applied to its Config.
func meet(t testing.TB, victim authenticator.Role, direction string, change ...func(*Config)) *rogue {
	t.Helper()
	return newWorld(t).meet(t, victim, direction, change...)
}

func (w *world) meet(t testing.TB, victim authenticator.Role, direction string, change ...func(*Config)) *rogue {
	t.Helper()
	cn, sn := tlspair.Pipe(t)
	return w.meetOver(t, cn, sn, victim, direction, change...)
}

// meetOver is meet over any two ends.
func (w *world) meetOver(t testing.TB, cn, sn net.Conn, victim authenticator.Role, direction string, change ...func(*Config)) *rogue {
	t.Helper()
	cc, sc := w.configs(direction)
	r := &rogue{TB: t, result: make(chan error, 1)}
	own := w.client
	if victim == authenticator.Client {
		own = w.server
		r.role = authenticator.Server
		r.victim = Client(cn, apply(cc, change))
		r.tls = tls.Server(sn, &tls.Config{Certificates: []tls.Certificate{w.server}, NextProtos: []string{alpnPrefix}})
	} else {
		r.role = authenticator.Client
		r.victim = Server(sn, apply(sc, change))
		r.tls = tls.Client(cn, &tls.Config{RootCAs: w.ca.Pool(), ServerName: serverName, NextProtos: []string{alpnPrefix}})
	}
	go func() { r.result <- r.victim.Handshake() }()
	require.NoError(t, r.tls.SetDeadline(time.Now().Add(20*time.Second)))
	require.NoError(t, r.tls.Handshake())
	r.session = r.fresh(r.role)
	var err error
	r.id, err = authenticator.NewIdentity(own)
	require.NoError(t, err)
	return r
}

func apply(c *Config, change []func(*Config)) *Config {
	for _, f := range change {
		f(c)
	}
	return c
}

// fresh is the Session of this connection from either side, with no context used.
func (r *rogue) fresh(self authenticator.Role) *authenticator.Session {
	r.Helper()
	s, err := authenticator.NewSession(r.tls.ConnectionState(), self)
	require.NoError(r, err)
	return s
}

// write sends bytes in one TLS record. The victim may have closed already.
func (r *rogue) write(b ...byte) { _, _ = r.tls.Write(b) }

func encode(t testing.TB, typ wire.Type, payload []byte) []byte {
	t.Helper()
	b, err := wire.Append(nil, typ, payload)
	require.NoError(t, err)
	return b
}

func (r *rogue) send(typ wire.Type, payload []byte) {
	r.Helper()
	r.write(encode(r, typ, payload)...)
}

// attests and asks are what HELLO says of a rogue with one part.
var (
	attests = wire.HelloMap{CanAttest: true, Models: models, MaxAuthenticator: 1 << 20}
	asks    = wire.HelloMap{WillRequest: true, MediaTypes: []string{toyMediaType}, Models: models, MaxAuthenticator: 1 << 20}
	both    = wire.HelloMap{WillRequest: true, CanAttest: true, MediaTypes: []string{toyMediaType}, Models: models, MaxAuthenticator: 1 << 20}
)

func (r *rogue) sendHello(h wire.HelloMap) {
	r.Helper()
	b, err := h.Encode()
	require.NoError(r, err)
	r.send(wire.Hello, b)
}

// read expects a frame.
func (r *rogue) read(want wire.Type) []byte {
	r.Helper()
	typ, payload, err := wire.Read(r.tls, 1<<20)
	require.NoError(r, err)
	require.Equal(r, want, typ)
	return payload
}

// receive reads the victim's HELLO, and its REQUEST if it sends one.
func (r *rogue) receive() {
	r.Helper()
	var err error
	r.hello, err = wire.ParseHello(r.read(wire.Hello))
	require.NoError(r, err)
	if r.hello.WillRequest {
		r.raw = r.read(wire.Request)
		r.asked, err = r.session.ReceiveRequest(r.raw)
		require.NoError(r, err)
	}
}

// answer makes the authenticator for the victim's request with an Attester of
// choice; nil leaves the Evidence out.
func (r *rogue) answer(a attestation.Attester) []byte {
	r.Helper()
	return answerTo(r, r.session, r.asked, r.id, a)
}

func answerTo(t testing.TB, s *authenticator.Session, asked *authenticator.ReceivedRequest, id *authenticator.Identity, a attestation.Attester) []byte {
	t.Helper()
	var leaf []authenticator.Extension
	if a != nil {
		e, err := attestation.Attest(context.Background(), attestation.Expat04(), asked, id, a, a.MediaTypes())
		require.NoError(t, err)
		leaf = append(leaf, e)
	}
	b, err := s.Authenticate(context.Background(), asked, id, leaf...)
	require.NoError(t, err)
	return b
}

// ask makes a request to the victim that differs from a good one as told.
func (r *rogue) ask(change ...func(*authenticator.RequestOptions)) []byte {
	r.Helper()
	return requestOf(r, r.session, change...).Bytes()
}

func requestOf(t testing.TB, s *authenticator.Session, change ...func(*authenticator.RequestOptions)) *authenticator.Request {
	t.Helper()
	o := authenticator.RequestOptions{Extensions: []authenticator.Extension{attestation.Expat04().Offer()}}
	for _, f := range change {
		f(&o)
	}
	q, err := s.NewRequest(o)
	require.NoError(t, err)
	return q
}

func (r *rogue) sendResult(m wire.ResultMap) {
	r.Helper()
	b, err := m.Encode()
	require.NoError(r, err)
	r.send(wire.Result, b)
}

// told is what a victim says last: a RESULT that is no 0, an ALERT, or nothing.
type told struct {
	typ  wire.Type
	code Alert
}

var nothing = told{}

// lastWord reads until the victim has closed or given its reason, then closes.
func (r *rogue) lastWord() told {
	r.Helper()
	defer r.tls.NetConn().Close()
	for {
		typ, payload, err := wire.Read(r.tls, 1<<20)
		if err != nil {
			return nothing
		}
		switch typ {
		case wire.Alert:
			code, err := wire.ParseAlert(payload)
			require.NoError(r, err)
			return told{typ, Alert(code)}
		case wire.Result:
			m, err := wire.ParseResult(payload)
			require.NoError(r, err)
			if m.Code != 0 {
				return told{typ, Alert(m.Code)}
			}
		}
	}
}

// requireVictim checks what the victim made of it all: its error, what it told
// the rogue, and that it is closed without having delivered a byte.
func (r *rogue) requireVictim(want told, stage Stage, alert Alert, side Side, reason error) {
	r.Helper()
	require.Equal(r, want, r.lastWord())
	err := <-r.result
	requireFailure(r, err, stage, alert, side, reason)
	require.Equal(r, err, r.victim.Handshake(), "the error stays")
	requireDead(r, r.victim)
}

// requireEcho checks that the connection is open in both directions.
func (r *rogue) requireEcho() {
	r.Helper()
	require.NoError(r, <-r.result)
	r.write([]byte("from the rogue")...)
	got := make([]byte, 14)
	_, err := io.ReadFull(r.victim, got)
	require.NoError(r, err)
	require.Equal(r, "from the rogue", string(got))
	_, err = r.victim.Write([]byte("from the victim"))
	require.NoError(r, err)
	got = make([]byte, 15)
	_, err = io.ReadFull(r.tls, got)
	require.NoError(r, err)
	require.Equal(r, "from the victim", string(got))
}

// stale is an Attester that shows Evidence made for another Binding.
func stale(old attestation.Binding) attestation.Attester {
	return &toy{attest: func(context.Context, attestation.Binding) (*cmw.Message, error) {
		return toyEvidence(old, toyMediaType)
	}}
}

// bindingOf is the Binding of a request that a Session received.
func bindingOf(t testing.TB, asked *authenticator.ReceivedRequest, id *authenticator.Identity) attestation.Binding {
	t.Helper()
	var got attestation.Binding
	a := &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
		got = b
		return toyEvidence(b, toyMediaType)
	}}
	_, err := attestation.Attest(context.Background(), attestation.Expat04(), asked, id, a, a.MediaTypes())
	require.NoError(t, err)
	return got
}

// flip returns a copy with one bit changed.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
