package authenticator

import (
	"crypto"
	"crypto/tls"
	"errors"
	"runtime/metrics"
	"slices"
)

// Role is a side of the TLS connection.
type Role uint8

// The two sides of a connection. The zero Role is invalid.
const (
	Client Role = iota + 1
	Server
)

func (r Role) String() string {
	switch r {
	case Client:
		return "client"
	case Server:
		return "server"
	}
	return "invalid role"
}

// Peer is the other side.
func (r Role) peer() Role { return Client + Server - r }

// Exporter is the exporter interface of a TLS connection (RFC 8446,
// Section 7.5; RFC 5705 for TLS 1.2). A *[tls.ConnectionState] is one.
type Exporter interface {
	ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error)
}

// Exporter labels of RFC 9261, Section 5.1 and Section 8.2, by the side that
// sends the authenticator.
var (
	labelHandshakeContext = [...]string{
		Client: "EXPORTER-client authenticator handshake context",
		Server: "EXPORTER-server authenticator handshake context",
	}
	labelFinishedKey = [...]string{
		Client: "EXPORTER-client authenticator finished key",
		Server: "EXPORTER-server authenticator finished key",
	}
)

// labelConnectionCheck is not registered, hence the prefix (RFC 5705, Section 4).
const labelConnectionCheck = "EXPERIMENTAL-expat connection check"

// Bounds of [Session.Export]. crypto/tls panics on label lengths above 249
// bytes and on lengths above 8160; these stay well below.
const (
	maxLabel   = 200   // bytes
	maxExport  = 1024  // bytes
	maxContext = 65535 // bytes, RFC 5705, Section 4
)

// export is the one place where an exporter is called. A nil context becomes a
// zero-length one, which TLS 1.2 tells apart (RFC 5705, Section 4).
func export(e Exporter, label string, context []byte, length int) ([]byte, error) {
	if len(label) == 0 || len(label) > maxLabel || len(context) > maxContext || length < 1 || length > maxExport {
		return nil, reason(ErrMisuse, "export of %d bytes under a label of %d bytes with a context of %d bytes", length, len(label), len(context))
	}
	if context == nil {
		context = []byte{}
	}
	out, err := e.ExportKeyingMaterial(label, context, length)
	if err != nil {
		return nil, reason(ErrConnection, "exporter %q: %w", label, err)
	}
	if len(out) != length {
		return nil, reason(ErrConnection, "exporter %q gave %d bytes, want %d", label, len(out), length)
	}
	return out, nil
}

// roleKeys are the two exporter values of one sender (RFC 9261, Section 5.1).
type roleKeys struct {
	handshakeContext []byte
	finishedKey      []byte
}

// deriveKeys derives the values of one sender; their length is the output
// length of the authenticator hash.
func deriveKeys(e Exporter, h crypto.Hash, sender Role) (roleKeys, error) {
	hc, err := export(e, labelHandshakeContext[sender], nil, h.Size())
	if err != nil {
		return roleKeys{}, err
	}
	fk, err := export(e, labelFinishedKey[sender], nil, h.Size())
	return roleKeys{handshakeContext: hc, finishedKey: fk}, err
}

// suiteHash returns the hash of a TLS 1.3 suite or the PRF hash of a TLS 1.2
// suite. Suites that are not listed have neither for us (RFC 9261, Section 5.1).
func suiteHash(version, suite uint16) (crypto.Hash, error) {
	switch {
	case version == tls.VersionTLS13:
		switch suite {
		case tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256:
			return crypto.SHA256, nil
		case tls.TLS_AES_256_GCM_SHA384:
			return crypto.SHA384, nil
		}
	case slices.Contains(tls12SHA384, suite):
		return crypto.SHA384, nil
	case slices.Contains(tls12SHA256, suite):
		return crypto.SHA256, nil
	}
	return 0, reason(ErrConnection, "cipher suite %s has no known hash", tls.CipherSuiteName(suite))
}

// The TLS 1.2 suites of crypto/tls with an ephemeral key exchange, by the hash
// of the TLS PRF (RFC 5246, Section 5). Static RSA and CBC suites are left out.
var (
	tls12SHA384 = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	}
	tls12SHA256 = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
)

// checkEMS reports whether an exporter of this process worked on a TLS 1.2
// connection without extended_master_secret (RFC 9261, Section 5.1). crypto/tls
// refuses those, unless GODEBUG=tlsunsafeekm=1; ConnectionState does not show
// which of the two happened, but the runtime counts every such export. The
// count is the process's: where it is not zero no connection can be told to be
// safe, so none is.
func checkEMS() error {
	sample := []metrics.Sample{{Name: "/godebug/non-default-behavior/tlsunsafeekm:events"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return reason(ErrConnection, "%w", errors.New("cannot tell whether extended_master_secret was negotiated"))
	}
	if sample[0].Value.Uint64() != 0 {
		return reason(ErrConnection, "%w", errors.New("GODEBUG=tlsunsafeekm=1 exported keys without extended_master_secret; remove it"))
	}
	return nil
}
