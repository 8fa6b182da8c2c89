package platform

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
	"github.com/expat-go/expat/verifier/remote"
)

// ErrElsewhere: what is said of a Verifier elsewhere cannot be used.
var ErrElsewhere = errors.New("verifier elsewhere")

// Elsewhere says whose word counts where a Verifier elsewhere appraises.
type Elsewhere struct {
	Keys   string // file or https URL of the JWK Set that its results are signed with
	CA     string // file of the roots in PEM for its URL and that of Keys; "": the system's
	Issuer string
}

// DefaultKeys is the JWK Set that expat verifier serve leaves in a state directory.
func DefaultKeys(path string) string { return filepath.Join(path, appraise.JWKSFile) }

// Judge has Evidence of a platform appraised at a URL: the background-check model
// (RFC 9334, Section 5.2). The error wraps [ErrElsewhere].
func (e Elsewhere) Judge(url, platform string) (*remote.Verifier, error) {
	types, err := mediaTypes(platform)
	if err != nil {
		return nil, err
	}
	return e.client(url, types)
}

// Accept judges results that the other side obtained itself: the passport model
// (RFC 9334, Section 5.1). With keyBound, also those that were issued before the
// connection: see [passport.VerifierOptions]. The error wraps [ErrElsewhere].
func (e Elsewhere) Accept(keyBound bool) (*passport.Verifier, error) {
	checker, err := e.checker()
	if err != nil {
		return nil, err
	}
	v, err := passport.NewVerifier(passport.VerifierOptions{Checker: checker, KeyBound: keyBound})
	return v, elsewhere(err)
}

// Passport has o show results of the Verifier at a URL in place of its Evidence, for
// each connection or, if cached, one for its key that is renewed. o is closed with what
// is returned, also where that is an error, which wraps [ErrElsewhere].
func (e Elsewhere) Passport(ctx context.Context, o *Own, url string, cached bool) (own *Own, err error) {
	closers := []func() error{o.Close}
	all := func() error {
		var errs []error
		for _, c := range slices.Backward(closers) {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, all())
		}
	}()
	client, err := e.client(url, o.Attester.MediaTypes())
	if err != nil {
		return nil, err
	}
	closers = append(closers, client.Close)
	source, err := client.Source(o.Attester)
	if err != nil {
		return nil, elsewhere(err)
	}
	if !cached {
		a, err := passport.NewPerConnection(source)
		return &Own{Attester: a, Certificate: o.Certificate, close: all}, elsewhere(err)
	}
	leaf, err := x509.ParseCertificate(o.Certificate.Certificate[0])
	if err != nil {
		return nil, elsewhere(err)
	}
	a, err := passport.NewCached(ctx, passport.CachedOptions{Source: source, SPKI: leaf.RawSubjectPublicKeyInfo})
	if err != nil {
		return nil, elsewhere(err)
	}
	closers = append(closers, a.Close)
	return &Own{Attester: a, Certificate: o.Certificate, close: all}, nil
}

// client asks the service as "expat verifier serve" demands it: with the key.
func (e Elsewhere) client(url string, types []string) (*remote.Verifier, error) {
	checker, err := e.checker()
	if err != nil {
		return nil, err
	}
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	v, err := remote.New(remote.Options{
		URL: url, PlainHTTPToLoopback: true, TLS: &tls.Config{RootCAs: roots},
		MediaTypes: types, Checker: checker, SendKey: true,
	})
	return v, elsewhere(err)
}

func (e Elsewhere) checker() (*ear.Checker, error) {
	keys, err := e.keys()
	if err != nil {
		return nil, fmt.Errorf("%w: --verifier-keys: %w; \"expat verifier serve --state DIR\" leaves them in DIR", ErrElsewhere, err)
	}
	c, err := ear.NewChecker(ear.CheckerOptions{Keys: keys, Issuer: e.Issuer})
	return c, elsewhere(err)
}

func (e Elsewhere) keys() (ear.KeySource, error) {
	if !strings.Contains(e.Keys, "://") {
		return ear.JWKSFile(e.Keys)
	}
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	return ear.NewNetworkJWKS(e.Keys, ear.NetworkOptions{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2: true,
	}})
}

// roots are nil for the system's.
func (e Elsewhere) roots() (*x509.CertPool, error) {
	if e.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(e.CA)
	if err != nil {
		return nil, fmt.Errorf("%w: --verifier-ca: %w", ErrElsewhere, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%w: --verifier-ca: %s holds no certificate in PEM", ErrElsewhere, e.CA)
	}
	return roots, nil
}

func elsewhere(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrElsewhere, err)
}

// mediaTypes are those of the Evidence of a platform, or of several in one device.
func mediaTypes(name string) ([]string, error) {
	parts, err := Parse(name)
	if err != nil {
		return nil, err
	}
	var types []string
	for _, p := range PolicyOptions().Platforms {
		if slices.Contains(parts, p.Name) {
			types = append(types, p.MediaTypes...)
		}
	}
	return types, nil
}
