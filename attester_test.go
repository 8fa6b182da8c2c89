package expat

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// A victim that attests, and a rogue that should ask and judge.

// afterAsk says HELLO and asks, then does something else. What it does comes
// before the victim's AUTHENTICATOR is read.
func afterAsk(do func(r *rogue), change ...func(*authenticator.RequestOptions)) func(*rogue) {
	return func(r *rogue) {
		r.Helper()
		r.sendHello(asks)
		r.receive()
		r.send(wire.Request, r.ask(change...))
		do(r)
	}
}

// afterShown is afterAsk with the victim's AUTHENTICATOR read.
func afterShown(do func(r *rogue), change ...func(*authenticator.RequestOptions)) func(*rogue) {
	return afterAsk(func(r *rogue) { r.read(wire.Authenticator); do(r) }, change...)
}

func askedBy(h wire.HelloMap, do func(r *rogue)) func(*rogue) {
	return func(r *rogue) { r.Helper(); r.sendHello(h); r.receive(); do(r) }
}

// DESIGN 5, E-6, I-15, I-17, A-21, B-21, (13): what a relying party may not do.
// Where the victim waits for nothing but RESULT it closes without an ALERT, as
// the rogue's application could be reading by then.
func TestAttesterOrder(t *testing.T) {
	t.Parallel()
	pause := func(*rogue) {}
	short := func(o *authenticator.RequestOptions) { o.Context = make([]byte, 15) }
	loud := func(o *authenticator.RequestOptions) { o.Extensions[0].Data = []byte{1} }
	for _, d := range []deviation{
		{"neither side asks", func(r *rogue) { r.sendHello(attests) }, alerted(13), StageHello, AlertProtocol, "", ErrNobodyAsks},
		{"neither asks nor attests", func(r *rogue) { r.sendHello(wire.HelloMap{}) }, alerted(13), StageHello, AlertProtocol, "", ErrNobodyAsks},
		{"REQUEST first", func(r *rogue) { r.send(wire.Request, r.ask()) }, alerted(13), StageHello, AlertProtocol, "", ErrProtocol},
		{"HELLO twice", askedBy(asks, func(r *rogue) { r.sendHello(asks) }), alerted(13), StageRequest, AlertProtocol, "", ErrProtocol},
		{"AUTHENTICATOR nobody asked for", askedBy(both, frameOf(wire.Authenticator, "x")), alerted(13), StageRequest, AlertProtocol, "", ErrProtocol},
		{"RESULT before AUTHENTICATOR", askedBy(asks, frameOf(wire.Result, "\xa1\x00\x00")), alerted(13), StageRequest, AlertProtocol, "", ErrProtocol},
		{"DATA without mux", askedBy(asks, frameOf(wire.Data, "data")), alerted(13), StageRequest, AlertProtocol, "", ErrProtocol},
		{"application data for REQUEST", askedBy(asks, text("early application data")), alerted(13), StageRequest, AlertProtocol, "", wire.ErrType},
		{"REQUEST too large", askedBy(asks, func(r *rogue) { r.write(header(2, 16385)...) }), alerted(10), StageRequest, AlertLimit, "", wire.ErrTooLarge},
		{"REQUEST malformed", askedBy(asks, frameOf(wire.Request, "\x11\x00\x00\x01")), alerted(1), StageRequest, AlertMalformed, "", authenticator.ErrDecode},
		{"REQUEST empty", askedBy(asks, frameOf(wire.Request, "")), alerted(1), StageRequest, AlertMalformed, "", authenticator.ErrDecode},
		{"REQUEST of the victim's own type", askedBy(asks, func(r *rogue) {
			b := r.ask()
			b[0] ^= 13 ^ 17
			r.send(wire.Request, b)
		}), alerted(13), StageRequest, AlertProtocol, "", authenticator.ErrUnexpectedMessage},
		{"offer with content", afterAsk(pause, loud), alerted(1), StageAttest, AlertMalformed, "", attestation.ErrMalformed},
		{"context of 15 bytes", afterAsk(pause, short), alerted(1), StageAttest, AlertMalformed, "", attestation.ErrContext},
		{"ALERT for AUTHENTICATOR", afterShown(frameOf(wire.Alert, "\x00\x0c")), nothing, StageResult, AlertInternal, Peer, ErrPeerAlert},
		{"ALERT 0 for AUTHENTICATOR", afterShown(frameOf(wire.Alert, "\x00\x00")), nothing, StageResult, AlertProtocol, "", ErrProtocol},
		{"REQUEST twice", afterShown(func(r *rogue) { r.send(wire.Request, r.ask()) }), nothing, StageResult, AlertProtocol, "", ErrProtocol},
		{"AUTHENTICATOR for RESULT", afterShown(frameOf(wire.Authenticator, "x")), nothing, StageResult, AlertProtocol, "", ErrProtocol},
		{"application data for RESULT", afterShown(text("early application data")), nothing, StageResult, AlertProtocol, "", wire.ErrType},
		{"RESULT too large", afterShown(func(r *rogue) { r.write(header(4, 257)...) }), nothing, StageResult, AlertLimit, "", wire.ErrTooLarge},
		{"RESULT empty", afterShown(frameOf(wire.Result, "")), nothing, StageResult, AlertMalformed, "", wire.ErrMap},
		{"RESULT null", afterShown(frameOf(wire.Result, "\xa1\x00\xf6")), nothing, StageResult, AlertMalformed, "", wire.ErrMap},
		{"RESULT with a lifetime of 0", afterShown(frameOf(wire.Result, "\xa2\x00\x00\x01\x00")), nothing, StageResult, AlertMalformed, "", wire.ErrMap},
	} {
		roles(t, func(t *testing.T, victim authenticator.Role) { d.run(t, victim, direction(victim, false)) })
	}
}

