package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/lifetime"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/relay"
	"github.com/expat-go/expat/expathttp"
)

// Limits of HTTP.
const (
	maxHeaderBytes = 64 << 10
	maxIdle        = 64 // connections kept for an upstream
)

// http gives a generation what HTTP needs.
func (g *generation) http() error {
	// Under TLS the end of a connection is not that of an answer.
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := g.dial(ctx, nil)
		if err != nil {
			return nil, err
		}
		return carrier{conn}, nil
	}
	if g.spec.Side == config.Server {
		if g.backend == nil {
			dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return g.dial(ctx, nil) }
		}
		t := &http.Transport{
			DialContext: dial, TLSClientConfig: g.backend, TLSHandshakeTimeout: g.spec.Timeouts.Connect, ForceAttemptHTTP2: g.backend != nil,
			IdleConnTimeout: g.spec.Timeouts.Idle, MaxIdleConnsPerHost: maxIdle, DisableCompression: true,
		}
		g.transport, g.upgrades, g.closeIdle = t, t, t.CloseIdleConnections
		return nil
	}
	o := expathttp.Options{DialContext: dial, IdleTimeout: g.spec.Timeouts.Idle, MaxIdle: maxIdle, DisableCompression: true}
	t, err := expathttp.NewTransport(g.client, o)
	if err != nil {
		return err
	}
	http1 := g.client.Clone()
	http1.TLS.NextProtos = []string{"http/1.1"}
	u, err := expathttp.NewTransport(http1, o)
	if err != nil {
		return err
	}
	g.transport, g.upgrades = t, u
	g.closeIdle = func() {
		t.CloseIdleConnections()
		u.CloseIdleConnections()
	}
	return nil
}

// reverse is the handler of a generation.
func (g *generation) reverse() http.Handler {
	p := g.proxy
	return &httputil.ReverseProxy{
		Rewrite:        g.rewrite,
		Transport:      g,
		ModifyResponse: g.answer,
		ErrorHandler:   p.failed,
		ErrorLog:       slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
}

// rewrite makes the request for the upstream. No header of a sidecar passes in either
// direction, but the one that this one signs.
func (g *generation) rewrite(r *httputil.ProxyRequest) {
	strip(r.Out.Header, sidecars)
	strip(r.Out.Trailer, sidecars)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // for the upstream to understand
	if !websocket(r.Out.Header) {
		r.Out.Header.Del("Connection")
		r.Out.Header.Del("Upgrade")
	}
	if g.spec.Side == config.Client {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v, ok := r.In.Header[name]; ok {
				r.Out.Header[name] = v // the program's own: this side adds nothing
			}
		}
		host := g.spec.ServerName
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", host, host
		return
	}
	r.Out.URL.Scheme, r.Out.URL.Host = "http", "upstream"
	if g.backend != nil {
		r.Out.URL.Scheme = "https"
	}
	strip(r.Out.Header, forwarded)
	r.SetXForwarded()
	if result, ok := expathttp.FromRequest(r.In); ok {
		conn, _ := expat.FromContext(r.In.Context())
		g.sign(r.In.Context(), r.Out.Header, result, conn)
	}
}

// answer prepares a response of the upstream.
func (g *generation) answer(resp *http.Response) error {
	strip(resp.Header, sidecars)
	stripTrailers(resp)
	if result, ok := expathttp.PeerOf(resp); ok {
		carried, _ := resp.Request.Context().Value(carriedKey{}).(*atomic.Pointer[expat.Conn])
		g.sign(resp.Request.Context(), resp.Header, result, carried.Load())
	}
	return nil
}

// sign adds the header, where there is a key, about the peer of a connection. Without a
// signature there is none: no backend can take that for a verdict.
func (g *generation) sign(ctx context.Context, h http.Header, r *attestation.Result, conn *expat.Conn) {
	if g.proxy.signer == nil {
		return
	}
	token, err := g.proxy.signer.token(ctx, r, conn.Expires())
	if err != nil {
		g.proxy.sampled.write(slog.LevelError, "sign", "result not signed", "error", oneLine(err))
		return
	}
	h.Set(resultHeader, token)
}

// failed answers a request that the upstream did not.
func (p *proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadGateway
	var attested *expat.Error
	switch {
	case r.Context().Err() != nil: // the client is gone
	case errors.Is(err, errResponse):
		status = http.StatusGatewayTimeout
		p.unreachable(err)
	case errors.Is(err, expat.ErrExpired):
		p.metrics.expiries.WithLabelValues(p.name).Inc()
	case !errors.As(err, &attested): // else counted and logged by the trace
		p.unreachable(err)
	}
	w.WriteHeader(status)
}

type connKey struct{}

// handle serves a request with the generation of the moment.
func (p *proxy) handle(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	defer p.requests.Add(-1)
	switch {
	case r.Method == http.MethodConnect:
		http.Error(w, "a sidecar is no forward proxy", http.StatusMethodNotAllowed)
		return
	case r.URL.Opaque != "":
		http.Error(w, "the request target has no path", http.StatusBadRequest)
		return
	}
	if nc, ok := r.Context().Value(connKey{}).(net.Conn); ok && websocket(r.Header) {
		defer context.AfterFunc(r.Context(), func() { relay.Abort(nc) })() // the server no longer knows it
	}
	defer func() {
		why := recover()
		if why == nil {
			return
		}
		// The end of the connection may be what ends an answer (RFC 9112, Section 6.3).
		if nc, ok := r.Context().Value(connKey{}).(net.Conn); ok && r.ProtoMajor == 1 {
			relay.Abort(nc)
		}
		panic(why)
	}()
	p.current.Load().reverse().ServeHTTP(w, r)
}

// prepareHTTP makes the server of a proxy in mode http, whose requests end with ctx.
func (p *proxy) prepareHTTP(ctx context.Context) error {
	s := &http.Server{
		Handler:           http.HandlerFunc(p.handle),
		ReadHeaderTimeout: p.spec.Timeouts.Handshake,
		IdleTimeout:       p.spec.Timeouts.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
	}
	p.server = s
	if p.spec.Side == config.Client {
		s.Protocols = new(http.Protocols)
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetUnencryptedHTTP2(true)
		p.serveListener = func() error { return s.Serve(p.listener) }
		return nil
	}
	var conns sync.Map // net.Conn -> *expat.Conn
	s.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if conn, ok := expat.FromContext(ctx); ok {
			conns.Store(nc, conn)
		}
		return context.WithValue(ctx, connKey{}, nc)
	}
	s.ConnState = func(nc net.Conn, state http.ConnState) {
		if state != http.StateClosed && state != http.StateHijacked {
			return
		}
		if conn, ok := conns.LoadAndDelete(nc); ok {
			p.ended(conn.(*expat.Conn))
		}
	}
	attested, err := expathttp.NewServer(s, p.serverConfig())
	if err != nil {
		return err
	}
	p.serveListener = func() error { return attested.Serve(carriers{p.listener}) }
	return nil
}

// ended counts a connection that ended because a verdict ran out.
func (p *proxy) ended(c *expat.Conn) {
	if (lifetime.Conn{Conn: c}).Expired() {
		p.metrics.expiries.WithLabelValues(p.name).Inc()
	}
}

// serveHTTP serves until the server is shut down.
func (p *proxy) serveHTTP() error {
	if err := p.serveListener(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
