package expat

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/expat-go/expat/authenticator"
)

// issue makes a certificate for server.test that differs from a good one as told.
func (w *world) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "issued"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{serverName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(template)
	cert, err := w.ca.Issue(template, key)
	require.NoError(t, err)
	return cert
}

// selfSigned is a key that no CA vouches for.
func selfSigned(t testing.TB, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "born in the environment"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// staple adds an OCSP response to a certificate.
func (w *world) staple(t testing.TB, cert tls.Certificate, status int, next time.Duration) tls.Certificate {
	t.Helper()
	var err error
	cert.OCSPStaple, err = ocsp.CreateResponse(w.ca.Intermediate, w.ca.Intermediate, ocsp.Response{
		Status: status, SerialNumber: cert.Leaf.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(next), RevokedAt: time.Now().Add(-time.Hour),
	}, w.ca.Signer())
	require.NoError(t, err)
	return cert
}

// pki runs an exchange in which the attester's identity and the relying party's
// Config are as told; both roles.
func pki(t *testing.T, w *world, id tls.Certificate, change func(*Config), check func(t *testing.T, relying, attester *Conn, err, other error)) {
	t.Helper()
	for _, direction := range []string{serverAttests, clientAttests} {
		t.Run(direction, func(t *testing.T) {
			cc, sc := w.configs(direction)
			rp, at := cc, sc
			if direction == clientAttests {
				rp, at = sc, cc
			}
			at.Identities = []tls.Certificate{id}
			change(rp)
			c, s, err1, err2 := connect(t, cc, sc)
			if direction == clientAttests {
				c, s, err1, err2 = s, c, err2, err1
			}
			check(t, c, s, err1, err2)
		})
	}
}

func accepted(t *testing.T, relying, attester *Conn, err, other error) {
	t.Helper()
	require.NoError(t, errors.Join(err, other))
	echo(t, attester, relying, "hello")
}

// refusedCertificate is the verdict of X.509, whatever the Evidence says.
func refusedCertificate(t *testing.T, relying, attester *Conn, err, other error) {
	t.Helper()
	requireFailure(t, err, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
	requireFailure(t, other, StageResult, AlertCertificate, Peer, ErrPeerAlert)
	requireDead(t, relying)
	requireDead(t, attester)
}

// B-10, B-11, I-11: good Evidence under a certificate that X.509 refuses.
func TestX509(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	keep := func(*Config) {}
	later := func(d time.Duration) func(*Config) {
		return func(c *Config) { c.TLS.Time = func() time.Time { return time.Now().Add(d) } }
	}
	usage := func(u x509.ExtKeyUsage) tls.Certificate {
		return w.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} })
	}
	good := w.issue(t, func(*x509.Certificate) {})
	short := w.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) })
	young := w.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Minute) })
	for name, c := range map[string]struct {
		id     tls.Certificate
		change func(*Config)
		check  func(t *testing.T, relying, attester *Conn, err, other error)
	}{
		"good":                {good, keep, accepted},
		"unknown CA":          {leaf(t, other.ca, serverName), keep, refusedCertificate},
		"not expired":         {short, keep, accepted},
		"expired":             {short, later(time.Hour), refusedCertificate},
		"not yet valid":       {young, keep, refusedCertificate},
		"valid by then":       {young, later(20 * time.Minute), accepted},
		"code signing":        {usage(x509.ExtKeyUsageCodeSigning), keep, refusedCertificate},
		"chain is incomplete": {tls.Certificate{Certificate: good.Certificate[:1], PrivateKey: good.PrivateKey}, keep, refusedCertificate},
		"revoked": {good, func(c *Config) {
			c.CheckRevocation = func(context.Context, authenticator.Chain) error { return errors.New("revoked") }
		}, refusedCertificate},
		"not revoked": {good, func(c *Config) {
			c.CheckRevocation = func(_ context.Context, chain authenticator.Chain) error {
				if len(chain.Certificates) != 2 || !chain.Certificates[0].Equal(good.Leaf) {
					return errors.New("not the chain")
				}
				return nil
			}
		}, accepted},
		"staple demanded, none there": {good, func(c *Config) { c.RequireOCSPStaple = true }, refusedCertificate},
		"staple demanded, good":       {w.staple(t, good, ocsp.Good, time.Hour), func(c *Config) { c.RequireOCSPStaple = true }, accepted},
		"staple good":                 {w.staple(t, good, ocsp.Good, time.Hour), keep, accepted},
		"staple revoked":              {w.staple(t, good, ocsp.Revoked, time.Hour), keep, refusedCertificate},
		"staple unknown":              {w.staple(t, good, ocsp.Unknown, time.Hour), keep, refusedCertificate},
		"staple run out":              {w.staple(t, good, ocsp.Good, -time.Minute), keep, refusedCertificate},
		"staple of another leaf":      {tls.Certificate{Certificate: good.Certificate, PrivateKey: good.PrivateKey, OCSPStaple: w.staple(t, short, ocsp.Good, time.Hour).OCSPStaple}, keep, refusedCertificate},
	} {
		t.Run(name, func(t *testing.T) { pki(t, w, c.id, c.change, c.check) })
	}
	// The usage for the other role is none for this one.
	for direction, u := range map[string]x509.ExtKeyUsage{serverAttests: x509.ExtKeyUsageClientAuth, clientAttests: x509.ExtKeyUsageServerAuth} {
		cc, sc := w.configs(direction)
		cc.Identities, sc.Identities = []tls.Certificate{usage(u)}, []tls.Certificate{usage(u)}
		c, s, err1, err2 := connect(t, cc, sc)
		if direction == clientAttests {
			c, s, err1, err2 = s, c, err2, err1
		}
		refusedCertificate(t, c, s, err1, err2)
	}
}

