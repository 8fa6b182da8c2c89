package platform

import (
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
	types, err := MediaTypes(platform)
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

// Passport is [Show] of the Verifier at a URL.
func (e Elsewhere) Passport(o *Own, url string, cached bool) (*Own, error) {
	client, err := e.client(url, o.Attester.MediaTypes())
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return Show(o, client, client.Close, cached)
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

// MediaTypes are those of the Evidence of a platform, or of several in one device.
func MediaTypes(name string) ([]string, error) {
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
