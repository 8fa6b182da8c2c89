package attacktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/internal/wire"
)

// verdict is how a victim reacted.
type verdict struct {
	result Result
	step   expat.Stage
	alert  string
	note   string
}

func refusedAt(step expat.Stage, alert string) verdict { return verdict{Refused, step, alert, ""} }

func (p *peer) accepted(format string, args ...any) verdict {
	return verdict{Accepted, p.stage, "", fmt.Sprintf(format, args...)}
}

// verdict waits until the victim has refused, and no longer than the given time.
// It has accepted if it sends one of the given frames, or application data, if it
// stays silent, and, where it is a client, if it opens the connection.
func (p *peer) verdict(ctx context.Context, within time.Duration, goesAlong ...wire.Type) (verdict, error) {
	if p.broken != nil {
		return verdict{}, p.broken
	}
	v := p.onTheWire(within, goesAlong)
	return p.andClient(ctx, v)
}

func (p *peer) onTheWire(within time.Duration, goesAlong []wire.Type) verdict {
	if err := p.tls.SetReadDeadline(time.Now().Add(within)); err != nil {
		return refusedAt(p.stage, "")
	}
	for {
		t, payload, err := wire.Read(p.tls, wire.MaxMaxAuthenticator)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return p.accepted("the connection is still open after %v", within)
		case errors.Is(err, wire.ErrType), err == nil && t == wire.Data:
			return p.accepted("application data arrived")
		case err != nil:
			return refusedAt(p.stage, tlsAlert(err))
		}
		switch alert := alertIn(t, payload); {
		case t == wire.Alert:
			return refusedAt(p.stage, alert)
		case alert != "":
			return refusedAt(judgedAt(payload), alert)
		case t == wire.Authenticator && refusal(payload) && slices.Contains(goesAlong, t):
			return refusedAt(p.stage, "empty authenticator")
		}
		if slices.Contains(goesAlong, t) {
			return p.accepted("the victim sent %s", describe(t, payload))
		}
	}
}

// closes waits until the victim has closed the connection, whatever it says
// before. secure tells whether to look inside TLS.
func (p *peer) closes(ctx context.Context, within time.Duration, secure bool) (verdict, error) {
	if p.broken != nil {
		return verdict{}, p.broken
	}
	var c net.Conn = p.raw
	if secure {
		c = p.tls
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return p.andClient(ctx, p.accepted("the connection is still open after %v", within))
	}
	return p.andClient(ctx, refusedAt(p.stage, tlsAlert(err)))
}

// refusal tells an empty authenticator, a Finished alone (RFC 9261, Section 6).
func refusal(authenticator []byte) bool { return len(authenticator) > 0 && authenticator[0] == 20 }

// judgedAt is the step to which a RESULT belongs.
func judgedAt(result []byte) expat.Stage {
	m, err := wire.ParseResult(result)
	if err != nil {
		return expat.StageValidate
	}
	switch expat.Alert(m.Code) {
	case expat.AlertAttestationRequired, expat.AlertAttestationRejected, expat.AlertVerifierUnavailable:
		return expat.StageAppraise
	}
	return expat.StageValidate
}

// andClient adds what a client victim says itself.
func (p *peer) andClient(ctx context.Context, v verdict) (verdict, error) {
	if p.client == nil {
		return v, nil
	}
	_ = p.raw.Close()
	end, err := p.awaitClient(ctx)
	if errors.Is(err, errPatience) {
		return verdict{Accepted, v.step, v.alert, "the client does not come back though the connection is closed"}, nil
	}
	if err != nil {
		return v, err
	}
	return clientVerdict(end, v), nil
}

var errPatience = errors.New("the client does not come back")

// awaitClient waits for what a client victim makes of the connection.
func (p *peer) awaitClient(ctx context.Context) (clientEnd, error) {
	select {
	case end := <-p.client:
		return end, nil
	case <-time.After(p.options.Patience):
		return clientEnd{}, errPatience
	case <-ctx.Done():
		return clientEnd{}, context.Cause(ctx)
	}
}

// clientVerdict prefers what the client says to what was seen of it.
func clientVerdict(end clientEnd, v verdict) verdict {
	if end.err == nil {
		_ = end.conn.Close()
		return verdict{Accepted, v.step, v.alert, "the client opened the connection"}
	}
	var e *expat.Error
	if v.result != Refused || !errors.As(end.err, &e) {
		return v
	}
	v.step = e.Stage
	return v
}

// tlsAlert is the alert in an error of crypto/tls, or "".
func tlsAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err != nil {
		return "TLS: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}
