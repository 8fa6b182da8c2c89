package attacktest

import (
	"fmt"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/internal/wire"
)

// This file is how the attacker writes and reads frames.

// write sends bytes. The victim may have closed already, which shows in what it
// says, so an error is of no interest.
func (p *peer) write(b []byte) {
	_ = p.tls.SetWriteDeadline(time.Now().Add(p.options.Prompt))
	_, _ = p.tls.Write(b)
}

// send sends a frame. What cannot be sent shows at the next read.
func (p *peer) send(t wire.Type, payload []byte) {
	b, err := wire.Append(nil, t, payload)
	if err != nil {
		p.broken = err
		return
	}
	switch t {
	case wire.Hello:
		p.stage = expat.StageHello
	case wire.Request:
		p.stage = expat.StageRequest
	case wire.Authenticator:
		p.stage = expat.StageValidate
	case wire.Result:
		p.stage = expat.StageResult
	}
	p.write(b)
}

// says is what a HELLO says of its sender.
func (p *peer) says(asks, attests bool) wire.HelloMap {
	h := wire.HelloMap{WillRequest: asks, CanAttest: attests, Models: wire.BackgroundCheck | wire.Passport, Mux: p.mux, MaxAuthenticator: wire.MaxMaxAuthenticator}
	if asks {
		h.MediaTypes = p.target.mediaTypes()
	}
	return h
}

func (p *peer) sendHello(asks, attests bool) {
	b, err := p.says(asks, attests).Encode()
	if err != nil {
		p.broken = err
		return
	}
	p.send(wire.Hello, b)
}

// sendVerdict sends RESULT.
func (p *peer) sendVerdict(code expat.Alert, lifetime time.Duration) {
	b, err := wire.ResultMap{Code: uint16(code), Lifetime: lifetime}.Encode()
	if err != nil {
		p.broken = err
		return
	}
	p.send(wire.Result, b)
}

// read expects a frame within Prompt.
func (p *peer) read(want wire.Type) ([]byte, error) {
	if p.broken != nil {
		return nil, p.broken
	}
	_ = p.tls.SetReadDeadline(time.Now().Add(p.options.Prompt))
	t, payload, err := wire.Read(p.tls, wire.MaxMaxAuthenticator)
	if err != nil {
		return nil, fmt.Errorf("waiting for %v: %w", want, err)
	}
	if t != want {
		return nil, &unexpected{want, describe(t, payload), alertIn(t, payload)}
	}
	return payload, nil
}

// unexpected is a frame other than the one that was awaited.
type unexpected struct {
	want  wire.Type
	sent  string
	alert string // if it is a refusal
}

func (u *unexpected) Error() string {
	return fmt.Sprintf("waiting for %v: the victim sent %s", u.want, u.sent)
}

// describe names a frame, with the code that it carries.
func describe(t wire.Type, payload []byte) string {
	if code := alertIn(t, payload); code != "" {
		return t.String() + " " + code
	}
	return t.String()
}

// alertIn is the code of a refusal, or "".
func alertIn(t wire.Type, payload []byte) string {
	switch t {
	case wire.Alert:
		if code, err := wire.ParseAlert(payload); err == nil {
			return alertText(code)
		}
	case wire.Result:
		if m, err := wire.ParseResult(payload); err == nil && m.Code != 0 {
			return alertText(m.Code)
		}
	}
	return ""
}

// receive reads the victim's HELLO, and its REQUEST if it asks.
func (p *peer) receive() error {
	b, err := p.read(wire.Hello)
	if err != nil {
		return err
	}
	if p.hello, err = wire.ParseHello(b); err != nil {
		return err
	}
	if !p.hello.WillRequest {
		return nil
	}
	if p.asking, err = p.read(wire.Request); err != nil {
		return err
	}
	p.asked, err = p.session.ReceiveRequest(p.asking)
	return err
}
