package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// newTransport bounds by itself what the end of a request does not end: dialling, the
// handshake, and a connection whose other side has gone without a word. Each would keep
// one of the places of MaxConnsPerHost.
func newTransport(o *Options) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        o.TLS,
		DialContext:            (&net.Dialer{Timeout: o.AttemptTimeout}).DialContext,
		TLSHandshakeTimeout:    o.AttemptTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: o.AttemptTimeout, PingTimeout: o.AttemptTimeout},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    o.MaxInFlight,
		MaxConnsPerHost:        2 * o.MaxInFlight, // attempts, and deletions
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 2 * maxLocation,
	}
}

type request struct {
	method    string
	url       *url.URL
	mediaType string // of the body, if there is one
	body      []byte
	limit     int // of the answer in bytes
}

// reply is an answer of success.
type reply struct {
	step   Step
	status int
	header http.Header
	body   []byte
}

// do makes one request and reads the answer whole. The error is an [*Error].
func (v *Verifier) do(ctx context.Context, step Step, q request) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, broken(step, "its URL cannot be asked for")
	}
	r.Header.Set("Accept", sessionType)
	r.Header.Set("User-Agent", "expat-go")
	if q.mediaType != "" {
		r.Header.Set("Content-Type", q.mediaType)
	}
	if err := v.authorize(ctx, r); err != nil {
		return nil, &Error{Step: step, Err: fmt.Errorf("%w: %w", ErrRefused, err)}
	}
	answer, err := v.client.Do(r)
	if err != nil {
		return nil, unreachable(ctx, step, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, int64(q.limit)+1))
	switch {
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return nil, refusal(step, answer, v.o.Now())
	case err != nil:
		return nil, unreachable(ctx, step, err)
	case len(body) > q.limit:
		return nil, broken(step, "the answer exceeds %d bytes", q.limit)
	case answer.StatusCode == http.StatusNoContent:
		return &reply{step: step, status: answer.StatusCode}, nil
	}
	if t, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || t != sessionType {
		return nil, broken(step, "the answer is not of type %s", sessionType)
	}
	return &reply{step: step, status: answer.StatusCode, header: answer.Header, body: body}, nil
}

// authorize adds the bearer token.
func (v *Verifier) authorize(ctx context.Context, r *http.Request) error {
	if v.o.Token == nil {
		return nil
	}
	token, err := v.o.Token(ctx)
	if err != nil {
		return fmt.Errorf("no bearer token: %w", err)
	}
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("the bearer token is empty or not printable ASCII")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// unreachable makes the error of a request without a whole answer. The text of
// net/http's error is left out where it repeats the URL, which names the nonce.
func unreachable(ctx context.Context, step Step, err error) *Error {
	var where *url.Error
	if errors.As(err, &where) {
		err = where.Err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var untrusted *tls.CertificateVerificationError
	return &Error{Step: step, Err: fmt.Errorf("%w: %w", ErrUnreachable, err), final: errors.As(err, &untrusted)}
}