// The peer's verdict arrives as what it is, with the side that found it.
func TestVerdictCodes(t *testing.T) {
	t.Parallel()
	for code := Alert(1); code <= 14; code++ {
		verdict := func(r *rogue) { r.sendResult(wire.ResultMap{Code: uint16(code)}) }
		d := deviation{code.String(), afterShown(verdict), nothing, StageResult, code, Peer, ErrPeerAlert}
		d.run(t, authenticator.Client, clientAttests)
		d.run(t, authenticator.Server, serverAttests)
	}
}

// A-33, B-6, B-8: what the victim cannot show it refuses with an empty
// authenticator, and its error says why beside the peer's verdict.
func TestRefusals(t *testing.T) {
	t.Parallel()
	plain := func(o *authenticator.RequestOptions) { o.Extensions = nil }
	ed25519 := func(o *authenticator.RequestOptions) { o.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519} }
	other := asks
	other.MediaTypes = []string{"application/vnd.expat-go.other"}
	none := func(c *Config) { c.Attester, c.Verifier = nil, &toy{} }
	for name, c := range map[string]struct {
		hello  wire.HelloMap
		change func(*authenticator.RequestOptions)
		config func(*Config)
		reason error
	}{
		"no offer of cmw_attestation": {asks, plain, nil, attestation.ErrNotOffered},
		"no scheme that fits":         {asks, ed25519, nil, authenticator.ErrNoIdentity},
		"no format in common":         {other, nil, nil, attestation.ErrMediaType},
		"no Attester":                 {both, nil, none, errNoAttester},
	} {
		t.Run(name, func(t *testing.T) {
			roles(t, func(t *testing.T, victim authenticator.Role) {
				for _, verdict := range []Alert{AlertRefused, AlertAccepted} {
					var config []func(*Config)
					if c.config != nil {
						config = append(config, c.config)
					}
					var change []func(*authenticator.RequestOptions)
					if c.change != nil {
						change = append(change, c.change)
					}
					r := meet(t, victim, direction(victim, false), config...)
					r.sendHello(c.hello)
					r.receive()
					q := requestOf(t, r.session, change...)
					r.send(wire.Request, q.Bytes())
					_, err := r.session.Validate(q, r.read(wire.Authenticator), authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain})
					require.ErrorIs(t, err, authenticator.ErrRefused)
					r.sendResult(wire.ResultMap{Code: uint16(verdict)})
					if verdict == AlertAccepted && c.config == nil {
						r.requireVictim(nothing, StageResult, AlertProtocol, Local, ErrProtocol)
						continue
					}
					if verdict == AlertAccepted {
						r.requireVictim(alerted(13), StageResult, AlertProtocol, Local, ErrProtocol)
						continue
					}
					require.Equal(t, nothing, r.lastWord())
					err = <-r.result
					requireFailure(t, err, StageResult, AlertRefused, Peer, ErrPeerAlert)
					require.ErrorIs(t, err, c.reason)
					require.ErrorContains(t, err, "after we refused")
					requireDead(t, r.victim)
				}
			})
		})
	}
}

