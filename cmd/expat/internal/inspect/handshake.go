package inspect

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// Handshake message types (RFC 8446, Section 4; RFC 9261, Section 8.3).
const (
	typeCertificate              = 11
	typeCertificateRequest       = 13
	typeClientCertificateRequest = 17
	typeFinished                 = 20
)

// exporter stands for a connection: form is all that is looked at.
type exporter struct{}

func (exporter) ExportKeyingMaterial(_ string, _ []byte, length int) ([]byte, error) {
	return make([]byte, length), nil
}

// receive reads a request as the side that it is for does.
func receive(b []byte) (*authenticator.ReceivedRequest, error) {
	role := authenticator.Client
	if b[0] == typeClientCertificateRequest {
		role = authenticator.Server
	}
	s, err := authenticator.NewSessionFromExporter(exporter{}, crypto.SHA256, role)
	if err != nil {
		return nil, err
	}
	return s.ReceiveRequest(b)
}

func request(b []byte) (*Report, error) {
	received, err := receive(b)
	if err != nil {
		return nil, &MalformedError{"an authenticator request", err}
	}
	r := newReport("authenticator request (RFC 9261, Section 4)", len(b))
	r.About = "One side of a TLS connection asks the other to prove who it is; with cmw_attestation also what it runs."
	if b[0] == typeClientCertificateRequest {
		r.add("message", "ClientCertificateRequest: a client asks")
	} else {
		r.add("message", "CertificateRequest: a server asks")
	}
	r.bytes("context", received.Context())
	if name := received.ServerName(); name != "" {
		r.add("server name", "%s", name)
	}
	for typ := range 1 << 16 {
		if data, ok := received.Extension(uint16(typ)); ok {
			r.add(extensionName(uint16(typ)), "%s", requestExtension(uint16(typ), data))
		}
	}
	return r, nil
}

// requestExtension says what an extension of a request asks for.
func requestExtension(typ uint16, data []byte) string {
	switch {
	case typ == extSignatureAlgorithms || typ == extSignatureAlgorithmsCert:
		s := cryptobyte.String(data)
		var list cryptobyte.String
		var names []string
		for ok := s.ReadUint16LengthPrefixed(&list); ok && !list.Empty(); {
			var v uint16
			if ok = list.ReadUint16(&v); ok {
				names = append(names, schemeName(tls.SignatureScheme(v)))
			}
		}
		return strings.Join(names, ", ")
	case typ == cmwAttestation && len(data) == 0:
		return "offered: attest"
	case len(data) == 0:
		return "empty"
	}
	return fmt.Sprintf("%x", data)
}

// The extensions that are explained here (IANA registry of TLS).
const (
	extSignatureAlgorithms     = 13
	extSignatureAlgorithmsCert = 50
)

// schemes are the names of the registry.
var schemes = map[tls.SignatureScheme]string{
	0x0401: "rsa_pkcs1_sha256", 0x0501: "rsa_pkcs1_sha384", 0x0601: "rsa_pkcs1_sha512",
	0x0403: "ecdsa_secp256r1_sha256", 0x0503: "ecdsa_secp384r1_sha384", 0x0603: "ecdsa_secp521r1_sha512",
	0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512",
	0x0807: "ed25519", 0x0808: "ed448",
	0x0809: "rsa_pss_pss_sha256", 0x080a: "rsa_pss_pss_sha384", 0x080b: "rsa_pss_pss_sha512",
}

func schemeName(s tls.SignatureScheme) string {
	if name, known := schemes[s]; known {
		return name
	}
	return fmt.Sprintf("%#04x", uint16(s))
}

var cmwAttestation = attestation.Expat04().Offer().Type

// extensionName names an extension by the IANA registry of TLS.
func extensionName(typ uint16) string {
	names := map[uint16]string{
		0: "server_name", 5: "status_request", extSignatureAlgorithms: "signature_algorithms", 18: "signed_certificate_timestamp",
		47: "certificate_authorities", 48: "oid_filters", extSignatureAlgorithmsCert: "signature_algorithms_cert", cmwAttestation: "cmw_attestation",
	}
	name, known := names[typ]
	if !known {
		name = "unknown"
	}
	return fmt.Sprintf("extension %d %s", typ, name)
}

// authenticatorReport shows the messages of an authenticator.
func authenticatorReport(ctx context.Context, b []byte, o Options) (*Report, error) {
	m, err := authenticator.ParseUnverified(b)
	if err != nil {
		return nil, &MalformedError{"an authenticator", err}
	}
	r := newReport("authenticator (RFC 9261, Section 5)", len(b))
	r.About = "One side of a TLS connection answers a request with certificates and, in cmw_attestation, Evidence; the signature and Finished tie them to that connection."
	if m.Empty {
		r.Kind = "empty authenticator (RFC 9261, Section 6)"
		r.About = "One side of a TLS connection refuses a request: it has nothing to show."
		r.add("messages", "Finished")
	} else {
		r.add("messages", "Certificate, CertificateVerify, Finished")
		r.bytes("context", m.Context)
		r.add("certificates", "%d", len(m.Entries))
		r.add("CertificateVerify", "%s, %d bytes", schemeName(m.Scheme), len(m.Signature))
	}
	r.add("Finished", "%d bytes", len(m.Finished))
	for i, e := range m.Entries {
		r.part(entry(ctx, i, e, o))
	}
	return r, nil
}

// entry shows a CertificateEntry.
func entry(ctx context.Context, i int, e authenticator.Entry, o Options) *Report {
	name := fmt.Sprintf("certificate entry %d", i+1)
	if i == 0 {
		name += ", of the key that signed"
	}
	r := newReport(name, len(e.Certificate))
	c, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		r.add("certificate", "cannot be parsed")
	} else {
		r.certificate(c)
	}
	for _, x := range e.Extensions {
		r.add(extensionName(x.Type), "%d bytes", len(x.Data))
		if x.Type == cmwAttestation {
			r.part(attestationReport(ctx, x.Data, o))
		}
	}
	return r
}

// attestationReport shows what is in a cmw_attestation extension: cmw_data with its
// length (draft-fossati-seat-expat, Section 3).
func attestationReport(ctx context.Context, data []byte, o Options) *Report {
	s := cryptobyte.String(data)
	var inner cryptobyte.String
	if s.ReadUint16LengthPrefixed(&inner) && s.Empty() {
		if m, err := cmw.Decode(inner); err == nil {
			return message(ctx, m, len(inner), o)
		}
	}
	r := newReport("cmw_attestation that is not of its form", len(data))
	r.add("error", "it holds no CMW")
	return r
}

// certificate adds what tells one certificate from another.
func (r *Report) certificate(c *x509.Certificate) {
	r.add("subject", "%v", c.Subject)
	r.add("issuer", "%v", c.Issuer)
	r.add("serial number", "%x", c.SerialNumber)
	r.add("valid", "%s to %s", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	if len(c.DNSNames) > 0 {
		r.add("names", "%s", strings.Join(c.DNSNames, ", "))
	}
	r.add("key", "%v, SHA-256 %x", c.PublicKeyAlgorithm, sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

// certificates adds a chain.
func (r *Report) certificates(chain []*x509.Certificate) {
	for i, c := range chain {
		r.part(newReport(fmt.Sprintf("certificate %d", i+1), len(c.Raw))).certificate(c)
	}
}
