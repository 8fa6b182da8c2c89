package expat

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// The alphabet of FuzzPeerFrames: what a byte makes the rogue do. The first byte
// chooses the victim's role, what the victim wants, and whether both say mux.
const (
	fuzzHello = iota // as an attester and relying party
	fuzzHelloAttests
	fuzzHelloAsks
	fuzzHelloNothing
	fuzzRequest
	fuzzRequestPlain // without an offer
	fuzzAuthenticator
	fuzzAuthenticatorBare // without Evidence
	fuzzAuthenticatorEmpty
	fuzzResult
	fuzzResultCode
	fuzzAlert
	fuzzData
	fuzzRaw // the next byte, as it is
	fuzzReceive
	fuzzDataFrame
	fuzzKinds
)

// fuzzFramed is what a DATA frame of the rogue carries.
const fuzzFramed = "framed "

// play does what the bytes say.
func (r *rogue) play(script []byte, mux bool) {
	for len(script) > 0 {
		kind, rest := script[0]%fuzzKinds, script[1:]
		switch kind {
		case fuzzHello, fuzzHelloAttests, fuzzHelloAsks, fuzzHelloNothing:
			h := []wire.HelloMap{both, attests, asks, {}}[kind]
			h.Mux = mux
			r.sendHello(h)
		case fuzzRequest:
			r.send(wire.Request, r.ask())
		case fuzzRequestPlain:
			r.send(wire.Request, r.ask(func(o *authenticator.RequestOptions) { o.Extensions = nil }))
		case fuzzAuthenticator, fuzzAuthenticatorBare, fuzzAuthenticatorEmpty:
			r.playAuthenticator(kind)
		case fuzzResult:
			r.sendResult(wire.ResultMap{Lifetime: time.Hour})
		case fuzzResultCode:
			r.sendResult(wire.ResultMap{Code: 7})
		case fuzzAlert:
			r.send(wire.Alert, []byte{0, 7})
		case fuzzData:
			r.write([]byte("application data")...)
		case fuzzDataFrame:
			r.send(wire.Data, []byte(fuzzFramed))
		case fuzzRaw:
			if len(rest) > 0 {
				r.write(rest[0])
				rest = rest[1:]
			}
		case fuzzReceive:
			_ = r.tls.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if typ, payload, err := wire.Read(r.tls, 1<<20); err == nil && typ == wire.Request {
				r.asked, _ = r.session.ReceiveRequest(payload)
			}
		}
		script = rest
	}
}

func (r *rogue) playAuthenticator(kind byte) {
	if r.asked == nil {
		r.send(wire.Authenticator, []byte{20, 0, 0, 0})
		return
	}
	asked := r.asked
	r.asked = nil // it is spent
	switch kind {
	case fuzzAuthenticator:
		r.send(wire.Authenticator, answerTo(r, r.session, asked, r.id, &toy{}))
	case fuzzAuthenticatorBare:
		r.send(wire.Authenticator, answerTo(r, r.session, asked, r.id, nil))
	default:
		b, err := r.session.Refuse(asked)
		require.NoError(r, err)
		r.send(wire.Authenticator, b)
	}
}

// Property: the connection opens only after a legal exchange, in which what the
// victim asked for was shown and what it showed was accepted; otherwise the error
// is an *Error, and not a byte was delivered.
func FuzzPeerFrames(f *testing.F) {
	legal := [][]byte{
		{0, fuzzHelloAttests, fuzzReceive, fuzzReceive, fuzzAuthenticator, fuzzData},
		{1, fuzzHelloAsks, fuzzReceive, fuzzRequest, fuzzReceive, fuzzResult, fuzzData},
		{2, fuzzHello, fuzzRequest, fuzzReceive, fuzzReceive, fuzzAuthenticator, fuzzReceive, fuzzReceive, fuzzResult, fuzzData},
	}
	for _, s := range legal {
		for _, role := range []byte{0, 4, 8, 12} {
			seed := append([]byte{s[0] | role}, s[1:]...)
			f.Add(seed)
			f.Add(seed[:len(seed)-2])
			live := append(seed[:len(seed)-1:len(seed)-1], fuzzDataFrame)
			f.Add(append(live, fuzzRequest, fuzzReceive, fuzzDataFrame, fuzzResult))
			f.Add(append(live, fuzzRequest, fuzzRequest))
			f.Add(append(live, fuzzAuthenticator))
			f.Add(append(live, fuzzAlert, fuzzDataFrame))
			f.Add(append(seed[:2:2], seed[3:]...))
		}
	}
	f.Add([]byte{0, fuzzRaw, 1, fuzzRaw, 0, fuzzData})
	f.Add([]byte{6, fuzzHello, fuzzHello, fuzzAlert})
	if len(legal) == 0 {
		f.Fatal("no seeds")
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 || len(script) > 24 {
			return
		}
		victim := authenticator.Client
		if script[0]&4 != 0 {
			victim = authenticator.Server
		}
		shape := script[0] & 3
		cn, sn := delayPipe(0)
		mux := script[0]&8 != 0
		r := w.meetOver(t, cn, sn, victim, [...]string{direction(victim, true), direction(victim, false), mutual, mutual}[shape], func(c *Config) { c.Reattest = mux })
		r.play(script[1:], mux)
		require.NoError(t, r.tls.CloseWrite())
		read := make(chan []byte, 1)
		go func() { all, _ := io.ReadAll(r.tls); read <- all }()
		err := <-r.result
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			requireDead(t, r.victim)
		} else {
			requireLegal(t, r, shape, script[1:])
		}
		_ = r.victim.Close()
		<-read
		require.NoError(t, r.tls.NetConn().Close())
	})
}

// requireLegal checks an open victim against the script.
func requireLegal(t *testing.T, r *rogue, shape byte, script []byte) {
	t.Helper()
	has := func(kind byte) bool {
		for i := 0; i < len(script); i++ {
			if script[i]%fuzzKinds == kind {
				return true
			}
			if script[i]%fuzzKinds == fuzzRaw {
				i++
			}
		}
		return false
	}
	asks, attests := shape != 1, shape != 0
	require.Equal(t, asks, r.victim.Peer() != nil)
	if asks {
		require.True(t, has(fuzzAuthenticator), "%d", script)
	}
	if attests && (has(fuzzHello) || has(fuzzHelloAsks)) && !has(fuzzHelloAttests) {
		require.True(t, has(fuzzRequest) && has(fuzzResult), "%d", script)
	}
	all, err := io.ReadAll(r.victim)
	if r.victim.mux == nil {
		require.NoError(t, err, "what follows is the application's")
		return
	}
	require.Empty(t, strings.ReplaceAll(string(all), fuzzFramed, ""), "what is not DATA reached the application")
	var e *Error
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		require.ErrorAs(t, err, &e)
	}
}