// The authenticator is sent up to the peer's maximum, and refused above.
func TestPeersMaximum(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		size := 0
		try := func(most int) *rogue {
			r := meet(t, victim, direction(victim, false))
			h := asks
			h.MaxAuthenticator = most
			r.sendHello(h)
			r.receive()
			r.send(wire.Request, r.ask())
			return r
		}
		size = len(try(1 << 20).read(wire.Authenticator))
		const slack = 16 // ECDSA signatures in DER vary in length
		for _, most := range []int{0, 1, size - slack} {
			try(most).requireVictim(alerted(10), StageAuthenticate, AlertLimit, Local, wire.ErrTooLarge)
		}
		r := try(size + slack)
		r.read(wire.Authenticator)
		r.sendResult(wire.ResultMap{})
		r.requireEcho()
	})
}

// E-6: RESULT and the first application data may share a flight, and a record.
func TestResultAndDataTogether(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := meet(t, victim, direction(victim, false))
		afterShown(func(r *rogue) {
			r.write(append(encode(r, wire.Result, []byte("\xa1\x00\x00")), "and application data"...)...)
		})(r)
		require.NoError(t, <-r.result)
		got := make([]byte, 20)
		_, err := io.ReadFull(r.victim, got)
		require.NoError(t, err)
		require.Equal(t, "and application data", string(got))
		r.result <- nil
		r.requireEcho()
	})
}

// The whole of the rogue's part in two records, cut up or not.
func TestPipelined(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		for _, chunk := range []int{1, 3, 1 << 14} {
			r := meet(t, victim, direction(victim, false))
			hello, err := asks.Encode()
			require.NoError(t, err)
			flight := append(encode(t, wire.Hello, hello), encode(t, wire.Request, r.ask())...)
			for len(flight) > 0 {
				n := min(chunk, len(flight))
				r.write(flight[:n]...)
				flight = flight[n:]
			}
			r.receive()
			r.read(wire.Authenticator)
			r.sendResult(wire.ResultMap{Code: 0, Lifetime: time.Hour})
			r.requireEcho()
			require.WithinDuration(t, time.Now().Add(time.Hour), r.victim.Expires(), time.Minute)
		}
	})
}

// F-3: errors never repeat what the peer sent at length.
func TestErrorsStayShort(t *testing.T) {
	t.Parallel()
	r := meet(t, authenticator.Client, serverAttests)
	r.sendHello(attests)
	r.receive()
	long := "application/" + strings.Repeat("x", 120)
	r.send(wire.Authenticator, r.answer(&toy{types: []string{long}}))
	require.Equal(t, judged(7), r.lastWord())
	err := <-r.result
	requireFailure(t, err, StageAppraise, AlertAttestationRejected, Local, attestation.ErrMediaType)
	require.Less(t, len(err.Error()), 300)
}
