package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/limit"
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
	p.tellOpen(spec.Secrets())
	return g, nil
}

// tellOpen tells of secrets that everybody on this machine can read or change.
func (p *proxy) tellOpen(secrets []string) {
	for _, name := range secrets {
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o007 != 0 {
			p.log.Warn("secret is open to everybody", "file", name, "mode", info.Mode().Perm().String())
		}
	}
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
