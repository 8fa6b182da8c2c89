package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/evidence/tdx"
	"github.com/expat-go/expat/verifier/remote"
)

// defaultNames are in certificates that are made of a state directory.
var defaultNames = []string{"localhost", "127.0.0.1", "::1"}

// newOwn makes what proves this side; without an attester it proves nothing. Its
// certificate is empty where that is in a file.
func newOwn(ctx context.Context, p *config.Proxy) (*platform.Own, error) {
	if p.Identity == nil {
		return new(platform.Own), nil
	}
	o, err := ownEvidence(ctx, p)
	if err != nil || p.Identity.Passport == nil {
		return o, err
	}
	client, stop, err := newPassport(p.Identity)
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return platform.Show(o, client, stop, p.Identity.PassportCached)
}

// newPassport makes a client of the Verifier that judges this side; stop lets go of it.
func newPassport(id *config.Identity) (v *remote.Verifier, stop func() error, err error) {
	c := *id.Passport
	if c.MediaTypes == nil {
		if c.MediaTypes, err = platform.MediaTypes(id.Attester); err != nil {
			return nil, nil, err
		}
	}
	if v, stop, err = newRemote(&c); err != nil {
		return nil, nil, fmt.Errorf("passport: %w", err)
	}
	return v, stop, nil
}

func ownEvidence(ctx context.Context, p *config.Proxy) (*platform.Own, error) {
	id := p.Identity
	switch {
	case id.State != "":
		return ownOfState(ctx, p)
	case id.Attester == platform.SEVSNP:
		a, err := sevsnp.NewAttester(sevsnp.AttesterOptions{})
		return own(a, err)
	case id.Attester == platform.TDX:
		a, err := tdx.NewAttester(tdx.AttesterOptions{})
		return own(a, err)
	}
	return new(platform.Own), nil
}

func own(a attestation.Attester, err error) (*platform.Own, error) {
	if err != nil {
		return nil, err
	}
	return &platform.Own{Attester: a}, nil
}

// ownOfState makes a simulated device as expat serve does, with the files of the
// directory where they are not there yet; what else attests must have been enrolled.
func ownOfState(ctx context.Context, p *config.Proxy) (*platform.Own, error) {
	id := p.Identity
	if strings.Contains(id.Attester, platform.Simulated) {
		trust, _, err := state.Create(id.State, time.Now())
		if err == nil {
			err = platform.WritePolicies(id.State, trust)
		}
		if err != nil {
			return nil, err
		}
	}
	side, names := state.Server, id.Names
	if p.Side == config.Client {
		side = state.Client
	}
	if len(names) == 0 {
		names = defaultNames
	}
	return platform.Attest(ctx, platform.Options{State: id.State, Platform: id.Attester, Side: side, TPM: id.TPM, Names: names})
}

// ends tells when a certificate runs out.
func (p *proxy) ends(cert *tls.Certificate) {
	p.metrics.certificate.WithLabelValues(p.name).Set(float64(cert.Leaf.NotAfter.Unix()))
}

// identities is the certificate that was issued last, also for peers that ask anew on
// an open connection: its key is that of the first.
func (p *proxy) identities(context.Context) ([]tls.Certificate, error) {
	return []tls.Certificate{*p.issued.Load()}, nil
}

// renew issues another certificate, where this side issues its own and less than a third
// of the time is left, or the clock was set back before its begin. A failure is told once for each reason, and tried again at the
// next look.
func (p *proxy) renew() {
	cert, now := p.issued.Load(), p.now()
	if cert == nil {
		return
	}
	begin, end := cert.Leaf.NotBefore, cert.Leaf.NotAfter
	if !now.Before(begin) && end.Sub(now) >= end.Sub(begin)/3 {
		return
	}
	next, err := p.own.Renew(now)
	if err != nil {
		if why := oneLine(err); why != p.unrenewed {
			p.unrenewed = why
			p.log.Error("certificate not renewed", "ends", cert.Leaf.NotAfter.Format(time.RFC3339), "error", why)
		}
		return
	}
	p.unrenewed = ""
	p.issued.Store(&next)
	p.ends(&next)
	p.log.Info("certificate renewed", "ends", next.Leaf.NotAfter.Format(time.RFC3339))
}
