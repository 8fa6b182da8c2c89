package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/limit"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/relay"
)

// generation is what can change while a proxy runs. It is built whole, and immutable;
// connections end with the one that they began with.
type generation struct {
	proxy       *proxy
	spec        config.Proxy
	certificate *tls.Certificate // nil: this side shows none
	server      *tls.Config      // serves the exchange, on the server side
	client      *expat.Config    // for upstreams, on the client side
	backend     *tls.Config      // for upstreams, on the server side; nil: plain
	transport   http.RoundTripper
	upgrades    http.RoundTripper // for requests that ask for an upgrade
	closeIdle   func()
	next        atomic.Uint32 // the upstream whose turn it is
}

// errUpstreams: no upstream answers.
var errUpstreams = errors.New("no upstream answers")

// generation builds one of a configuration, out of files that it adds to f.
func (p *proxy) generation(spec config.Proxy, f files) (*generation, error) {
	g := &generation{proxy: p, spec: spec, closeIdle: func() {}}
	var roots *x509.CertPool
	var err error
	if spec.Roots != "" {
		if roots, err = f.roots(spec.Roots); err != nil {
			return nil, fmt.Errorf("%s: roots: %w", spec.Name, err)
		}
	}
	shown, err := g.identity(f)
	if err != nil {
		return nil, fmt.Errorf("%s: identity: %w", spec.Name, err)
	}
	if b := spec.BackendTLS; b != nil {
		if g.backend, err = backendTLS(b, f, p.now()); err != nil {
			return nil, fmt.Errorf("%s: backend_tls: %w", spec.Name, err)
		}
	}
	if spec.Side == config.Server {
		g.server = &tls.Config{Certificates: shown, ClientCAs: roots}
	} else {
		g.client = p.config(&tls.Config{Certificates: shown, RootCAs: roots, ServerName: spec.ServerName})
		g.client.Trace.Done = p.decided
	}
	if spec.Mode == config.HTTP {
		if err := g.http(); err != nil {
			return nil, fmt.Errorf("%s: %w", spec.Name, err)
		}
	}
	return g, nil
}

// identity finds the certificate of this side. It returns those that TLS names: none
// where they are issued here, and [proxy.identities] has the newest.
func (g *generation) identity(f files) (shown []tls.Certificate, err error) {
	p, id := g.proxy, g.spec.Identity
	if id == nil {
		return nil, nil
	}
	if g.certificate = p.issued.Load(); g.certificate != nil {
		return nil, nil
	}
	g.certificate = &p.own.Certificate // enrolled
	if id.Certificate != "" {
		if g.certificate, err = f.certificate(id.Certificate, id.Key, p.now()); err != nil {
			return nil, err
		}
	}
	return []tls.Certificate{*g.certificate}, nil
}

func backendTLS(b *config.BackendTLS, f files, now time.Time) (*tls.Config, error) {
	roots, err := f.roots(b.Roots)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: roots, ServerName: b.ServerName, MinVersion: tls.VersionTLS12}
	if b.Certificate != "" {
		cert, err := f.certificate(b.Certificate, b.Key, now)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{*cert}
	}
	return c, nil
}

// limits are those of the listener.
func (g *generation) limits() limit.Limits {
	l := g.spec.Limits
	return limit.Limits{Connections: l.Connections, PerClient: l.ConnectionsPerClient, NewPerSec: l.NewPerSecondPerClient}
}

// dial connects to the first upstream that answers, from the one whose turn it is, for
// a client of the server side or nil. The exchange, on the client side, is not its part.
func (g *generation) dial(ctx context.Context, client *expat.Conn) (relay.Conn, error) {
	first := int(g.next.Add(1) - 1)
	errs := []error{errUpstreams}
	for i := range g.spec.Upstreams {
		conn, err := g.dialOne(ctx, g.spec.Upstreams[(first+i)%len(g.spec.Upstreams)], client)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (g *generation) dialOne(ctx context.Context, upstream string, client *expat.Conn) (relay.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.spec.Timeouts.Connect)
	defer cancel()
	network, address := config.Address(upstream)
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		g.missed(ctx, upstream)
		return nil, err
	}
	conn, err := g.prepare(ctx, nc, client)
	if err != nil {
		g.missed(ctx, upstream)
		return nil, errors.Join(fmt.Errorf("%s: %w", upstream, err), nc.Close())
	}
	return conn, nil
}

// missed counts an upstream that did not answer, unless nobody waited for it any more.
func (g *generation) missed(ctx context.Context, upstream string) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		g.proxy.metrics.upstreams.WithLabelValues(g.spec.Name, upstream).Inc()
	}
}

// prepare says on a connection what comes before the stream: whose it is, then TLS.
func (g *generation) prepare(ctx context.Context, nc net.Conn, client *expat.Conn) (relay.Conn, error) {
	if g.spec.ProxyProtocol != "" {
		header, err := announcement(client)
		if err != nil {
			return nil, err
		}
		if deadline, ok := ctx.Deadline(); ok {
			_ = nc.SetWriteDeadline(deadline) // of a connection that is open
		}
		if _, err := nc.Write(header); err != nil {
			return nil, err
		}
		_ = nc.SetWriteDeadline(time.Time{})
	}
	if g.backend == nil || g.spec.Mode == config.HTTP { // net/http does its TLS
		return nc.(relay.Conn), nil
	}
	tc := tls.Client(carrier{nc}, g.backend)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}

// answers tells whether one of the upstreams can be reached. All are asked at a time.
func (g *generation) answers(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(g.spec.Upstreams))
	for _, upstream := range g.spec.Upstreams {
		go func() {
			conn, err := g.dialOne(ctx, upstream, nil)
			if err == nil {
				err = conn.Close()
			}
			results <- err
		}()
	}
	errs := []error{errUpstreams}
	for range g.spec.Upstreams {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
