package attacktest_test

import (
	"context"
	"errors"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/wire"
)

func (l *lax) receiveHello(payload []byte) int {
	h, err := wire.ParseHello(payload)
	if err != nil && (l.is(deepHello) || l.is(lastKey)) {
		h, err = l.looseHello(payload)
	}
	if err != nil && l.is(anyHello) {
		h, err = wire.HelloMap{CanAttest: true, WillRequest: l.alone}, nil
	}
	if err != nil {
		return 1
	}
	l.hello, l.greeted = h, true
	switch {
	case !l.alone && !h.CanAttest && l.is(noRequirement):
		l.judged = true
	case !l.alone && !h.CanAttest:
		return 6
	case l.is(demanding) && !h.Mux:
		return 6
	case l.alone && !h.WillRequest && !l.is(nobodyAsks):
		return 13
	}
	return 0
}

// looseHello reads HELLO with one limit of the decoder left out.
func (l *lax) looseHello(payload []byte) (wire.HelloMap, error) {
	o := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF}
	if l.is(deepHello) {
		o.MaxNestedLevels = 65535
	}
	if l.is(lastKey) {
		o.DupMapKey = cbor.DupMapKeyQuiet
	}
	mode, err := o.DecMode()
	if err != nil {
		return wire.HelloMap{}, err
	}
	var m map[uint64]cbor.RawMessage
	if err := mode.Unmarshal(payload, &m); err != nil {
		return wire.HelloMap{}, err
	}
	yes := func(key uint64) bool { return len(m[key]) == 1 && m[key][0] == 0xf5 }
	return wire.HelloMap{WillRequest: yes(1), CanAttest: yes(2)}, nil
}

func (l *lax) answer(payload []byte) int {
	session := l.session
	if l.is(noContextSet) || l.is(noRequestOrder) && l.answered {
		session, _ = authenticator.NewSession(l.tls.ConnectionState(), l.role)
	}
	if l.is(noDirection) {
		payload[0] = map[authenticator.Role]byte{authenticator.Client: 13, authenticator.Server: 17}[l.role]
	}
	asked, err := session.ReceiveRequest(payload)
	switch {
	case errors.Is(err, authenticator.ErrContextReuse):
		return 3
	case errors.Is(err, authenticator.ErrUnexpectedMessage):
		return 13
	case err != nil:
		return 1
	}
	b, code := l.authenticate(session, asked)
	if code != 0 {
		return code
	}
	l.send(wire.Authenticator, b)
	l.answered = true
	return 0
}

func (l *lax) authenticate(session *authenticator.Session, asked *authenticator.ReceivedRequest) ([]byte, int) {
	attester := simulated.NewAttester(l.side.device)
	e, err := attestation.Attest(context.Background(), attestation.Expat04(), asked, l.id, attester, attester.MediaTypes())
	var b []byte
	switch {
	case errors.Is(err, attestation.ErrContext) && l.is(anyContext):
		b, err = session.Authenticate(context.Background(), asked, l.id)
	case errors.Is(err, attestation.ErrNotOffered) && l.is(unasked):
		b, err = l.unasked(asked)
	case errors.Is(err, attestation.ErrNotOffered):
		b, err = session.Refuse(asked)
	case err == nil:
		b, err = session.Authenticate(context.Background(), asked, l.id, e)
	}
	if err != nil {
		return nil, 1
	}
	return b, 0
}

// unasked answers as if the request had offered cmw_attestation.
func (l *lax) unasked(asked *authenticator.ReceivedRequest) ([]byte, error) {
	peer := authenticator.Client + authenticator.Server - l.role
	theirs, err := authenticator.NewSession(l.tls.ConnectionState(), peer)
	if err != nil {
		return nil, err
	}
	o := offer()
	o.Context = asked.Context()
	q, err := theirs.NewRequest(o)
	if err != nil {
		return nil, err
	}
	ours, err := authenticator.NewSession(l.tls.ConnectionState(), l.role)
	if err != nil {
		return nil, err
	}
	if asked, err = ours.ReceiveRequest(q.Bytes()); err != nil {
		return nil, err
	}
	b, code := l.authenticate(ours, asked)
	if code != 0 {
		return nil, errors.New("no Evidence")
	}
	return b, nil
}

func (l *lax) receiveResult(payload []byte) int {
	m, err := wire.ParseResult(payload)
	if err != nil {
		return 1
	}
	if m.Code != 0 && !l.is(anyCode) {
		return silently
	}
	l.accepted = true
	if l.live {
		l.answered = false // it may ask anew
	}
	if l.is(anyVerdict) {
		l.judged, l.greeted = true, true
	}
	if m.Lifetime > 0 && !l.is(noExpiry) {
		l.shorten(m.Lifetime)
	}
	return 0
}

// shorten ends the connection after the first of two lifetimes.
func (l *lax) shorten(d time.Duration) {
	if l.lifetime == 0 || d < l.lifetime {
		l.lifetime = d
	}
}
