package proxy

import (
	"context"
	"crypto/tls"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/remote"
)

// judge is what judges peers; the zero judge demands nothing.
type judge struct {
	attestation.Verifier
	policy *policy.Reloading
	close  func() error
}

func (j *judge) Close() error {
	if j.close == nil {
		return nil
	}
	return j.close()
}

// newJudge makes what a configuration demands of peers; changed is told of new
// policies.
func newJudge(ctx context.Context, v *config.Verify, changed func(*policy.Policy, error)) (*judge, error) {
	switch {
	case v == nil:
		return new(judge), nil
	case v.Remote != nil:
		return newRemote(v.Remote)
	}
	r, err := policy.NewReloading(ctx, v.Policy, policy.ReloadOptions{Options: platform.PolicyOptions(), Changed: changed})
	if err != nil {
		return nil, strictyaml.First(err, "expat policy check "+v.Policy)
	}
	return &judge{Verifier: r, policy: r}, nil
}

func newRemote(c *config.Remote) (*judge, error) {
	keys, err := ear.JWKSFile(c.Keys)
	if err != nil {
		return nil, err
	}
	checker, err := ear.NewChecker(ear.CheckerOptions{Keys: keys, Issuer: c.Issuer, AllowUnnamedIssuer: c.AllowUnnamedIssuer})
	if err != nil {
		return nil, err
	}
	o := remote.Options{
		URL: c.URL, PlainHTTPToLoopback: c.PlainHTTPToLoopback, MediaTypes: c.MediaTypes, Checker: checker,
		SendKey: c.SendKey, AcceptUnattestedKey: c.AcceptUnattestedKey,
	}
	if c.Roots != "" {
		roots, err := make(files).roots(c.Roots)
		if err != nil {
			return nil, err
		}
		o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	}
	v, err := remote.New(o)
	if err != nil {
		return nil, err
	}
	return &judge{Verifier: v, close: v.Close}, nil
}
