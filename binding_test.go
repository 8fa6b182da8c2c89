package expat

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// same gives a request the context of another.
func same(context []byte) func(*authenticator.RequestOptions) {
	return func(o *authenticator.RequestOptions) { o.Context = context }
}

// elsewhere is a request with the victim's context, received on s, whose peer is p.
func (r *rogue) elsewhere(s, p *authenticator.Session, change ...func(*authenticator.RequestOptions)) *authenticator.ReceivedRequest {
	r.Helper()
	asked, err := s.ReceiveRequest(requestOf(r, p, change...).Bytes())
	require.NoError(r, err)
	return asked
}

func otherRole(role authenticator.Role) authenticator.Role {
	return authenticator.Client + authenticator.Server - role
}

// I-1, I-2, I-3, I-4, C-5, C-7, D-2, E-9: an authenticator, or Evidence in a good
// authenticator, that was made for anything but this connection, request and key.
func TestBinding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make   func(r *rogue) []byte
		told   told
		stage  Stage
		reason error
	}{
		"authenticator of another connection, context copied": {func(r *rogue) []byte {
			s, p := r.twoSessions()
			return answerTo(r, s, r.elsewhere(s, p, same(r.asked.Context())), r.id, &toy{})
		}, judged(4), StageValidate, authenticator.ErrSignature},
		"authenticator of the other direction": {func(r *rogue) []byte {
			// What the victim itself would say on this connection, with the rogue's key.
			s := r.fresh(otherRole(r.role))
			return answerTo(r, s, r.elsewhere(s, r.fresh(r.role), same(r.asked.Context())), r.id, &toy{})
		}, judged(4), StageValidate, authenticator.ErrSignature},
		"authenticator 1 for request 2": {func(r *rogue) []byte {
			s, p := r.fresh(r.role), r.fresh(otherRole(r.role))
			return answerTo(r, s, r.elsewhere(s, p), r.id, &toy{})
		}, judged(3), StageValidate, authenticator.ErrContextMismatch},
		"authenticator for another request with this context": {func(r *rogue) []byte {
			s, p := r.fresh(r.role), r.fresh(otherRole(r.role))
			asked := r.elsewhere(s, p, same(r.asked.Context()), func(o *authenticator.RequestOptions) { o.SCT = true })
			return answerTo(r, s, asked, r.id, &toy{})
		}, judged(4), StageValidate, authenticator.ErrSignature},
		"Evidence of another connection": {func(r *rogue) []byte {
			s, p := r.twoSessions()
			return r.answer(stale(bindingOf(r, r.elsewhere(s, p, same(r.asked.Context())), r.id)))
		}, judged(7), StageAppraise, attestation.ErrRejected},
		"Evidence 1 for request 2": {func(r *rogue) []byte {
			s, p := r.fresh(r.role), r.fresh(otherRole(r.role))
			return r.answer(stale(bindingOf(r, r.elsewhere(s, p), r.id)))
		}, judged(7), StageAppraise, attestation.ErrRejected},
		"Evidence of another key": {func(r *rogue) []byte {
			id, err := authenticator.NewIdentity(newWorld(r).client)
			require.NoError(r, err)
			return r.answer(stale(bindingOf(r, r.asked, id)))
		}, judged(7), StageAppraise, attestation.ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			roles(t, func(t *testing.T, victim authenticator.Role) {
				r := meet(t, victim, direction(victim, true))
				r.sendHello(attests)
				r.receive()
				r.send(wire.Authenticator, c.make(r))
				r.requireVictim(c.told, c.stage, c.told.code, Local, c.reason)
			})
		})
	}
}

