package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/bounded"
)

// This file finds the certificates that this side shows: in authenticators, and
// in the TLS handshake where TLS names none.

var errNoCertificate = errors.New("it gave no certificate")

// askIdentities calls GetIdentities, which has until ctx ends.
func (c *Config) askIdentities(ctx context.Context) ([]tls.Certificate, error) {
	certs, err := bounded.Call(ctx, func() ([]tls.Certificate, error) { return c.GetIdentities(ctx) })
	if err == nil && len(certs) == 0 {
		err = errNoCertificate
	}
	if err != nil {
		return nil, fmt.Errorf("GetIdentities: %w", err)
	}
	return certs, nil
}

// supply is what GetIdentities gave for one connection. It is asked once, where a
// certificate is needed first: in the TLS handshake, or for the exchange.
type supply struct {
	ctx   context.Context // of HandshakeContext; see within
	asked bool
	certs []tls.Certificate
	err   error
}

func (s *supply) certificates(ctx context.Context, c *Config) ([]tls.Certificate, error) {
	if !s.asked {
		s.asked = true
		s.certs, s.err = c.askIdentities(ctx)
	}
	return s.certs, s.err
}

type supplyKey struct{}

// within bounds what is plugged into a TLS handshake that runs under ctx. That of a
// [Stream] may have no end: QUIC's is the connection's.
func (p *prepared) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if s, ok := ctx.Value(supplyKey{}).(*supply); ok {
		ctx = s.ctx
	}
	return context.WithTimeout(ctx, p.timeout)
}

// supplied are the certificates for the connection whose TLS handshake ctx is of.
func (p *prepared) supplied(ctx context.Context) ([]tls.Certificate, error) {
	bound, cancel := p.within(ctx)
	defer cancel()
	if s, ok := ctx.Value(supplyKey{}).(*supply); ok {
		return s.certificates(bound, p.Config)
	}
	if o, ok := ctx.Value(originKey{}).(*origin); ok {
		return o.supply.certificates(bound, p.Config)
	}
	return p.askIdentities(bound) // of a Stream's client
}

// supplyServer makes GetIdentities the source of a server's TLS certificate, if
// TLS names none.
func (p *prepared) supplyServer(h *tls.Config) {
	if p.GetIdentities == nil || h.GetCertificate != nil || len(h.Certificates) > 0 {
		return
	}
	h.GetCertificate = func(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
		certs, err := p.supplied(info.Context())
		if err != nil {
			return nil, err
		}
		for i := range certs {
			if info.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
		return &certs[0], nil // the client says what it minds
	}
}

// supplyClient does the same for a client's. A server that takes none of them is
// shown none, as crypto/tls does.
func (p *prepared) supplyClient(h *tls.Config) {
	if p.GetIdentities == nil || h.GetClientCertificate != nil || len(h.Certificates) > 0 {
		return
	}
	h.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certs, err := p.supplied(info.Context())
		if err != nil {
			return nil, err
		}
		for i := range certs {
			if info.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
}

// identities are what signs our authenticators: those of the Config, else what
// the TLS handshake showed.
func (c *Conn) identities(ctx context.Context) ([]*authenticator.Identity, *Error) {
	p := c.prepared
	switch {
	case p.Attester == nil:
		return nil, nil
	case p.GetIdentities != nil:
		certs, err := c.supply.certificates(ctx, p.Config)
		if err != nil {
			return nil, failed(StageIdentity, err)
		}
		return signing(StageIdentity, certs)
	case len(p.Identities) > 0:
		return p.identities, nil
	case c.shown != nil:
		return signing(StageConfig, []tls.Certificate{*c.shown})
	case c.served != nil:
		return signing(StageConfig, c.served.Certificates)
	}
	return p.identities, nil
}

// signing prepares certificates that are to sign authenticators.
func signing(stage Stage, certs []tls.Certificate) ([]*authenticator.Identity, *Error) {
	out := make([]*authenticator.Identity, len(certs))
	for i, cert := range certs {
		var err error
		if out[i], err = authenticator.NewIdentity(cert); err != nil {
			return nil, failed(stage, fmt.Errorf("%w: certificate %d that is to sign: %w", ErrConfig, i, err))
		}
	}
	return out, nil
}

// signers are the identities that sign our authenticators.
func (x *exchange) signers() []*authenticator.Identity {
	x.ownMu.Lock()
	defer x.ownMu.Unlock()
	return x.own
}

// renewSigners asks GetIdentities again, if it is set.
func (x *exchange) renewSigners(ctx context.Context) *Error {
	if x.GetIdentities == nil || x.Attester == nil {
		return nil
	}
	certs, err := x.askIdentities(ctx)
	if err != nil {
		return failed(StageIdentity, err)
	}
	own, e := signing(StageIdentity, certs)
	if e != nil {
		return e
	}
	x.ownMu.Lock()
	defer x.ownMu.Unlock()
	x.own = own
	return nil
}
