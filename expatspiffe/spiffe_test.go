package expatspiffe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/expatspiffe"
)

const (
	clientID = "spiffe://a.test/client"
	serverID = "spiffe://a.test/server"
)

// toy is an Attester and Verifier whose Evidence is the binding without a signature.
type toy struct{}

const toyMediaType = "application/vnd.expat-go.toy"

func (toy) MediaTypes() []string { return []string{toyMediaType} }

func (toy) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return cmw.NewRecord(toyMediaType, b.Binder(), cmw.Evidence)
}

func (toy) Appraise(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if !b.MatchBinder(m.Value()) {
		return nil, attestation.Reject(errors.New("binding differs"))
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "toy", Lifetime: attestation.ConnectionLifetime,
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy"}},
	})
}

// config attests and asks, and re-attests when it is told to.
func config(source *workloadapi.X509Source, allowed spiffeid.Matcher) *expat.Config {
	return &expat.Config{
		TLS:      &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert},
		Attester: toy{}, Verifier: toy{}, Reattest: true, Timeout: 10 * time.Second,
		GetIdentities: expatspiffe.GetIdentities(source),
		RootsForURI:   expatspiffe.RootsForURI(source, allowed),
	}
}

func connect(t testing.TB, cc, sc *expat.Config) (c, s *expat.Conn, clientErr, serverErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	cn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	sn, err := ln.Accept()
	require.NoError(t, err)
	c, s = expat.Client(cn, cc), expat.Server(sn, sc)
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	ch := make(chan error, 1)
	go func() { ch <- s.Handshake() }()
	clientErr = c.Handshake()
	return c, s, clientErr, <-ch
}

func id(t testing.TB, s string) spiffeid.ID {
	t.Helper()
	out, err := spiffeid.FromString(s)
	require.NoError(t, err)
	return out
}

func memberOf(t testing.TB, name string) spiffeid.Matcher {
	return spiffeid.MatchMemberOf(id(t, "spiffe://"+name).TrustDomain())
}

// Both sides have nothing but their Workload API, and know each other by SPIFFE ID, in
// the TLS handshake and in authenticators. An SVID that the agent renews is shown from
// then on.
func TestConnection(t *testing.T) {
	t.Parallel()
	d := newDomain(t, "a.test")
	_, clientSource := newAgent(t, d.svid(t, clientID))
	serverAgent, serverSource := newAgent(t, d.svid(t, serverID))
	cc, sc := config(clientSource, spiffeid.MatchID(id(t, serverID))), config(serverSource, memberOf(t, "a.test"))
	cc.AllowKeyChange = true
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, serverID, c.PeerCertificates()[0].URIs[0].String())
	require.Equal(t, clientID, s.PeerCertificates()[0].URIs[0].String())
	require.Equal(t, clientID, s.ConnectionState().PeerCertificates[0].URIs[0].String())

	next := renew(t, serverAgent, serverSource, d.svid(t, serverID))
	_, err := c.Reattest(t.Context())
	require.NoError(t, err)
	require.Equal(t, next.X509Svid, c.PeerCertificates()[0].Raw)
	again, _, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, next.X509Svid, again.ConnectionState().PeerCertificates[0].Raw)

	// SPIRE gives each SVID a new key: without AllowKeyChange the connection ends.
	cc2 := config(clientSource, spiffeid.MatchID(id(t, serverID)))
	c, _, err1, err2 = connect(t, cc2, sc)
	require.NoError(t, errors.Join(err1, err2))
	renew(t, serverAgent, serverSource, d.svid(t, serverID))
	_, err = c.Reattest(t.Context())
	require.ErrorIs(t, err, expat.ErrKeyChanged)
}

// renew has the agent give another SVID, and waits until the source has it.
func renew(t testing.TB, a *agent, source *workloadapi.X509Source, svid *workload.X509SVID) *workload.X509SVID {
	t.Helper()
	a.set(svid)
	require.Eventually(t, func() bool {
		now, err := source.GetX509SVID()
		return err == nil && bytes.Equal(now.Certificates[0].Raw, svid.X509Svid)
	}, 10*time.Second, time.Millisecond)
	return svid
}

// Who is refused, by whom, and why.
func TestRefused(t *testing.T) {
	t.Parallel()
	a, b, impostor := newDomain(t, "a.test"), newDomain(t, "b.test"), newDomain(t, "a.test")
	_, source := newAgent(t, a.svid(t, clientID), b)
	for name, c := range map[string]struct {
		server  *workload.X509SVID
		allowed spiffeid.Matcher
		want    error
		text    string
	}{
		"not the one":             {a.svid(t, "spiffe://a.test/other"), spiffeid.MatchID(id(t, serverID)), expatspiffe.ErrNotAllowed, ""},
		"another domain":          {b.svid(t, "spiffe://b.test/server"), memberOf(t, "a.test"), expatspiffe.ErrNotAllowed, ""},
		"a domain without bundle": {newDomain(t, "c.test").svid(t, "spiffe://c.test/server"), spiffeid.MatchAny(), expatspiffe.ErrSource, ""},
		"a false domain":          {impostor.svid(t, serverID), memberOf(t, "a.test"), nil, "x509: "},
		"nobody is allowed":       {a.svid(t, serverID), nil, expatspiffe.ErrNotAllowed, ""},
	} {
		_, serverSource := newAgent(t, c.server)
		_, _, err, theirs := connect(t, config(source, c.allowed), config(serverSource, spiffeid.MatchAny()))
		var e *expat.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, [3]any{expat.StageTLS, expat.Local, expat.AlertCertificate}, [3]any{e.Stage, e.Side, e.Alert}, "%s: %v", name, err)
		if c.want != nil {
			require.ErrorIs(t, err, c.want, name)
		}
		require.ErrorContains(t, err, c.text, name)
		require.Error(t, theirs, name)
	}
}

