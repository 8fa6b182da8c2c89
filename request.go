package expat

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/bounded"
	"github.com/expat-go/expat/internal/wire"
)

// This file is the relying party: request, validate, appraise, result.

// newRequest asks for attestation, and for a staple.
func (x *exchange) newRequest(ctx context.Context) (*authenticator.Request, error) {
	o := authenticator.RequestOptions{OCSP: true, Extensions: []authenticator.Extension{x.profile.Offer()}}
	// A name guides a server that has several identities. One that no CA
	// vouches for has no name, one that a URI names no DNS name.
	if name := x.conn.serverName; x.role == authenticator.Client && !x.AttestedKeyOnly && x.RootsForURI == nil && net.ParseIP(name) == nil {
		o.ServerName = name
	}
	if x.Nonce != nil {
		var err error
		if o.Nonce, err = bounded.Call(ctx, func() ([]byte, error) { return x.Nonce(ctx) }); err != nil {
			return nil, fmt.Errorf("nonce: %w", err)
		}
	}
	return x.session.NewRequest(o)
}

// receiveAuthenticator takes the peer's authenticator through all checks, sends
// the verdict, and what waited for it.
func (x *exchange) receiveAuthenticator(ctx context.Context, payload []byte) *Error {
	x.state.ask = askJudging
	v, err := x.judge(ctx, x.request, payload)
	if err != nil {
		return err
	}
	verdict, err := v.frame()
	if err != nil {
		return err
	}
	x.verdict = *v
	x.out.send(verdict)
	x.state.ask = askDone
	if x.state.answer == answerOwed {
		return x.respond(ctx)
	}
	return nil
}

// verdict is what we found of the peer.
type verdict struct {
	peer   *authenticator.Peer
	result *attestation.Result
	made   instant
	ours   instant // when it runs out
}

// judge validates an authenticator and appraises what it carries.
func (x *exchange) judge(ctx context.Context, q *authenticator.Request, payload []byte) (v *verdict, err *Error) {
	err = x.work(ctx, StageValidate, func() *Error {
		peer, err := x.validate(ctx, q, payload)
		if err != nil {
			return err
		}
		v, err = x.appraise(ctx, peer)
		return err
	})
	return v, err
}

func (x *exchange) validate(ctx context.Context, q *authenticator.Request, payload []byte) (*authenticator.Peer, *Error) {
	start := time.Now()
	verify := func(c authenticator.Chain) error { return x.verifyChain(ctx, c) }
	peer, err := x.session.Validate(q, payload, authenticator.ValidateOptions{VerifyChain: verify})
	if err == nil {
		err = x.checkLeaf(peer)
	}
	x.Trace.validated(time.Since(start), err)
	if err != nil {
		return nil, failed(StageValidate, x.explain(err))
	}
	return peer, nil
}

func (x *exchange) appraise(ctx context.Context, peer *authenticator.Peer) (*verdict, *Error) {
	start := time.Now()
	short, cancel := context.WithTimeout(ctx, x.verifier)
	defer cancel()
	result, err := attestation.Appraise(short, x.profile, peer, x.Verifier)
	x.Trace.appraised(result, time.Since(start), err)
	if errors.Is(err, attestation.ErrUnavailable) && errors.Is(ctx.Err(), context.Canceled) {
		err = over(ctx) // the caller gave up, not the Verifier
	}
	if err != nil {
		return nil, failed(StageAppraise, err)
	}
	v := &verdict{peer: peer, result: result, made: x.instant()}
	if l := result.Lifetime(); l != attestation.ConnectionLifetime {
		v.ours = v.made.add(l.Truncate(time.Second)) // as the peer is told it
	}
	return v, nil
}

// frame is RESULT 0 with the lifetime.
func (v *verdict) frame() (frame, *Error) {
	m := wire.ResultMap{Code: uint16(AlertAccepted)}
	if l := v.result.Lifetime(); l != attestation.ConnectionLifetime {
		m.Lifetime = l
	}
	payload, err := m.Encode()
	if err != nil {
		return frame{}, failed(StageAppraise, err)
	}
	return frame{wire.Result, payload}, nil
}

