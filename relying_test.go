package expat

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// A victim that asks, and a rogue that should attest.

type deviation struct {
	name   string
	do     func(r *rogue)
	told   told
	stage  Stage
	alert  Alert
	side   Side
	reason error
}

func (d deviation) run(t *testing.T, victim authenticator.Role, direction string) {
	t.Run(d.name, func(t *testing.T) {
		t.Parallel()
		r := meet(t, victim, direction)
		d.do(r)
		if d.side == "" {
			d.side = Local
		}
		r.requireVictim(d.told, d.stage, d.alert, d.side, d.reason)
	})
}

func alerted(code Alert) told { return told{wire.Alert, code} }
func judged(code Alert) told  { return told{wire.Result, code} }

// header is the head of a frame, whose payload need not follow.
func header(typ byte, n int) []byte { return []byte{typ, byte(n >> 16), byte(n >> 8), byte(n)} }

// afterHello says HELLO as an attester, then something else.
func afterHello(do func(r *rogue)) func(*rogue) {
	return func(r *rogue) {
		r.Helper()
		r.sendHello(attests)
		r.receive()
		do(r)
	}
}

func frameOf(typ wire.Type, payload string) func(*rogue) {
	return func(r *rogue) { r.send(typ, []byte(payload)) }
}

func text(s string) func(*rogue) { return func(r *rogue) { r.write([]byte(s)...) } }

// DESIGN 5, E-6, I-8, I-15, I-17: frames out of order, of no type, too large, and
// application data before the exchange is done.
func TestRelyingPartyOrder(t *testing.T) {
	t.Parallel()
	oneMore := DefaultMaxAuthenticator + 1
	for _, d := range []deviation{
		{"REQUEST first", func(r *rogue) { r.send(wire.Request, r.ask()) }, alerted(13), StageHello, AlertProtocol, "", ErrProtocol},
		{"AUTHENTICATOR first, its header alone", func(r *rogue) { r.write(header(3, 200<<10)...) }, alerted(13), StageHello, AlertProtocol, "", ErrProtocol},
		{"AUTHENTICATOR first", frameOf(wire.Authenticator, "x"), alerted(13), StageHello, AlertProtocol, "", ErrProtocol},
		{"RESULT first", frameOf(wire.Result, "\xa1\x00\x00"), alerted(13), StageHello, AlertProtocol, "", ErrProtocol},
		{"DATA first", frameOf(wire.Data, "data"), alerted(13), StageHello, AlertProtocol, "", ErrProtocol},
		{"type 0", text("\x00\x00\x00\x00"), alerted(13), StageHello, AlertProtocol, "", wire.ErrType},
		{"type 7", text("\x07\x00\x00\x00"), alerted(13), StageHello, AlertProtocol, "", wire.ErrType},
		{"type 255", text("\xff\xff\xff\xff"), alerted(13), StageHello, AlertProtocol, "", wire.ErrType},
		{"application data first", text("GET / HTTP/1.1\r\n\r\n"), alerted(13), StageHello, AlertProtocol, "", wire.ErrType},
		{"HELLO too large", func(r *rogue) { r.write(header(1, 4097)...) }, alerted(10), StageHello, AlertLimit, "", wire.ErrTooLarge},
		{"HELLO empty", frameOf(wire.Hello, ""), alerted(1), StageHello, AlertMalformed, "", wire.ErrMap},
		{"HELLO no map", frameOf(wire.Hello, "hello"), alerted(1), StageHello, AlertMalformed, "", wire.ErrMap},
		{"HELLO version 2", frameOf(wire.Hello, "\xa3\x00\x02\x01\xf4\x02\xf5"), alerted(1), StageHello, AlertMalformed, "", wire.ErrMap},
		{"HELLO key twice", frameOf(wire.Hello, "\xa4\x00\x01\x01\xf4\x02\xf4\x02\xf5"), alerted(1), StageHello, AlertMalformed, "", wire.ErrMap},
		{"HELLO trailing byte", frameOf(wire.Hello, "\xa3\x00\x01\x01\xf4\x02\xf5\x00"), alerted(1), StageHello, AlertMalformed, "", wire.ErrMap},
		{"HELLO cannot attest", func(r *rogue) { r.sendHello(asks) }, alerted(6), StageHello, AlertAttestationRequired, "", ErrNotAttested},
		{"HELLO twice", afterHello(func(r *rogue) { r.sendHello(attests) }), alerted(13), StageValidate, AlertProtocol, "", ErrProtocol},
		{"REQUEST that HELLO ruled out", afterHello(func(r *rogue) { r.send(wire.Request, r.ask()) }), alerted(13), StageValidate, AlertProtocol, "", ErrProtocol},
		{"RESULT for nothing", afterHello(frameOf(wire.Result, "\xa1\x00\x00")), alerted(13), StageValidate, AlertProtocol, "", ErrProtocol},
		{"DATA without mux", afterHello(frameOf(wire.Data, "data")), alerted(13), StageValidate, AlertProtocol, "", ErrProtocol},
		{"DATA though HELLO said mux", func(r *rogue) {
			h := attests
			h.Mux = true
			r.sendHello(h)
			r.send(wire.Data, []byte("data"))
		}, alerted(13), StageValidate, AlertProtocol, "", ErrProtocol},
		{"application data after HELLO", afterHello(text("early application data")), alerted(13), StageValidate, AlertProtocol, "", wire.ErrType},
		{"AUTHENTICATOR too large", afterHello(func(r *rogue) { r.write(header(3, oneMore)...) }), alerted(10), StageValidate, AlertLimit, "", wire.ErrTooLarge},
		{"ALERT 0", afterHello(frameOf(wire.Alert, "\x00\x00")), alerted(13), StageValidate, AlertProtocol, "", ErrProtocol},
		{"ALERT empty", afterHello(frameOf(wire.Alert, "")), alerted(1), StageValidate, AlertMalformed, "", wire.ErrMap},
		{"ALERT of a byte", afterHello(frameOf(wire.Alert, "\x07")), alerted(1), StageValidate, AlertMalformed, "", wire.ErrMap},
		{"ALERT of three", afterHello(func(r *rogue) { r.write(append(header(5, 3), 0, 0, 7)...) }), alerted(10), StageValidate, AlertLimit, "", wire.ErrTooLarge},
	} {
		roles(t, func(t *testing.T, victim authenticator.Role) { d.run(t, victim, direction(victim, true)) })
	}
}