// The staple of the handshake's own certificate is judged as well.
func TestStapleOfHandshakeCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for status, check := range map[int]func(*testing.T, *Conn, *Conn, error, error){ocsp.Good: accepted, ocsp.Revoked: refusedCertificate} {
		cc, sc := w.configs(serverAttests)
		sc.TLS.Certificates = []tls.Certificate{w.staple(t, w.server, status, time.Hour)}
		c, s, err1, err2 := connect(t, cc, sc)
		check(t, c, s, err1, err2)
	}
}

// A server that has nothing for the name that the client asks for refuses; one
// that shows another name all the same is refused.
func TestServerName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(serverAttests)
	sc.Identities = []tls.Certificate{leaf(t, w.ca, "other.test")}
	c, s, err1, err2 := connect(t, cc, sc)
	requireFailure(t, err1, StageValidate, AlertRefused, Local, authenticator.ErrRefused)
	requireFailure(t, err2, StageResult, AlertRefused, Peer, authenticator.ErrNoIdentity)
	requireDead(t, c)
	requireDead(t, s)

	cc, sc = w.configs(serverAttests)
	cc.TLS.ServerName = "127.0.0.1" // no server_name, so the server cannot know
	sc.TLS.Certificates = []tls.Certificate{leaf(t, w.ca, "127.0.0.1")}
	sc.Identities = []tls.Certificate{leaf(t, w.ca, "other.test")}
	c, s, err1, err2 = connect(t, cc, sc)
	refusedCertificate(t, c, s, err1, err2)
}

// Without ClientCAs no client is trusted, not even by the system's roots.
func TestNoClientCAs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(clientAttests)
	sc.TLS.ClientCAs = nil
	c, s, err1, err2 := connect(t, cc, sc)
	refusedCertificate(t, s, c, err2, err1)
	require.ErrorContains(t, err2, "TLS.ClientCAs is not set, so no client certificate can be trusted; see AttestedKeyOnly")
}

// DESIGN 4: keys that no CA vouches for, where the option says so.
func TestAttestedKeyOnly(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	keyOnly := func(c *Config) { c.AttestedKeyOnly = true }
	pin := func(certs ...tls.Certificate) func(*Config) {
		return func(c *Config) {
			keyOnly(c)
			for _, cert := range certs {
				c.PinnedServerKeys = append(c.PinnedServerKeys, sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo))
			}
		}
	}
	id := selfSigned(t, time.Now().Add(time.Hour))
	t.Run("good", func(t *testing.T) { pki(t, w, id, keyOnly, accepted) })
	t.Run("any name", func(t *testing.T) { pki(t, w, leaf(t, other.ca, "other.test"), keyOnly, accepted) })
	t.Run("expired", func(t *testing.T) { pki(t, w, selfSigned(t, time.Now().Add(-time.Hour)), keyOnly, refusedCertificate) })
	t.Run("without the option", func(t *testing.T) {
		cc, sc := w.configs(clientAttests)
		cc.Identities = []tls.Certificate{id}
		c, s, err1, err2 := connect(t, cc, sc)
		refusedCertificate(t, s, c, err2, err1)
	})

	try := func(change func(*Config)) (c, s *Conn, err1, err2 error) {
		cc, sc := w.configs(serverAttests)
		sc.Identities = []tls.Certificate{id}
		change(cc)
		return connect(t, cc, sc)
	}
	// The server's handshake certificate is judged by a CA, or by its key.
	c, _, err1, err2 := try(func(c *Config) { keyOnly(c); c.TLS.RootCAs = other.ca.Pool() })
	requireFailure(t, err1, StageTLS, AlertCertificate, Local, err1)
	require.Error(t, err2)
	requireDead(t, c)
	_, _, err1, err2 = try(func(c *Config) { pin(other.server, w.server)(c); c.TLS.RootCAs = nil; c.TLS.ServerName = "" })
	require.NoError(t, errors.Join(err1, err2))
	c, _, err1, err2 = try(pin(other.server))
	requireFailure(t, err1, StageTLS, AlertInternal, Local, err1)
	require.ErrorContains(t, err1, "is not in PinnedServerKeys")
	require.Error(t, err2)
	requireDead(t, c)
	own := errors.New("the user's own check")
	_, _, err1, _ = try(func(c *Config) {
		pin(w.server)(c)
		c.TLS.VerifyConnection = func(tls.ConnectionState) error { return own }
	})
	requireFailure(t, err1, StageTLS, AlertInternal, Local, own)
}

// The certificate of the authenticator is that of the handshake, if demanded.
func TestRequireSameLeaf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	demand := func(c *Config) { c.RequireSameLeaf = true }
	t.Run("another leaf", func(t *testing.T) {
		pki(t, w, w.issue(t, func(*x509.Certificate) {}), func(c *Config) { demand(c); c.TLS.ClientAuth = tls.RequestClientCert }, refusedCertificate)
	})
	for direction, auth := range map[string]tls.ClientAuthType{serverAttests: tls.NoClientCert, clientAttests: tls.RequireAndVerifyClientCert} {
		cc, sc := w.configs(direction)
		if direction == serverAttests {
			demand(cc)
		} else {
			demand(sc)
		}
		sc.TLS.ClientAuth = auth
		_, _, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
	}
	cc, sc := w.configs(clientAttests) // a client that the handshake asked for nothing
	demand(sc)
	c, s, err1, err2 := connect(t, cc, sc)
	refusedCertificate(t, s, c, err2, err1)
}
