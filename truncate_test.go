package expat

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// large is the size above which only every 16th byte is tried.
const large = 300

func offsets(n int) []int {
	var out []int
	for i := range n {
		if n <= large || i%16 == 0 || i < wire.HeaderSize {
			out = append(out, i)
		}
	}
	return out
}

// part is one frame of a rogue's side of an exchange in which the server attests.
type part struct {
	name   string
	victim authenticator.Role
	lead   func(r *rogue)        // what comes before it
	frame  func(r *rogue) []byte // it
	stage  Stage                 // where the victim waits for it
	after  func(r *rogue)        // what follows if it is accepted
}

// size is the length of the frame, which differs by a few bytes from one run to
// the next: ECDSA signatures in DER do.
func (p part) size(t testing.TB, w *world) int {
	t.Helper()
	r := w.meet(t, p.victim, serverAttests)
	p.lead(r)
	n := len(p.frame(r))
	r.tls.NetConn().Close()
	<-r.result
	return n
}

func helloFrame(h wire.HelloMap) func(*rogue) []byte {
	return func(r *rogue) []byte {
		b, err := h.Encode()
		require.NoError(r, err)
		return encode(r, wire.Hello, b)
	}
}

func parts() []part {
	var asked *authenticator.Request
	return []part{
		{"HELLO of an attester", authenticator.Client, func(*rogue) {}, helloFrame(attests), StageHello, nil},
		{"AUTHENTICATOR", authenticator.Client, func(r *rogue) { r.sendHello(attests); r.receive() },
			func(r *rogue) []byte { return encode(r, wire.Authenticator, r.answer(&toy{})) }, StageValidate, nil},
		{"HELLO of a relying party", authenticator.Server, func(*rogue) {}, helloFrame(asks), StageHello, nil},
		{"REQUEST", authenticator.Server, func(r *rogue) { r.sendHello(asks); r.receive() },
			func(r *rogue) []byte {
				asked = requestOf(r, r.session)
				return encode(r, wire.Request, asked.Bytes())
			}, StageRequest, func(r *rogue) { r.judge(asked) }},
		{"RESULT", authenticator.Server, afterShown(func(*rogue) {}),
			func(r *rogue) []byte { return encode(r, wire.Result, []byte("\xa1\x00\x00")) }, StageResult, nil},
	}
}

// judge reads the victim's AUTHENTICATOR, if it sends one, and says what an
// honest relying party would.
func (r *rogue) judge(q *authenticator.Request) {
	r.Helper()
	typ, payload, err := wire.Read(r.tls, 1<<20)
	if err != nil || typ != wire.Authenticator {
		return
	}
	peer, err := r.session.Validate(q, payload, authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain})
	if err == nil {
		_, err = attestation.Appraise(context.Background(), attestation.Expat04(), peer, &toy{})
	}
	require.Error(r, err, "a request that was changed on its way was answered as if it was not")
	r.sendResult(wire.ResultMap{Code: uint16(AlertWrongConnection)})
}

// E-6, I-15: the stream ends at every byte of every frame, with and without
// TLS's close_notify.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for _, p := range parts() {
		t.Run(p.name, func(t *testing.T) {
			w := newWorld(t)
			for _, i := range offsets(p.size(t, w)) {
				r := w.meet(t, p.victim, serverAttests)
				p.lead(r)
				frame := p.frame(r)
				r.write(frame[:min(i, len(frame)-1)]...)
				if i%2 == 0 {
					require.NoError(t, r.tls.CloseWrite())
					require.Equal(t, nothing, r.lastWord())
				} else {
					require.NoError(t, r.tls.NetConn().Close())
				}
				err := <-r.result
				requireFailure(t, err, p.stage, AlertProtocol, Local, ErrClosed)
				requireDead(t, r.victim)
			}
		})
	}
}

// I-4, I-14: every byte of every frame changed. No change is accepted that the
// two sides would not agree on.
func TestEveryByteChanged(t *testing.T) {
	t.Parallel()
	for _, p := range parts() {
		t.Run(p.name, func(t *testing.T) {
			w := newWorld(t)
			for _, i := range offsets(p.size(t, w)) {
				for _, mask := range []byte{1, 0x80} {
					r := w.meet(t, p.victim, serverAttests)
					p.lead(r)
					frame := p.frame(r)
					frame[min(i, len(frame)-1)] ^= mask
					r.write(frame...)
					if p.after != nil {
						if i < wire.HeaderSize {
							require.NoError(t, r.tls.CloseWrite()) // the length may announce more
						}
						p.after(r)
					}
					_ = r.tls.CloseWrite()
					r.lastWord()
					err := <-r.result
					var e *Error
					require.ErrorAs(t, err, &e, "byte %d", i)
					require.False(t, errors.Is(err, context.DeadlineExceeded), "byte %d: %v", i, err)
					requireDead(t, r.victim)
				}
			}
		})
	}
}

// The peer goes away at each boundary of a mutual exchange.
func TestClosedAtBoundaries(t *testing.T) {
	t.Parallel()
	steps := []struct {
		do    func(r *rogue)
		stage Stage
	}{
		{func(*rogue) {}, StageHello},
		{func(r *rogue) { r.sendHello(both); r.receive() }, StageValidate},
		{func(r *rogue) { r.send(wire.Request, r.ask()); r.read(wire.Authenticator) }, StageValidate},
		{func(r *rogue) { r.sendResult(wire.ResultMap{}) }, StageValidate},
	}
	roles(t, func(t *testing.T, victim authenticator.Role) {
		for n := range steps {
			for _, notify := range []bool{true, false} {
				r := meet(t, victim, mutual)
				for _, s := range steps[:n+1] {
					s.do(r)
				}
				if notify {
					require.NoError(t, r.tls.Close())
				} else {
					require.NoError(t, r.tls.NetConn().Close())
				}
				requireFailure(t, <-r.result, steps[n].stage, AlertProtocol, Local, ErrClosed)
				requireDead(t, r.victim)
			}
		}
	})
}

// A TLS alert in place of a frame counts as the end of the connection.
func TestClosedAfterAuthenticator(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := meet(t, victim, mutual)
		r.sendHello(both)
		r.receive()
		r.send(wire.Authenticator, r.answer(&toy{}))
		require.Equal(t, []byte{0xa1, 0, 0}, r.read(wire.Result))
		require.NoError(t, r.tls.Close())
		requireFailure(t, <-r.result, StageRequest, AlertProtocol, Local, ErrClosed)
		requireDead(t, r.victim)
	})
}
