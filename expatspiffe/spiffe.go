// Package expatspiffe lets SPIFFE vouch for the names of attested connections: X.509
// SVIDs are what this side shows, trust bundles are what judges the peer, and the
// peer is known by its SPIFFE ID in place of a DNS name. It is a module of its own, so
// that programs without SPIFFE do not link gRPC.
//
// A SPIFFE ID says who the peer is, attestation what it is; a connection needs both.
// The key of an SVID is the Workload API's, not the environment's: Evidence
// says that the environment names that key, and no more (docs/rotation.md).
//
//	source, err := workloadapi.NewX509Source(ctx)
//	cfg := &expat.Config{
//		TLS:           &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert},
//		GetIdentities: expatspiffe.GetIdentities(source),
//		RootsForURI:   expatspiffe.RootsForURI(source, spiffeid.MatchMemberOf(domain)),
//		…
//	}
package expatspiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Reasons for which a connection fails. They are found with [errors.Is].
var (
	// ErrSource: the source of SVIDs and bundles has nothing to give.
	ErrSource = errors.New("SPIFFE source")
	// ErrID: the peer's URI is not the SPIFFE ID of a workload, which has a path.
	ErrID = errors.New("not the SPIFFE ID of a workload")
	// ErrNotAllowed: the peer's SPIFFE ID is not one that is welcome.
	ErrNotAllowed = errors.New("SPIFFE ID is not allowed")
)

// GetIdentities is for Config.GetIdentities of package expat: it gives the SVID of the
// moment, such as that of a workloadapi.X509Source. It waits for nothing.
func GetIdentities(source x509svid.Source) func(context.Context) ([]tls.Certificate, error) {
	return func(context.Context) ([]tls.Certificate, error) {
		if source == nil {
			return nil, fmt.Errorf("%w: it is nil", ErrSource)
		}
		svid, err := source.GetX509SVID()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSource, err)
		}
		if svid == nil || len(svid.Certificates) == 0 {
			return nil, fmt.Errorf("%w: it gave no SVID", ErrSource)
		}
		cert := tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
		for _, c := range svid.Certificates {
			cert.Certificate = append(cert.Certificate, c.Raw)
		}
		return []tls.Certificate{cert}, nil
	}
}

// RootsForURI is for Config.RootsForURI of package expat. A peer whose SPIFFE ID
// allowed accepts must chain to the bundle of the trust domain of that ID, and to
// no other's: domains that are federated do not vouch for each other's members.
// A nil allowed accepts nobody.
func RootsForURI(source x509bundle.Source, allowed spiffeid.Matcher) func(context.Context, *url.URL) (*x509.CertPool, error) {
	return func(_ context.Context, name *url.URL) (*x509.CertPool, error) {
		if source == nil || allowed == nil {
			return nil, fmt.Errorf("%w: source and allowed must not be nil", ErrNotAllowed)
		}
		id, err := spiffeid.FromURI(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrID, err)
		}
		if id.Path() == "" {
			return nil, fmt.Errorf("%w: %v is that of a trust domain", ErrID, id)
		}
		if err := allowed(id); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotAllowed, err)
		}
		bundle, err := source.GetX509BundleForTrustDomain(id.TrustDomain())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSource, err)
		}
		if bundle == nil {
			return nil, fmt.Errorf("%w: it gave no bundle", ErrSource)
		}
		pool := x509.NewCertPool()
		for _, root := range bundle.X509Authorities() {
			pool.AddCert(root)
		}
		return pool, nil
	}
}