// explain adds to a signature that fails on an honest connection what to look
// for (RFC 9261, Section 5.2.2).
func (x *exchange) explain(err error) error {
	if !errors.Is(err, authenticator.ErrSignature) && !errors.Is(err, authenticator.ErrFinished) {
		return err
	}
	check, e := x.session.ConnectionCheck()
	if e != nil {
		return err
	}
	return fmt.Errorf("%w (or a proxy ends the TLS connection between the two sides: then their connection checks differ, ours is %x)", err, check)
}

// checkLeaf compares the authenticator's certificate with ours and with that of
// the handshake.
func (x *exchange) checkLeaf(peer *authenticator.Peer) error {
	for _, id := range x.signers() {
		if bytes.Equal(id.SPKI(), peer.SPKI()) {
			return ErrReflected
		}
	}
	if old := x.peer; old != nil && !x.AllowKeyChange && !bytes.Equal(old.SPKI(), peer.SPKI()) {
		return fmt.Errorf("%w, which AllowKeyChange would allow", ErrKeyChanged)
	}
	if x.RequireSameLeaf {
		shown := x.tls.ConnectionState().PeerCertificates
		if len(shown) == 0 || !bytes.Equal(shown[0].Raw, peer.Leaf().Raw) {
			return fmt.Errorf("%w: it is not the one of the TLS handshake, as RequireSameLeaf demands", authenticator.ErrCertificate)
		}
	}
	return nil
}

// verifyChain is the X.509 validation of the authenticator's chain, which
// attestation never replaces.
func (x *exchange) verifyChain(ctx context.Context, c authenticator.Chain) error {
	if err := x.verifyIssuer(ctx, c); err != nil {
		return err
	}
	if x.RequireOCSPStaple && c.OCSPStaple == nil {
		return errors.New("no OCSP response is stapled, as RequireOCSPStaple demands")
	}
	if x.CheckRevocation == nil {
		return nil
	}
	_, err := bounded.Call(ctx, func() (struct{}, error) { return struct{}{}, x.CheckRevocation(ctx, c) })
	return err
}

func (x *exchange) verifyIssuer(ctx context.Context, c authenticator.Chain) error {
	if x.AttestedKeyOnly {
		leaf, now := c.Certificates[0], x.now()
		if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			return fmt.Errorf("certificate is valid from %v to %v", leaf.NotBefore, leaf.NotAfter)
		}
		return nil
	}
	if x.RootsForURI != nil {
		return x.verifyPeerURI(ctx, c)
	}
	if x.role == authenticator.Client {
		if verified := x.handshakeChain(c); verified != nil {
			return checkStaple(c, verified, x.now())
		}
		return authenticator.VerifyServerChain(x.roots, x.conn.serverName, x.now)(c)
	}
	roots, err := clientRoots(x.conn.servedBy())
	if err != nil {
		return err
	}
	return authenticator.VerifyClientChain(roots, x.now)(c)
}

// handshakeChain returns the chain that crypto/tls verified in the handshake, if
// the authenticator shows the very same certificates: it was led to the same
// roots for the same name a moment ago, and to do so again would take half as
// long as all else here. Any other chain, and any that crypto/tls did not
// verify, is nil.
func (x *exchange) handshakeChain(c authenticator.Chain) []*x509.Certificate {
	if x.peer != nil || x.conn.apart != nil {
		return nil // the handshake was long ago, or not ours
	}
	cs := x.tls.ConnectionState()
	same := slices.EqualFunc(c.Certificates, cs.PeerCertificates, (*x509.Certificate).Equal)
	if !same || len(cs.VerifiedChains) == 0 {
		return nil
	}
	return cs.VerifiedChains[0]
}

// checkStaple judges an OCSP response, if one is stapled.
func checkStaple(c authenticator.Chain, verified []*x509.Certificate, now time.Time) error {
	if c.OCSPStaple == nil {
		return nil
	}
	return authenticator.CheckStaple(c.OCSPStaple, verified, now)
}
