package evidence

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certificates are a device, a CA and a root. The CA starts last and ends first.
func certificates(t *testing.T, now time.Time) (chain []*x509.Certificate, root *x509.Certificate) {
	t.Helper()
	issue := func(ca bool, from, until time.Duration, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: now.Add(from), NotAfter: now.Add(until), IsCA: ca,
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		c.Subject.CommonName = from.String()
		if parent == nil {
			parent, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
		require.NoError(t, err)
		c, err = x509.ParseCertificate(der)
		require.NoError(t, err)
		return c, key
	}
	root, rootKey := issue(true, -3*time.Hour, 3*time.Hour, nil, nil)
	ca, caKey := issue(true, -time.Hour, time.Hour, root, rootKey)
	device, _ := issue(false, -2*time.Hour, 2*time.Hour, ca, caKey)
	return []*x509.Certificate{device, ca}, root
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// What is remembered answers as crypto/x509 would: for these certificates, this
// pool and this time.
func TestChains(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	chain, root := certificates(t, now)
	other, otherRoot := certificates(t, now)
	for name, c := range map[string]*Chains{"nil": nil, "remembers": new(Chains)} {
		roots := pool(root)
		for range 2 {
			way, end, err := c.Verify(chain, roots, now)
			require.NoError(t, err, name)
			require.Equal(t, []*x509.Certificate{chain[0], chain[1], root}, way)
			require.True(t, end.Equal(now.Add(time.Hour)), "the CA ends first")
		}
		for when, at := range map[string]time.Time{"before": now.Add(-time.Hour - time.Second), "after": now.Add(time.Hour + time.Second)} {
			_, _, err := c.Verify(chain, roots, at)
			var invalid x509.CertificateInvalidError
			require.ErrorAs(t, err, &invalid, "%s %s", name, when)
			require.Equal(t, x509.Expired, invalid.Reason)
		}
		var unknown x509.UnknownAuthorityError
		_, _, err := c.Verify(other, roots, now)
		require.ErrorAs(t, err, &unknown, "%s: another device", name)
		_, _, err = c.Verify(chain[:1], roots, now)
		require.ErrorAs(t, err, &unknown, "%s: without its CA", name)
		_, _, err = c.Verify([]*x509.Certificate{chain[0], other[1]}, roots, now)
		require.ErrorAs(t, err, &unknown, "%s: with another CA", name)
		_, _, err = c.Verify(chain, pool(otherRoot), now)
		require.ErrorAs(t, err, &unknown, "%s: another pool", name)
	}
}

// A chain that is remembered is not verified again, and few enough are.
func TestChainsRemember(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	chain, root := certificates(t, now)
	asked := 0
	roots := x509.NewCertPool()
	roots.AddCertWithConstraint(root, func([]*x509.Certificate) error { asked++; return nil })
	c := new(Chains)
	for range 3 {
		_, _, err := c.Verify(chain, roots, now)
		require.NoError(t, err)
	}
	require.Equal(t, 1, asked)
	refused := x509.NewCertPool()
	refused.AddCertWithConstraint(root, func([]*x509.Certificate) error { asked++; return errors.New("no") })
	for range 2 { // a no is not remembered
		_, _, err := c.Verify(chain, refused, now)
		require.Error(t, err)
	}
	require.Equal(t, 3, asked)
	for range 2 * maxChains {
		_, _, err := c.Verify(chain, pool(root), now)
		require.NoError(t, err)
		require.LessOrEqual(t, len(c.good), maxChains)
	}
}
