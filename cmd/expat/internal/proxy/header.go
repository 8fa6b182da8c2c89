package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/verifier/ear"
)

// resultHeader carries the verdict on the peer, as an EAR that this sidecar signs.
const resultHeader = "Expat-Result"

// sidecars are the names of headers that only a sidecar sets.
func sidecars(name string) bool { return strings.HasPrefix(name, "expat-") }

// forwarded are the names of headers that tell of clients before this one.
func forwarded(name string) bool {
	return name == "forwarded" || name == "x-real-ip" || strings.HasPrefix(name, "x-forwarded-")
}

// strip removes what nobody outside may say. Backends that turn headers into variables
// do not tell - from _, some not from any other sign.
func strip(h http.Header, reserved func(name string) bool) {
	for name := range h {
		if reserved(strings.Map(plainly, name)) {
			delete(h, name)
		}
	}
}

// plainly is a character of a header's name in lower case, - for all that are no letter
// and no digit.
func plainly(c rune) rune {
	switch {
	case 'A' <= c && c <= 'Z':
		return c - 'A' + 'a'
	case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// websocket tells whether a request asks for WebSocket (RFC 6455). What else a
// connection can be upgraded to passes no sidecar: with another HTTP a client would
// send headers that nobody looks at.
func websocket(h http.Header) bool { return strings.EqualFold(h.Get("Upgrade"), "websocket") }

// stripTrailers removes them from the trailers of a response when its body has ended,
// which is when they are known.
func stripTrailers(resp *http.Response) {
	strip(resp.Trailer, sidecars)
	if resp.StatusCode != http.StatusSwitchingProtocols { // there the body is the connection
		resp.Body = &trailed{resp.Body, resp}
	}
}

type trailed struct {
	io.ReadCloser
	resp *http.Response
}

func (t *trailed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if err != nil {
		strip(t.resp.Trailer, sidecars)
	}
	return n, err
}

// maxTokens bounds the tokens that are kept to be sent again.
const maxTokens = 4096

// signer makes the header's value of a verdict. A token is used again for half of its
// lifetime.
type signer struct {
	issuer   *ear.Issuer
	audience string
	lifetime time.Duration

	mu     sync.Mutex
	tokens map[*attestation.Result]token
}

type token struct {
	value string
	made  time.Time
	reuse time.Duration
}

// fresh tells whether a token is sent again. Its times are those of the clock on the
// wall: where that was set meanwhile, readers of the token would mind.
func (t token) fresh(now time.Time) bool {
	for _, age := range []time.Duration{now.Sub(t.made), now.Round(0).Sub(t.made)} {
		if age < 0 || age >= t.reuse {
			return false
		}
	}
	return true
}

func newSigner(c *config.Result) (*signer, error) {
	key, err := appraise.ReadKey(c.Key)
	if err != nil {
		return nil, err
	}
	id, err := appraise.KeyID(key)
	if err != nil {
		return nil, err
	}
	issuer, err := ear.NewIssuer(ear.IssuerOptions{
		Key: key, KeyID: id, Name: c.Issuer, Developer: "https://github.com/expat-go/expat", Build: "expat proxy", Lifetime: c.Lifetime,
	})
	if err != nil {
		return nil, err
	}
	return &signer{issuer: issuer, audience: c.Audience, lifetime: c.Lifetime, tokens: make(map[*attestation.Result]token)}, nil
}

// token states a verdict that ends at a time, or if that is zero with the connection.
func (s *signer) token(ctx context.Context, r *attestation.Result, ends time.Time) (string, error) {
	now := time.Now()
	s.mu.Lock()
	t, ok := s.tokens[r]
	s.mu.Unlock()
	if ok && t.fresh(now) {
		return t.value, nil
	}
	statement := ear.FromResult(r)
	statement.Audience = s.audience
	lifetime := s.lifetime
	if !ends.IsZero() {
		lifetime = min(lifetime, ends.Sub(now))
	}
	statement.Lifetime = lifetime
	b, err := s.issuer.Issue(ctx, statement)
	if err != nil {
		return "", err
	}
	t = token{string(b), now, lifetime / 2}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) >= maxTokens {
		s.forget(now)
	}
	s.tokens[r] = t
	return t.value, nil
}

// forget drops tokens that are not sent again, or all.
func (s *signer) forget(now time.Time) {
	for r, t := range s.tokens {
		if !t.fresh(now) {
			delete(s.tokens, r)
		}
	}
	if len(s.tokens) >= maxTokens {
		clear(s.tokens)
	}
}