// twoSessions are both ends of another connection, the rogue's first.
func (r *rogue) twoSessions() (own, peer *authenticator.Session) {
	r.Helper()
	w := newWorld(r)
	cc, sc := w.configs(serverAttests)
	c, s := tlspair.Connect(r, cc.TLS, sc.TLS)
	client, err := authenticator.NewSession(c.ConnectionState(), authenticator.Client)
	require.NoError(r, err)
	server, err := authenticator.NewSession(s.ConnectionState(), authenticator.Server)
	require.NoError(r, err)
	if r.role == authenticator.Client {
		return client, server
	}
	return server, client
}

// I-5, I-6: a context that the victim used in its request must not come back in
// the rogue's, which is of the other type.
func TestContextComesBack(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := meet(t, victim, mutual)
		r.sendHello(both)
		r.receive()
		s := r.fresh(r.role) // knows nothing of the victim's request
		r.send(wire.Request, requestOf(t, s, same(r.asked.Context())).Bytes())
		r.requireVictim(alerted(3), StageRequest, AlertContextReuse, Local, authenticator.ErrContextReuse)
	})
}

// I-5: the victim's own authenticator, sent back to it.
func TestReflectedAuthenticator(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := meet(t, victim, mutual)
		r.sendHello(both)
		r.receive()
		r.send(wire.Request, r.ask())
		r.send(wire.Authenticator, r.read(wire.Authenticator))
		r.requireVictim(judged(3), StageValidate, AlertContextReuse, Local, authenticator.ErrContextMismatch)
	})
}

// I-5: two sides with one identity key refuse each other, on both ends.
func TestSharedIdentityKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(mutual)
	cc.TLS.Certificates = sc.TLS.Certificates
	c, s, err1, err2 := connect(t, cc, sc)
	// One side finds it, the other may hear of it first.
	for _, err := range []error{err1, err2} {
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, AlertWrongConnection, e.Alert)
	}
	requireDead(t, c)
	requireDead(t, s)

	roles(t, func(t *testing.T, victim authenticator.Role) {
		w := newWorld(t)
		r := w.meet(t, victim, mutual, func(c *Config) { c.Identities = []tls.Certificate{w.server} })
		r.id = r.victim.prepared.identities[0]
		r.sendHello(both)
		r.receive()
		r.send(wire.Authenticator, r.answer(&toy{}))
		r.requireVictim(judged(4), StageValidate, AlertWrongConnection, Local, ErrReflected)
	})
}

// DESIGN 5: a second AUTHENTICATOR or RESULT while the exchange goes on.
func TestMutualTwice(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := meet(t, victim, mutual)
		r.sendHello(both)
		r.receive()
		b := r.answer(&toy{})
		r.send(wire.Authenticator, b)
		r.send(wire.Authenticator, b)
		r.requireVictim(alerted(13), StageRequest, AlertProtocol, Local, ErrProtocol)

		r = meet(t, victim, mutual)
		r.sendHello(both)
		r.receive()
		r.send(wire.Request, r.ask())
		r.read(wire.Authenticator)
		r.sendResult(wire.ResultMap{})
		r.sendResult(wire.ResultMap{})
		r.requireVictim(alerted(13), StageValidate, AlertProtocol, Local, ErrProtocol)
	})
}

// The rogue's frames of a good mutual exchange, in both orders that are legal.
func TestMutualOrders(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		for _, authenticatorFirst := range []bool{false, true} {
			r := meet(t, victim, mutual)
			r.sendHello(both)
			r.receive()
			b := r.answer(&toy{})
			if authenticatorFirst {
				r.send(wire.Authenticator, b)
				require.Equal(t, []byte{0xa1, 0, 0}, r.read(wire.Result))
				r.send(wire.Request, r.ask())
				r.read(wire.Authenticator)
				r.sendResult(wire.ResultMap{})
			} else {
				r.send(wire.Request, r.ask())
				r.read(wire.Authenticator)
				r.sendResult(wire.ResultMap{})
				r.send(wire.Authenticator, b)
				require.Equal(t, []byte{0xa1, 0, 0}, r.read(wire.Result))
			}
			r.requireEcho()
		}
	})
}