// Every code of ALERT is told apart, before and after HELLO, and not answered.
func TestAlertCodes(t *testing.T) {
	t.Parallel()
	for code := Alert(1); code <= 15; code++ {
		if code == 15 {
			code = 0xfffe
		}
		alert := func(r *rogue) { r.send(wire.Alert, wire.EncodeAlert(uint16(code))) }
		for _, d := range []deviation{
			{"first " + code.String(), alert, nothing, StageHello, code, Peer, ErrPeerAlert},
			{"after HELLO " + code.String(), afterHello(alert), nothing, StageValidate, code, Peer, ErrPeerAlert},
		} {
			d.run(t, authenticator.Client, serverAttests)
			d.run(t, authenticator.Server, clientAttests)
		}
	}
}

// B-1, B-7, B-12, B-18, B-20, I-8, A-34, A-36: authenticators that prove nothing.
func TestRelyingPartyAuthenticators(t *testing.T) {
	t.Parallel()
	send := func(f func(r *rogue) []byte) func(*rogue) {
		return afterHello(func(r *rogue) { r.send(wire.Authenticator, f(r)) })
	}
	empty := func(r *rogue) []byte {
		b, err := r.session.Refuse(r.asked)
		require.NoError(r, err)
		return b
	}
	raw := func(s string) func(*rogue) []byte { return func(*rogue) []byte { return []byte(s) } }
	for _, d := range []deviation{
		{"empty authenticator", send(empty), judged(9), StageValidate, AlertRefused, "", authenticator.ErrRefused},
		{"empty authenticator, wrong MAC", send(func(r *rogue) []byte { return flip(empty(r), 10) }), judged(4), StageValidate, AlertWrongConnection, "", authenticator.ErrFinished},
		{"no bytes", send(raw("")), judged(1), StageValidate, AlertMalformed, "", authenticator.ErrDecode},
		{"no message", send(raw("\x0b\x00\x00\x09")), judged(1), StageValidate, AlertMalformed, "", authenticator.ErrDecode},
		{"a request", send(func(r *rogue) []byte { return r.raw }), judged(13), StageValidate, AlertProtocol, "", authenticator.ErrUnexpectedMessage},
		{"Certificate without entries", send(raw("\x0b\x00\x00\x04\x00\x00\x00\x00")), judged(1), StageValidate, AlertMalformed, "", authenticator.ErrDecode},
		{"without Evidence", send(func(r *rogue) []byte { return r.answer(nil) }), judged(6), StageAppraise, AlertAttestationRequired, "", attestation.ErrMissing},
		{"trailing byte", send(func(r *rogue) []byte { return append(r.answer(&toy{}), 0) }), judged(1), StageValidate, AlertMalformed, "", authenticator.ErrDecode},
		{"Finished flipped", send(func(r *rogue) []byte { b := r.answer(&toy{}); return flip(b, len(b)-1) }), judged(4), StageValidate, AlertWrongConnection, "", authenticator.ErrFinished},
		{"unknown format", send(func(r *rogue) []byte { return r.answer(&toy{types: []string{"application/vnd.expat-go.other"}}) }), judged(7), StageAppraise, AlertAttestationRejected, "", attestation.ErrMediaType},
	} {
		roles(t, func(t *testing.T, victim authenticator.Role) { d.run(t, victim, direction(victim, true)) })
	}
}

// The peer's authenticator is taken up to MaxAuthenticator, which HELLO tells.
func TestMaxAuthenticator(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		size := len(func() []byte {
			r := meet(t, victim, direction(victim, true))
			r.sendHello(attests)
			r.receive()
			return r.answer(&toy{})
		}())
		const slack = 16 // ECDSA signatures in DER vary in length
		r := meet(t, victim, direction(victim, true), func(c *Config) { c.MaxAuthenticator = size + slack })
		r.sendHello(attests)
		r.receive()
		require.Equal(t, size+slack, r.hello.MaxAuthenticator)
		r.send(wire.Authenticator, r.answer(&toy{}))
		require.Equal(t, []byte{0xa1, 0, 0}, r.read(wire.Result))
		r.requireEcho()

		r = meet(t, victim, direction(victim, true), func(c *Config) { c.MaxAuthenticator = size - slack })
		r.sendHello(attests)
		r.receive()
		r.send(wire.Authenticator, r.answer(&toy{}))
		r.requireVictim(alerted(10), StageValidate, AlertLimit, Local, wire.ErrTooLarge)
	})
}
