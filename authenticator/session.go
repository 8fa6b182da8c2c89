package authenticator

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"

	// The authenticator hashes of TLS 1.2 and 1.3.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// MaxContexts is how many certificate_request_context values a [Session]
// remembers: above it no request is made or taken (RFC 9261, Section 4, asks
// that they be unique over the connection's life). At 32 bytes a context that
// is some 400 KiB.
const MaxContexts = 4096

// Session is one TLS connection seen from one side. It holds the exporter
// values of both senders and one set of used contexts for both directions and
// both request types (RFC 9261, Section 4). It is safe for concurrent use.
type Session struct {
	self     Role
	version  uint16
	hash     crypto.Hash
	exporter Exporter
	keys     [3]roleKeys // by the sender's Role

	// parsed holds the certificates that the TLS handshake parsed, so that a
	// peer that shows the same ones again costs no second parse.
	parsed []*x509.Certificate

	mu   sync.Mutex
	used map[string]struct{} // contexts seen in either direction
}

// NewSession returns the Session of a TLS 1.3 connection whose handshake is
// complete; for a server that means that the client's Finished was verified
// (RFC 9261, Section 9). Use [NewSessionTLS12] for TLS 1.2.
func NewSession(cs tls.ConnectionState, self Role) (*Session, error) {
	if cs.Version != tls.VersionTLS13 {
		return nil, fail(OpSession, FaultLocal, reason(ErrConnection, "version is %s, want TLS 1.3", tls.VersionName(cs.Version)))
	}
	return newTLSSession(cs, self)
}

// NewSessionTLS12 returns the Session of a TLS 1.2 connection that negotiated
// extended_master_secret (RFC 7627); without it the error is [ErrConnection]
// (RFC 9261, Section 5.1), also under GODEBUG=tlsunsafeekm=1. Attestation is
// never run on such a Session.
func NewSessionTLS12(cs tls.ConnectionState, self Role) (*Session, error) {
	if cs.Version != tls.VersionTLS12 {
		return nil, fail(OpSession, FaultLocal, reason(ErrConnection, "version is %s, want TLS 1.2", tls.VersionName(cs.Version)))
	}
	s, err := newTLSSession(cs, self)
	if err != nil {
		return nil, err
	}
	// After the exports, so that theirs are counted.
	if err := checkEMS(); err != nil {
		return nil, fail(OpSession, FaultLocal, err)
	}
	return s, nil
}

func newTLSSession(cs tls.ConnectionState, self Role) (*Session, error) {
	if !cs.HandshakeComplete {
		return nil, fail(OpSession, FaultLocal, reason(ErrConnection, "%w", errors.New("the TLS handshake is not complete")))
	}
	h, err := suiteHash(cs.Version, cs.CipherSuite)
	if err != nil {
		return nil, fail(OpSession, FaultLocal, err)
	}
	s, err := newSession(&cs, h, self, cs.Version)
	if err != nil {
		return nil, err
	}
	s.parsed = cs.PeerCertificates
	return s, nil
}

// NewSessionFromExporter returns the Session of a connection known only by its
// exporter, for QUIC and test vectors. The caller vouches for what
// [NewSession] checks: TLS 1.3, a complete handshake, and h as the hash of the
// cipher suite, SHA-256 or SHA-384.
func NewSessionFromExporter(e Exporter, h crypto.Hash, self Role) (*Session, error) {
	return newSession(e, h, self, tls.VersionTLS13)
}

func newSession(e Exporter, h crypto.Hash, self Role, version uint16) (*Session, error) {
	if e == nil || (self != Client && self != Server) || (h != crypto.SHA256 && h != crypto.SHA384) {
		return nil, fail(OpSession, FaultLocal, reason(ErrMisuse, "exporter %T, hash %v, role %v", e, h, self))
	}
	s := &Session{self: self, version: version, hash: h, exporter: e, used: make(map[string]struct{})}
	for _, sender := range []Role{Client, Server} {
		var err error
		if s.keys[sender], err = deriveKeys(e, h, sender); err != nil {
			return nil, fail(OpSession, FaultLocal, err)
		}
	}
	return s, nil
}

// Role is the side of the connection that this Session was made for.
func (s *Session) Role() Role { return s.self }

// Hash is the authenticator hash: that of the TLS 1.3 cipher suite, or of the
// TLS 1.2 PRF.
func (s *Session) Hash() crypto.Hash { return s.hash }

// Version is the TLS version, as in [tls.ConnectionState].
func (s *Session) Version() uint16 { return s.version }

// Export calls the connection's exporter. The label is 1 to 200 bytes, the
// length 1 to 1024; a nil context stands for the zero-length one.
func (s *Session) Export(label string, context []byte, length int) ([]byte, error) {
	out, err := export(s.exporter, label, context, length)
	if err != nil {
		return nil, fail(OpSession, FaultLocal, err)
	}
	return out, nil
}

// ConnectionCheck returns 16 bytes that are equal on both sides of one TLS
// connection and differ where a proxy ends it. RFC 9261, Section 5.2.2 suggests
// such a comparison before a peer is blamed for a failing signature. The value
// may be shown and logged; it is exported under a label of its own, never the
// Handshake Context.
func (s *Session) ConnectionCheck() ([]byte, error) {
	return s.Export(labelConnectionCheck, nil, 16)
}

// claim adds a context to the used set; a context that is there already is
// refused, whichever side used it and whichever way (RFC 9261, Section 4).
func (s *Session) claim(context []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, dup := s.used[string(context)]; dup {
		return ErrContextReuse
	}
	if len(s.used) >= MaxContexts {
		return reason(ErrLimit, "%d contexts were used on this connection; open a new one", MaxContexts)
	}
	s.used[string(context)] = struct{}{}
	return nil
}

// once flips *done and fails if it was set: a request is answered, and an
// answer validated, one time (RFC 9261, Section 5.2).
func (s *Session) once(done *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *done {
		return ErrContextReuse
	}
	*done = true
	return nil
}

// parse parses one certificate, or returns the one the handshake parsed from
// the same bytes.
func (s *Session) parse(der []byte) (*x509.Certificate, error) {
	for _, c := range s.parsed {
		if bytes.Equal(c.Raw, der) {
			return c, nil
		}
	}
	return x509.ParseCertificate(der)
}
