package expathttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// Defaults and limits of a [Transport].
const (
	// DefaultIdleTimeout is how long a connection without requests is kept.
	DefaultIdleTimeout = 90 * time.Second
	// DefaultMaxIdle is how many connections without requests are kept for an
	// address.
	DefaultMaxIdle = 8
	// MaxUnfit is how many connections are made for one request that lead to
	// peers which do not meet its demands, before the request fails.
	MaxUnfit = 4
)

// A server that says nothing for pingAfter is asked whether it is there, over HTTP/2, and
// has pingWithin to answer.
const (
	pingAfter  = 30 * time.Second
	pingWithin = 15 * time.Second
)

// maxRepeats is how often a request is sent again on another connection.
const maxRepeats = 3

// Options of a [Transport]. Negative values are an error.
type Options struct {
	// DialContext makes the connection under TLS; nil: a [net.Dialer]. A tunnel
	// through a proxy belongs here: the environment's HTTPS_PROXY is not looked at.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// IdleTimeout is how long a connection without requests is kept; zero:
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration
	// MaxIdle is how many connections without requests are kept for an address;
	// zero: [DefaultMaxIdle].
	MaxIdle int
	// DisableCompression leaves encodings to requests and their callers, as the
	// field of [http.Transport] does: no response is asked for and decoded in gzip.
	DisableCompression bool
}

// Transport is an [http.RoundTripper] over attested connections, for https URLs
// only. It pools connections by address and by what the Verifier found, and is
// safe for concurrent use. All its connections are made with one Config.
//
// A request that fails on a connection that was idle and has ended meanwhile is
// sent again on another one, as net/http does: if nothing of it was sent, or if its
// method is idempotent, and its body can be had again. So is one, whatever its method,
// that the server says it has not looked at.
type Transport struct {
	cfg     *expat.Config
	options Options
	timeout time.Duration // to connect, from the first packet on

	// Each runs one protocol on a connection that is made already. net/http
	// calls HTTP/2 on anything but a tls.Conn of its own unencrypted.
	http1, http2 *http.Transport

	pool pool
}

// NewTransport returns a transport whose connections are attested as cfg says.
// cfg.TLS.NextProtos chooses among h2 and http/1.1; empty means both, HTTP/2
// preferred. cfg.TLS.ServerName should be empty: each server must then prove the
// host of the URL. Errors wrap [ErrConfig]; a cfg that expat cannot use shows in
// the first request.
func NewTransport(cfg *expat.Config, o Options) (*Transport, error) {
	cfg, err := withProtocols(cfg)
	switch {
	case err != nil:
		return nil, err
	case o.IdleTimeout < 0 || o.MaxIdle < 0:
		return nil, fmt.Errorf("%w: IdleTimeout and MaxIdle must not be negative", ErrConfig)
	}
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = DefaultMaxIdle
	}
	t := &Transport{cfg: cfg, options: o, timeout: cfg.Timeout}
	if t.timeout == 0 {
		t.timeout = expat.DefaultTimeout
	}
	t.http1 = &http.Transport{DialTLSContext: dialed, DisableCompression: o.DisableCompression, Protocols: new(http.Protocols)}
	t.http1.Protocols.SetHTTP1(true)
	t.http2 = &http.Transport{DialTLSContext: dialed, DisableCompression: o.DisableCompression, Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWithin}}
	t.http2.Protocols.SetUnencryptedHTTP2(true)
	t.pool.hosts = map[string]*host{}
	return t, nil
}

// CloseIdleConnections closes the connections that carry no request.
func (t *Transport) CloseIdleConnections() { t.pool.closeIdle() }

type demandsKey struct{}

// WithDemands returns a context for requests that may go only to a peer whose
// verdict meets all demands, those of ctx included. It is judged on the connection
// that then carries the request; a request that is redirected makes the same
// demands of the next peer.
func WithDemands(ctx context.Context, demands ...Demand) context.Context {
	all := append(append([]Demand{}, demandsOf(ctx)...), demands...)
	return context.WithValue(ctx, demandsKey{}, all)
}

func demandsOf(ctx context.Context) []Demand {
	demands, _ := ctx.Value(demandsKey{}).([]Demand)
	return demands
}

type peerKey struct{}

// PeerOf returns the verdict on the peer that a response came from, as it was when
// the request was sent. There is none where the transport has no Verifier, and for
// a response of another transport.
func PeerOf(resp *http.Response) (*attestation.Result, bool) {
	if resp == nil || resp.Request == nil {
		return nil, false
	}
	r, ok := resp.Request.Context().Value(peerKey{}).(*attestation.Result)
	return r, ok && r != nil
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	addr, err := address(req.URL)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	for repeats := 0; ; repeats++ {
		c, err := t.connection(req.Context(), addr)
		if err != nil {
			closeBody(req)
			return nil, err
		}
		served := c.served.Load()
		resp, sent, err := c.roundTrip(req)
		if err == nil {
			return resp, nil
		}
		var again *http.Request
		if stale := served && c.usable() != nil; repeats < maxRepeats && (stale || notProcessed(err)) {
			again = repeat(req, sent && !notProcessed(err))
		}
		if again == nil {
			if !sent {
				closeBody(req) // net/http does not, of a request that is invalid
			}
			return nil, err
		}
		req = again
	}
}

// address is where an https URL leads, in the form of a network address.
func address(u *url.URL) (string, error) {
	switch {
	case u == nil || u.Host == "":
		return "", fmt.Errorf("%w: the URL has no host", ErrNotHTTPS)
	case u.Scheme != "https":
		return "", fmt.Errorf("%w: the scheme is %.20q", ErrNotHTTPS, u.Scheme)
	}
	host := u.Hostname()
	if strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return "", fmt.Errorf("%w: the host is not ASCII; write it in its xn-- form", ErrNotHTTPS)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(host, port), nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// repeat returns a request to be sent once more, or nil if that could do harm.
func repeat(req *http.Request, sent bool) *http.Request {
	if req.Context().Err() != nil || sent && !idempotent(req) {
		return nil
	}
	if req.Body == nil || req.Body == http.NoBody {
		return req
	}
	if req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	again := *req
	again.Body = body
	return &again
}

// idempotent tells methods that may be sent twice (RFC 9110, Section 9.2.2), as far
// as net/http counts on it, and requests that say so.
func idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != ""
}

// notProcessed tells that the server has not looked at the request (RFC 9113,
// Sections 6.8 and 8.7).
func notProcessed(err error) bool {
	var e streamError
	if errors.As(err, &e) {
		return e.Code == refusedStream
	}
	return slices.ContainsFunc(unprocessed, func(text string) bool { return strings.HasSuffix(err.Error(), text) })
}

// unprocessed are the texts of errors that net/http does not export: the request came
// after the last one that a server which ends has looked at (GOAWAY), or was not sent,
// because the connection takes none any more.
var unprocessed = []string{
	"http2: Transport received Server's graceful shutdown GOAWAY",
	"http2: client conn not usable",
}

// refusedStream is REFUSED_STREAM (RFC 9113, Section 7).
const refusedStream = 0x7

// streamError has the fields of the error by which net/http reports the reset of an
// HTTP/2 stream. That type is not exported; [errors.As] finds it by its fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream reset with code %d", e.Code) }
