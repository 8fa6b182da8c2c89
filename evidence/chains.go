package evidence

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"
)

// maxChains is how many chains a [Chains] remembers.
const maxChains = 256

// Chains remembers certificate chains that lead to a root, so that the Evidence of
// a device that is seen again costs no signature checks of its chain. It remembers
// for the same certificates and the same pool alone, and only until the first of
// the certificates ends: until then crypto/x509 would say the same again. A
// constraint of [x509.CertPool.AddCertWithConstraint] is asked once for a chain,
// so it must not change its mind. Revocation is no part of it.
//
// The zero Chains is ready for use, by several extractors at the same time. A nil
// *Chains verifies each chain anew.
type Chains struct {
	mu   sync.Mutex
	good map[chainKey]verifiedChain
}

// chainKey holds on to the pool, so that no other can have its address.
type chainKey struct {
	roots *x509.CertPool
	sum   [sha256.Size]byte // of all certificates
}

type verifiedChain struct {
	chain               []*x509.Certificate
	notBefore, notAfter time.Time
}

// Verify leads chain[0] to one of the roots by way of the others, whatever their
// extended key usage, and returns the way, the root last, with the time at which
// the first certificate on it ends. Roots must not be nil and now not be zero, as
// [Extractor] says.
func (c *Chains) Verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) ([]*x509.Certificate, time.Time, error) {
	if c == nil {
		v, err := verifyChain(chain, roots, now)
		return v.chain, v.notAfter, err
	}
	key := chainKey{roots, sumOf(chain)}
	c.mu.Lock()
	v, known := c.good[key]
	c.mu.Unlock()
	if known && !now.Before(v.notBefore) && !now.After(v.notAfter) {
		return v.chain, v.notAfter, nil
	}
	v, err := verifyChain(chain, roots, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good == nil || len(c.good) >= maxChains { // few devices never come here, many gain little
		c.good = make(map[chainKey]verifiedChain)
	}
	c.good[key] = v
	return v.chain, v.notAfter, nil
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (verifiedChain, error) {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	ways, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return verifiedChain{}, err
	}
	v := verifiedChain{ways[0], ways[0][0].NotBefore, ways[0][0].NotAfter}
	for _, c := range v.chain[1:] {
		if c.NotBefore.After(v.notBefore) {
			v.notBefore = c.NotBefore
		}
		if c.NotAfter.Before(v.notAfter) {
			v.notAfter = c.NotAfter
		}
	}
	return v, nil
}

// sumOf is a hash of the certificates in their order, each with its length.
func sumOf(chain []*x509.Certificate) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range chain {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(c.Raw)))
		h.Write(n[:])
		h.Write(c.Raw)
	}
	h.Sum(sum[:0])
	return sum
}
