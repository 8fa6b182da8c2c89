package expat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/bounded"
)

// This file is X.509 validation of peers that are known by a URI, as
// Config.RootsForURI demands.

// signs are the usages of a CA's key. A leaf has neither (X.509-SVID, Section 5.2).
const signs = x509.KeyUsageCertSign | x509.KeyUsageCRLSign

// uriOf is the name of a leaf: its only URI.
func uriOf(leaf *x509.Certificate) (*url.URL, error) {
	switch {
	case leaf.IsCA || leaf.KeyUsage&signs != 0:
		return nil, errors.New("the peer's certificate is that of a CA")
	case len(leaf.URIs) != 1:
		return nil, fmt.Errorf("the peer's certificate has %d URI names, RootsForURI demands one", len(leaf.URIs))
	}
	return leaf.URIs[0], nil
}

// verifyURI leads a chain to a root that may vouch for the URI of its leaf, for the
// given usage. It returns the verified chain.
func (p *prepared) verifyURI(ctx context.Context, chain []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	name, err := uriOf(chain[0])
	if err != nil {
		return nil, err
	}
	shown := *name // the certificate's stays as it is, whatever the callback does
	roots, err := bounded.Call(ctx, func() (*x509.CertPool, error) { return p.RootsForURI(ctx, &shown) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("RootsForURI: %w", err)
	case roots == nil:
		return nil, errors.New("RootsForURI: it gave no roots")
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: p.now(), KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return nil, err
	}
	return verified[0], nil
}

// verifyHandshake makes the TLS handshake validate the peer's certificate by its
// URI, in place of what crypto/tls would do.
func (p *prepared) verifyHandshake(h *tls.Config, usage x509.ExtKeyUsage) {
	then := h.VerifyConnection
	h.VerifyConnection = func(cs tls.ConnectionState) error {
		if certs := cs.PeerCertificates; len(certs) > 0 || usage == x509.ExtKeyUsageServerAuth {
			if err := p.verifyShown(certs, usage); err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: err}
			}
		}
		if then == nil {
			return nil
		}
		return then(cs)
	}
}

// verifyShown has a deadline of its own: crypto/tls has no context to give.
func (p *prepared) verifyShown(certs []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(certs) == 0 {
		return errors.New("the server shows no certificate")
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	_, err := p.verifyURI(ctx, certs, usage)
	return err
}

// clientByURI makes a client's configuration know servers by their URI.
func (p *prepared) clientByURI(h *tls.Config) {
	if p.RootsForURI == nil {
		return
	}
	h.InsecureSkipVerify = true // verifyHandshake is in its place
	p.verifyHandshake(h, x509.ExtKeyUsageServerAuth)
}

// serverByURI makes a server's configuration know clients by their URI, where it
// validates their certificates at all.
func (p *prepared) serverByURI(h *tls.Config) {
	if p.RootsForURI == nil {
		return
	}
	switch h.ClientAuth {
	case tls.VerifyClientCertIfGiven:
		h.ClientAuth = tls.RequestClientCert
	case tls.RequireAndVerifyClientCert:
		h.ClientAuth = tls.RequireAnyClientCert
	default:
		return
	}
	p.verifyHandshake(h, x509.ExtKeyUsageClientAuth)
}

// verifyPeerURI validates the chain of the peer's authenticator. The peer keeps the
// name that it has shown on this connection, in the TLS handshake or since.
func (x *exchange) verifyPeerURI(ctx context.Context, c authenticator.Chain) error {
	usage := x509.ExtKeyUsageClientAuth
	if x.role == authenticator.Client {
		usage = x509.ExtKeyUsageServerAuth
	}
	var before *x509.Certificate
	if x.peer != nil {
		before = x.peer.Leaf()
	} else if shown := x.tls.ConnectionState().PeerCertificates; len(shown) > 0 {
		before = shown[0]
	}
	verified, err := x.verifyURI(ctx, c.Certificates, usage)
	if err != nil {
		return err
	}
	if before != nil {
		if err := sameURI(before, verified[0]); err != nil {
			return err
		}
	}
	return checkStaple(c, verified, x.now())
}

func sameURI(before, now *x509.Certificate) error {
	was, err := uriOf(before)
	if err == nil && was.String() != now.URIs[0].String() {
		err = fmt.Errorf("the peer is %v now, and was %v before", now.URIs[0], was)
	}
	return err
}
