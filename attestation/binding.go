package attestation

import (
	"crypto"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"fmt"

	"github.com/expat-go/expat/authenticator"
)

// minContext is the shortest certificate_request_context in bytes that attests
// anything: below it a context is not unpredictable.
const minContext = 16

// exportedLen is the length of exported_value whatever the hash (Section 5.1).
const exportedLen = 32

// reportDataTag separates report_data from every other SHA-512 input.
const reportDataTag = "expat-report-data-v1\x00"

// Binding ties Evidence to one connection, one request and one key (Section 5):
//
//	exported_value = TLS-Exporter(label, certificate_request_context, 32)
//	binder         = Hash(SPKI ‖ exported_value)
//	key hash       = Hash(SPKI)                       AIK_pub_hash, Section 5.2
//
// Hash is that of the TLS 1.3 cipher suite and SPKI the SubjectPublicKeyInfo of
// the authenticator's leaf, in DER as it stands there. Only [Attest] and
// [Appraise] make a Binding, from a received request and an identity or from a
// validated peer. The zero Binding matches nothing.
type Binding struct {
	hash    crypto.Hash
	context []byte
	spki    []byte
	binder  []byte
	keyHash []byte
}

// bind is the only place where a binder is computed.
func (p Profile) bind(s *authenticator.Session, context, spki []byte) (Binding, error) {
	if !p.valid() || len(spki) == 0 {
		return Binding{}, fmt.Errorf("%w: zero profile or empty key", ErrMisuse)
	}
	if s.Version() != tls.VersionTLS13 {
		return Binding{}, fmt.Errorf("%w: version is %s, want TLS 1.3", ErrConnection, tls.VersionName(s.Version()))
	}
	if len(context) < minContext {
		return Binding{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrContext, len(context), minContext)
	}
	exported, err := s.Export(p.label, context, exportedLen)
	if err != nil {
		return Binding{}, fmt.Errorf("%w: %w", ErrConnection, err)
	}
	return Binding{
		hash:    s.Hash(),
		context: context,
		spki:    spki,
		binder:  digest(s.Hash(), spki, exported),
		keyHash: digest(s.Hash(), spki),
	}, nil
}

func digest(h crypto.Hash, parts ...[]byte) []byte {
	d := h.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

// Valid tells a computed Binding from the zero one.
func (b Binding) Valid() bool { return len(b.binder) > 0 }

// Hash is the hash of the cipher suite, SHA-256 or SHA-384.
func (b Binding) Hash() crypto.Hash { return b.hash }

// Context is the certificate_request_context, at least 16 bytes. The caller must
// not modify it.
func (b Binding) Context() []byte { return b.context }

// SPKI is the SubjectPublicKeyInfo in DER of the key that is attested. The
// caller must not modify it.
func (b Binding) SPKI() []byte { return b.spki }

// Binder is the challenge that Evidence carries, 32 or 48 bytes. The caller must
// not modify it.
func (b Binding) Binder() []byte { return b.binder }

// KeyHash is AIK_pub_hash, 32 or 48 bytes. The caller must not modify it.
func (b Binding) KeyHash() []byte { return b.keyHash }

// ReportData is what a report field of 64 bytes carries. It commits to both
// binder and key hash, which together do not fit there:
//
//	SHA-512("expat-report-data-v1" ‖ 0x00 ‖ binder ‖ key hash)
func (b Binding) ReportData() [64]byte {
	in := make([]byte, 0, len(reportDataTag)+len(b.binder)+len(b.keyHash))
	in = append(in, reportDataTag...)
	in = append(in, b.binder...)
	return sha512.Sum512(append(in, b.keyHash...))
}

// MatchBinder compares a value from signed Evidence with the binder, in
// constant time.
func (b Binding) MatchBinder(got []byte) bool { return b.Valid() && equal(b.binder, got) }

// MatchKeyHash compares a value from signed Evidence with the key hash, in
// constant time.
func (b Binding) MatchKeyHash(got []byte) bool { return b.Valid() && equal(b.keyHash, got) }

// MatchReportData compares a report field with ReportData, in constant time. A
// field of another length than 64 bytes does not match.
func (b Binding) MatchReportData(got []byte) bool {
	want := b.ReportData()
	return b.Valid() && equal(want[:], got)
}

// MatchKey compares a SubjectPublicKeyInfo from signed Evidence with the key.
func (b Binding) MatchKey(spki []byte) bool { return b.Valid() && equal(b.spki, spki) }

// same tells whether two Bindings are of one connection, request and key.
func (b Binding) same(o Binding) bool {
	return b.hash == o.hash && b.MatchBinder(o.binder) && b.MatchKeyHash(o.keyHash) && equal(b.context, o.context)
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