// A domain that is federated is welcome under its own names, and vouches for no other
// domain's.
func TestFederation(t *testing.T) {
	t.Parallel()
	a, b := newDomain(t, "a.test"), newDomain(t, "b.test")
	_, source := newAgent(t, a.svid(t, clientID), b)
	cc := config(source, spiffeid.MatchAny())
	_, good := newAgent(t, b.svid(t, "spiffe://b.test/server"), a)
	c, _, err1, err2 := connect(t, cc, config(good, memberOf(t, "a.test")))
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, "spiffe://b.test/server", c.PeerCertificates()[0].URIs[0].String())

	// b certifies a name of a.test, for the authenticator alone.
	bad := b.svid(t, serverID)
	_, overstepping := newAgent(t, bad, a)
	_, honest := newAgent(t, a.svid(t, serverID))
	sc := config(overstepping, memberOf(t, "a.test"))
	svid, err := honest.GetX509SVID()
	require.NoError(t, err)
	sc.TLS.Certificates = []tls.Certificate{{Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey}}
	_, _, err1, err2 = connect(t, cc, sc)
	var e *expat.Error
	require.ErrorAs(t, err1, &e)
	require.Equal(t, expat.StageValidate, e.Stage)
	require.ErrorIs(t, err1, authenticator.ErrCertificate)
	require.Error(t, err2)
}

// A bundle that changes counts for the next connection, and on an open one when the
// peer is asked anew: one whose domain is federated no more, or whose CA is withdrawn,
// loses it.
func TestBundleChanges(t *testing.T) {
	t.Parallel()
	a, b, renewed := newDomain(t, "a.test"), newDomain(t, "b.test"), newDomain(t, "b.test")
	for name, now := range map[string]struct {
		federated []*domain
		want      error
	}{
		"no more federated": {nil, expatspiffe.ErrSource},
		"another CA":        {[]*domain{renewed}, authenticator.ErrCertificate},
	} {
		svid := a.svid(t, clientID)
		agent, source := newAgent(t, svid, b)
		_, serverSource := newAgent(t, b.svid(t, "spiffe://b.test/server"), a)
		cc, sc := config(source, spiffeid.MatchAny()), config(serverSource, memberOf(t, "a.test"))
		c, _, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		_, err := c.Reattest(t.Context())
		require.NoError(t, err, name)

		agent.set(svid, now.federated...)
		domainB := id(t, "spiffe://b.test").TrustDomain()
		require.Eventually(t, func() bool {
			bundle, err := source.GetX509BundleForTrustDomain(domainB)
			return err != nil || !bundle.HasX509Authority(b.root)
		}, 10*time.Second, time.Millisecond)
		_, err = c.Reattest(t.Context())
		var e *expat.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, [2]any{expat.StageValidate, expat.AlertCertificate}, [2]any{e.Stage, e.Alert}, "%s: %v", name, err)
		require.ErrorIs(t, err, expat.ErrReattest, name)
		require.ErrorIs(t, err, now.want, name)
		_, _, err, _ = connect(t, cc, sc)
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, expat.StageTLS, e.Stage, name)
	}
}

// none is a source that has nothing.
type none struct{ err error }

func (n none) GetX509SVID() (*x509svid.SVID, error) { return nil, n.err }

func (n none) GetX509BundleForTrustDomain(spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return nil, n.err
}

// A source that gives nothing fails the exchange; nothing that is nil lets through.
func TestNothing(t *testing.T) {
	t.Parallel()
	for _, source := range []x509svid.Source{nil, none{}, none{errors.New("closed")}} {
		certs, err := expatspiffe.GetIdentities(source)(t.Context())
		require.Nil(t, certs)
		require.ErrorIs(t, err, expatspiffe.ErrSource)
	}
	name, err := url.Parse(serverID)
	require.NoError(t, err)
	web, err := url.Parse("https://a.test/server")
	require.NoError(t, err)
	signing, err := url.Parse("spiffe://a.test") // of a certificate that signs
	require.NoError(t, err)
	bundles := x509bundle.NewSet()
	for _, c := range []struct {
		source  x509bundle.Source
		allowed spiffeid.Matcher
		name    *url.URL
		want    error
	}{
		{nil, spiffeid.MatchAny(), name, expatspiffe.ErrNotAllowed},
		{bundles, nil, name, expatspiffe.ErrNotAllowed},
		{bundles, spiffeid.MatchAny(), web, expatspiffe.ErrID},
		{bundles, spiffeid.MatchAny(), signing, expatspiffe.ErrID},
		{bundles, spiffeid.MatchAny(), name, expatspiffe.ErrSource},
		{none{}, spiffeid.MatchAny(), name, expatspiffe.ErrSource},
	} {
		pool, err := expatspiffe.RootsForURI(c.source, c.allowed)(t.Context(), c.name)
		require.Nil(t, pool)
		require.ErrorIs(t, err, c.want)
	}
	// A source that was closed is the identity stage's trouble.
	d := newDomain(t, "a.test")
	_, source := newAgent(t, d.svid(t, serverID))
	_, clientSource := newAgent(t, d.svid(t, clientID))
	require.NoError(t, source.Close())
	_, _, err1, err2 := connect(t, config(clientSource, spiffeid.MatchAny()), config(source, spiffeid.MatchAny()))
	require.Error(t, err1)
	var e *expat.Error
	require.ErrorAs(t, err2, &e)
	require.Equal(t, expat.StageIdentity, e.Stage)
	require.ErrorIs(t, err2, expatspiffe.ErrSource)
}
