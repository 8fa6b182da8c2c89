package authenticator

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/ocsp"
)

// Chain is the certificate chain of an authenticator.
type Chain struct {
	Certificates []*x509.Certificate // leaf first, 1 to [MaxChain]
	OCSPStaple   []byte              // OCSP response for the leaf, or nil
	SCTs         [][]byte            // signed certificate timestamps for the leaf
}

// ChainVerifier decides whether a chain is trusted. An error refuses it.
type ChainVerifier func(Chain) error

// AcceptAnyChain trusts every chain: the peer then proved only that it holds
// some key. It is for callers that judge the key by other means.
func AcceptAnyChain(Chain) error { return nil }

// VerifyServerChain verifies a server's chain: to one of roots, for serverName,
// for server authentication, at the time of now. A stapled OCSP response must
// be good; see [CheckStaple].
func VerifyServerChain(roots *x509.CertPool, serverName string, now func() time.Time) ChainVerifier {
	return func(c Chain) error {
		if serverName == "" {
			return errors.New("the name of the server is not set")
		}
		return verifyChain(c, roots, serverName, x509.ExtKeyUsageServerAuth, now)
	}
}

// VerifyClientChain verifies a client's chain: to one of roots, for client
// authentication, at the time of now. A stapled OCSP response must be good; see
// [CheckStaple].
func VerifyClientChain(roots *x509.CertPool, now func() time.Time) ChainVerifier {
	return func(c Chain) error {
		return verifyChain(c, roots, "", x509.ExtKeyUsageClientAuth, now)
	}
}

func verifyChain(c Chain, roots *x509.CertPool, name string, usage x509.ExtKeyUsage, now func() time.Time) error {
	if roots == nil || now == nil {
		return errors.New("roots and clock must not be nil")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range c.Certificates[1:] {
		intermediates.AddCert(cert)
	}
	at := now()
	chains, err := c.Certificates[0].Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, Intermediates: intermediates,
		CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return err
	}
	if c.OCSPStaple == nil {
		return nil
	}
	return CheckStaple(c.OCSPStaple, chains[0], at)
}

// maxStaple bounds an OCSP response in bytes, and with it the key of a responder
// inside: its signature is checked before it is known who certified that key.
const maxStaple = 16 << 10

// CheckStaple checks an OCSP response (RFC 6960) for the leaf of a verified
// chain: signed by the leaf's issuer or by a responder that the issuer certified
// for it (Section 4.2.2.2), good, and current at the time given. A response
// without nextUpdate never runs out and is refused. It uses no network.
func CheckStaple(staple []byte, verified []*x509.Certificate, at time.Time) error {
	switch {
	case len(verified) < 2:
		return errors.New("OCSP: the leaf is its own issuer")
	case len(staple) > maxStaple:
		return fmt.Errorf("OCSP: the response has %d bytes, at most %d are read", len(staple), maxStaple)
	}
	response, err := ocsp.ParseResponseForCert(staple, verified[0], verified[1])
	switch {
	case err != nil:
		return fmt.Errorf("OCSP: %w", err)
	case response.Certificate != nil && !mayRespond(response.Certificate, verified[1], at):
		return errors.New("OCSP: the responder's certificate is not valid for OCSP signing")
	case response.Status != ocsp.Good:
		return errors.New("OCSP: the certificate is revoked or its status unknown")
	case at.Before(response.ThisUpdate):
		return errors.New("OCSP: the response is from the future")
	case response.NextUpdate.IsZero():
		return errors.New("OCSP: the response does not say when it runs out")
	case at.After(response.NextUpdate):
		return errors.New("OCSP: the response has run out")
	}
	return nil
}

// mayRespond admits the certificate inside an OCSP response. Package ocsp checked
// that the issuer signed it, but not what for: without this any leaf of the same
// issuer, the revoked one included, could say that it is good.
func mayRespond(responder, issuer *x509.Certificate, at time.Time) bool {
	return responder.Equal(issuer) ||
		slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) &&
			!at.Before(responder.NotBefore) && !at.After(responder.NotAfter)
}

// parseChain parses the certificates and what is stapled to the leaf.
func (s *Session) parseChain(entries []Entry) (Chain, error) {
	c := Chain{Certificates: make([]*x509.Certificate, 0, len(entries))}
	for i, e := range entries {
		cert, err := s.parse(e.Certificate)
		if err == nil {
			err = checkCost(cert)
		}
		if err != nil {
			return Chain{}, reason(ErrCertificate, "certificate %d: %w", i, err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	leaf := entries[0].Extensions
	if e := find(leaf, extStatusRequest); e != nil && !readStatus(e.Data, &c.OCSPStaple) {
		return Chain{}, reason(ErrDecode, "status_request")
	}
	if e := find(leaf, extSCT); e != nil && !readAuthorities(e.Data, &c.SCTs) {
		return Chain{}, reason(ErrDecode, "signed_certificate_timestamp")
	}
	return c, nil
}

// checkCost bounds what it costs to check a signature by a certificate's key. It
// looks at each certificate of a chain: X.509 validation checks signatures by keys
// that nobody vouches for on its way to a root.
func checkCost(c *x509.Certificate) error {
	if pub, ok := c.PublicKey.(*rsa.PublicKey); ok && pub.N.BitLen() > maxRSABits {
		return fmt.Errorf("RSA key of %d bits, at most %d are used", pub.N.BitLen(), maxRSABits)
	}
	return nil
}

const statusTypeOCSP = 1

// readStatus reads a CertificateStatus (RFC 8446, Section 4.4.2.1).
func readStatus(data []byte, out *[]byte) bool {
	s := cryptobyte.String(data)
	var typ uint8
	var response cryptobyte.String
	if !s.ReadUint8(&typ) || typ != statusTypeOCSP ||
		!s.ReadUint24LengthPrefixed(&response) || response.Empty() || !s.Empty() {
		return false
	}
	*out = response
	return true
}

// verifyScheme admits the scheme of a CertificateVerify.
func (o *offer) verifyScheme(id tls.SignatureScheme, key publicKey) (schemeInfo, error) {
	s, ok := lookupScheme(id)
	switch {
	case !ok:
		return s, reason(ErrSignatureScheme, "%v is no scheme of TLS 1.3", id)
	case !slices.Contains(o.schemes, id):
		return s, reason(ErrSignatureScheme, "%v was not offered", id)
	case !key.fits(s):
		return s, reason(ErrSignatureScheme, "%v does not fit the certificate's key", id)
	}
	return s, nil
}
