package authenticator

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// Identity is a certificate chain and its private key, prepared for use. It is
// immutable and safe for concurrent use if the key is.
type Identity struct {
	entries []Entry // without extensions
	chain   []*x509.Certificate
	signer  crypto.Signer
	key     publicKey
	schemes []tls.SignatureScheme // those the caller restricts the key to, or nil
	ocsp    []byte
	scts    [][]byte
}

// NewIdentity prepares a certificate for use. The private key is any
// [crypto.Signer] whose public key is the leaf's; only X.509 is possible
// (RFC 9261, Section 5.2.1). SupportedSignatureAlgorithms, OCSPStaple and
// SignedCertificateTimestamps are used as crypto/tls uses them.
func NewIdentity(cert tls.Certificate) (*Identity, error) {
	id, err := newIdentity(cert)
	if err != nil {
		return nil, fail(OpAuthenticate, FaultLocal, err)
	}
	return id, nil
}

func newIdentity(cert tls.Certificate) (*Identity, error) {
	if len(cert.Certificate) == 0 || len(cert.Certificate) > MaxChain {
		return nil, reason(ErrCertificate, "chain of %d certificates, want 1 to %d", len(cert.Certificate), MaxChain)
	}
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, reason(ErrCertificate, "private key of type %T is no crypto.Signer", cert.PrivateKey)
	}
	if slices.ContainsFunc(cert.SignedCertificateTimestamps, func(sct []byte) bool { return len(sct) == 0 }) {
		return nil, reason(ErrCertificate, "%w", errors.New("a signed certificate timestamp is empty"))
	}
	id := &Identity{
		signer:  signer,
		schemes: slices.Clone(cert.SupportedSignatureAlgorithms),
		ocsp:    bytes.Clone(cert.OCSPStaple),
		scts:    slices.Clone(cert.SignedCertificateTimestamps),
	}
	for i, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err == nil {
			err = checkCost(c)
		}
		if err != nil {
			return nil, reason(ErrCertificate, "certificate %d: %w", i, err)
		}
		id.chain = append(id.chain, c)
		id.entries = append(id.entries, Entry{Certificate: c.Raw})
	}
	var err error
	if id.key, err = keyOf(id.chain[0]); err != nil {
		return nil, err
	}
	pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(id.key.key) {
		return nil, reason(ErrCertificate, "%w", errors.New("private key is not the leaf certificate's"))
	}
	return id, nil
}

// Leaf is the end-entity certificate.
func (id *Identity) Leaf() *x509.Certificate { return id.chain[0] }

// SPKI is the SubjectPublicKeyInfo of the leaf in DER, as it stands there.
func (id *Identity) SPKI() []byte { return id.chain[0].RawSubjectPublicKeyInfo }

// Select returns the first identity that fits the request's
// signature_algorithms, signature_algorithms_cert, certificate_authorities,
// oid_filters and server_name (RFC 9261, Section 5.2.1). If none does, the
// error is [ErrNoIdentity] and says why for each.
func (r *ReceivedRequest) Select(identities ...*Identity) (*Identity, error) {
	var why []error
	for i, id := range identities {
		if id == nil {
			why = append(why, fmt.Errorf("identity %d: it is nil", i))
			continue
		}
		if _, err := r.offer.accepts(id); err != nil {
			why = append(why, fmt.Errorf("identity %d: %w", i, err))
			continue
		}
		return id, nil
	}
	if len(identities) == 0 {
		why = append(why, errors.New("there is none"))
	}
	return nil, fail(OpAuthenticate, FaultLocal, reason(ErrNoIdentity, "%w", errors.Join(why...)))
}

// accepts checks an identity against an offer and chooses the scheme.
func (o *offer) accepts(id *Identity) (schemeInfo, error) {
	scheme, ok := o.scheme(id)
	if !ok {
		return scheme, errors.New("its key signs with no scheme of signature_algorithms")
	}
	if o.serverName != "" && id.Leaf().VerifyHostname(o.serverName) != nil {
		return scheme, errors.New("its certificate is not for the server_name")
	}
	if !o.acceptsChain(id.chain) {
		return scheme, errors.New("its chain is signed with a scheme that signature_algorithms_cert does not list")
	}
	if len(o.authorities) > 0 && !slices.ContainsFunc(id.chain, func(c *x509.Certificate) bool {
		return slices.ContainsFunc(o.authorities, func(name []byte) bool { return bytes.Equal(name, c.RawIssuer) })
	}) {
		return scheme, errors.New("its chain is issued by none of certificate_authorities")
	}
	for _, f := range o.oidFilters {
		if !f.matches(id.Leaf()) {
			return scheme, fmt.Errorf("its certificate does not match the oid_filter %v", f.OID)
		}
	}
	return scheme, nil
}

// scheme picks the requester's first choice that the key can do.
func (o *offer) scheme(id *Identity) (schemeInfo, bool) {
	for _, want := range o.schemes {
		s, ok := lookupScheme(want)
		if ok && id.key.fits(s) && (id.schemes == nil || slices.Contains(id.schemes, want)) {
			return s, true
		}
	}
	return schemeInfo{}, false
}

// acceptsChain checks the signatures of a chain by their schemes. Self-signed
// certificates are trust anchors and not counted (RFC 8446, Section 4.4.2.2).
func (o *offer) acceptsChain(chain []*x509.Certificate) bool {
	schemes := o.schemesCert
	if schemes == nil {
		schemes = o.schemes
	}
	for _, c := range chain {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			continue
		}
		s := certificateScheme(c)
		if !slices.Contains(schemes, s) && !slices.Contains(schemes, pssForm(s)) {
			return false
		}
	}
	return true
}

// pssForm is the rsa_pss_pss counterpart of an rsa_pss_rsae scheme: a
// certificate's signature does not tell the two apart.
func pssForm(s tls.SignatureScheme) tls.SignatureScheme {
	switch s {
	case tls.PSSWithSHA256:
		return PSSPSSWithSHA256
	case tls.PSSWithSHA384:
		return PSSPSSWithSHA384
	case tls.PSSWithSHA512:
		return PSSPSSWithSHA512
	}
	return s
}

// The certificate extensions that have a rule for matching, and the content
// octets of their OIDs (X.690, Section 8.19).
var (
	oidKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
)

const (
	derKeyUsage    = "\x55\x1d\x0f"
	derExtKeyUsage = "\x55\x1d\x25"
)

// matches follows RFC 8446, Section 4.2.5: the key usage bits, or the extended
// key usages, asked for must all be in the certificate.
func (f OIDFilter) matches(c *x509.Certificate) bool {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(f.OID) })
	switch {
	case i < 0:
		return false
	case len(f.Values) == 0:
		return true
	case f.OID.Equal(oidKeyUsage):
		return containsBits(c.Extensions[i].Value, f.Values)
	}
	return containsOIDs(c.Extensions[i].Value, f.Values)
}

func containsBits(have, want []byte) bool {
	var h, w asn1.BitString
	if rest, err := asn1.Unmarshal(have, &h); err != nil || len(rest) != 0 {
		return false
	}
	if rest, err := asn1.Unmarshal(want, &w); err != nil || len(rest) != 0 {
		return false
	}
	for i := range w.BitLength {
		if w.At(i) == 1 && h.At(i) == 0 {
			return false
		}
	}
	return true
}

func containsOIDs(have, want []byte) bool {
	h, ok := oidSequence(have)
	w, ok2 := oidSequence(want)
	if !ok || !ok2 {
		return false
	}
	for _, oid := range w {
		if !slices.ContainsFunc(h, oid.Equal) {
			return false
		}
	}
	return true
}
