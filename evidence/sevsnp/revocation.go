package sevsnp

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// revocations are the lists that the relying party handed in (RFC 5280, Section
// 5). AMD publishes one for each product line, signed by the ARK, of its
// intermediate keys. A list of an ASK, for VCEKs, is checked where it is given.
type revocations struct {
	lists []*x509.RevocationList
	// signed remembers which list was found to be signed by which certificate:
	// RSA-4096 costs as much as the rest of a check.
	signed sync.Map
}

type signedKey struct {
	list   *x509.RevocationList
	issuer string
}

// newRevocations refuses lists that say something which is not understood here.
func newRevocations(lists []*x509.RevocationList) (*revocations, error) {
	for i, l := range lists {
		if l == nil {
			return nil, fmt.Errorf("RevocationLists[%d] is nil", i)
		}
		for _, e := range l.Extensions {
			if e.Critical {
				return nil, fmt.Errorf("RevocationLists[%d] has the critical extension %v, which has no meaning here", i, e.Id)
			}
		}
		for _, entry := range l.RevokedCertificateEntries {
			for _, e := range entry.Extensions {
				if e.Critical {
					return nil, fmt.Errorf("RevocationLists[%d] has an entry with the critical extension %v", i, e.Id)
				}
			}
		}
	}
	return &revocations{lists: lists}, nil
}

// check refuses a verified chain with a revoked certificate, or of which that is
// not known.
func (r *revocations) check(c *chain, now time.Time) error {
	err := r.checkOne(c.ask, c.ark, now, true)
	if err == nil {
		err = r.checkOne(c.leaf, c.ask, now, false)
	}
	if err != nil {
		return untrusted("revocation", err)
	}
	return nil
}

func (r *revocations) checkOne(cert, issuer *x509.Certificate, now time.Time, required bool) error {
	listed, held := false, false
	for _, l := range r.lists {
		if !bytes.Equal(l.RawIssuer, issuer.RawSubject) || !r.isSigned(l, issuer) {
			continue
		}
		listed = true
		if now.Before(l.ThisUpdate) || now.After(l.NextUpdate) {
			continue
		}
		held = true
		for _, e := range l.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return fmt.Errorf("%w: %s, since %s", ErrRevoked, cert.Subject.CommonName, e.RevocationTime.UTC().Format(time.RFC3339))
			}
		}
	}
	if !held && (required || listed) {
		return ErrRevocationUnknown
	}
	return nil
}

func (r *revocations) isSigned(l *x509.RevocationList, issuer *x509.Certificate) bool {
	key := signedKey{l, string(issuer.Raw)}
	if _, ok := r.signed.Load(key); ok {
		return true
	}
	if l.CheckSignatureFrom(issuer) != nil {
		return false
	}
	r.signed.Store(key, struct{}{})
	return true
}
