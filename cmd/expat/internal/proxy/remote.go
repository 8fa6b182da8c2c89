package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/remote"
)

// newRemote makes a client of a Verifier elsewhere; stop lets go of it.
func newRemote(c *config.Remote) (v *remote.Verifier, stop func() error, err error) {
	checker, forget, err := newChecker(c.Keys, c.Roots, c.PlainHTTPToLoopback, ear.CheckerOptions{
		Issuer: c.Issuer, AllowUnnamedIssuer: c.AllowUnnamedIssuer, Audience: c.Audience,
	})
	if err != nil {
		return nil, nil, err
	}
	o := remote.Options{
		URL: c.URL, PlainHTTPToLoopback: c.PlainHTTPToLoopback, MediaTypes: c.MediaTypes, ReportDataTypes: c.ReportDataTypes,
		Checker: checker, SendKey: c.SendKey, AcceptUnattestedKey: c.AcceptUnattestedKey,
	}
	if o.TLS, err = remoteTLS(c); err != nil {
		return nil, nil, err
	}
	if c.Token != "" {
		o.Token = func(context.Context) (string, error) { return readToken(c.Token) }
		if _, err := readToken(c.Token); err != nil {
			return nil, nil, err
		}
	}
	if v, err = remote.New(o); err != nil {
		return nil, nil, err
	}
	return v, func() error { return errors.Join(v.Close(), forget()) }, nil
}

// newChecker judges results by keys of a file or a URL; stop lets go of connections.
func newChecker(keys, roots string, plain bool, o ear.CheckerOptions) (c *ear.Checker, stop func() error, err error) {
	stop = func() error { return nil }
	if config.IsURL(keys) {
		t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}
		if roots != "" {
			if t.TLSClientConfig.RootCAs, err = make(files).roots(roots); err != nil {
				return nil, nil, err
			}
		}
		stop = func() error { t.CloseIdleConnections(); return nil }
		o.Keys, err = ear.NewNetworkJWKS(keys, ear.NetworkOptions{Transport: t, AllowLoopbackHTTP: plain})
	} else {
		o.Keys, err = ear.JWKSFile(keys)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	c, err = ear.NewChecker(o)
	return c, stop, err
}

// remoteTLS is TLS to a Verifier elsewhere. The pair that it is shown is read for each
// connection; until a new certificate and a new key fit each other it is the one before.
func remoteTLS(c *config.Remote) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS13}
	var err error
	if c.Roots != "" {
		if t.RootCAs, err = make(files).roots(c.Roots); err != nil {
			return nil, err
		}
	}
	if c.Certificate == "" {
		return t, nil
	}
	last, err := make(files).certificate(c.Certificate, c.Key, time.Now())
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if next, err := make(files).certificate(c.Certificate, c.Key, time.Now()); err == nil {
			last = next
		}
		return last, nil
	}
	return t, nil
}

// errToken: a file holds no token.
var errToken = errors.New("it does not hold one token")

func readToken(name string) (string, error) {
	b, err := strictyaml.Read(name)
	if err != nil {
		return "", err
	}
	if b = bytes.TrimSpace(b); len(b) == 0 || bytes.ContainsAny(b, " \t\r\n") {
		return "", fmt.Errorf("%s: %w", name, errToken)
	}
	return string(b), nil
}
