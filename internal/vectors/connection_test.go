package vectors

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/tlspair"
	published "github.com/expat-go/expat/testdata/vectors"
)

// the exporter master secret of RFC 8448, Section 3, derived from the master
// secret printed there and the transcript hash up to the server's Finished.
func TestExporterMasterSecretOfRFC8448(t *testing.T) {
	t.Parallel()
	master := unhex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919")
	transcript := unhex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13")
	secret, err := rfc8448.expandLabel(master, "exp master", transcript, 32)
	require.NoError(t, err)
	require.Equal(t, []byte(rfc8448.ExporterMasterSecret), secret)
}

// keyLog collects lines of NSS key log format.
type keyLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *keyLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.Fields(string(b))...)
	return len(b), nil
}

// field is what follows a label and n fields.
func (l *keyLog) field(t *testing.T, label string, n int) []byte {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.lines {
		if f == label {
			b, err := hex.DecodeString(l.lines[i+n])
			require.NoError(t, err)
			return b
		}
	}
	require.Fail(t, "no "+label)
	return nil
}

// recorder keeps the first bytes that arrive.
type recorder struct {
	net.Conn
	first []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if len(r.first) < 64 {
		r.first = append(r.first, b[:n]...)
	}
	return n, err
}

// a Connection exports what crypto/tls does on a live TLS 1.2 connection,
// with absent and with empty context. TLS 1.3 secrets do not come out of
// crypto/tls: there RFC 8448 is the anchor.
func TestConnectionExportsWhatCryptoTLSDoes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		suite uint16
		hash  string
	}{
		{"SHA-256", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "sha256"},
		{"SHA-384", tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "sha384"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			log := new(keyLog)
			cs, hello := connect(t, log, tc.suite)
			c := Connection{
				TLS: tls12, HashName: tc.hash, MasterSecret: log.field(t, "CLIENT_RANDOM", 2),
				ClientRandom: log.field(t, "CLIENT_RANDOM", 1), ServerRandom: hello[11:43],
			}
			require.NoError(t, c.check())
			for _, context := range [][]byte{nil, {}, count(32), count(255)} {
				for _, length := range []int{1, 32, 48, 100} {
					want, err := cs.ExportKeyingMaterial("EXPORTER-cmw-attestation", context, length)
					require.NoError(t, err)
					got, err := c.ExportKeyingMaterial("EXPORTER-cmw-attestation", context, length)
					require.NoError(t, err)
					require.Equal(t, want, got, "context %x", context)
				}
			}
		})
	}
}

// connect makes a TLS 1.2 connection and returns the client's state and the first bytes
// that it received.
func connect(t *testing.T, log *keyLog, suite uint16) (tls.ConnectionState, []byte) {
	t.Helper()
	k, err := readKeys(published.Files)
	require.NoError(t, err)
	cert := k.identities["server-p256"]
	roots := x509.NewCertPool()
	roots.AddCert(k.roots["x509-root"])
	config := func() *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}, Time: func() time.Time { return checkTime }}
	}
	client, server := tlspair.Pipe(t)
	r := &recorder{Conn: client}
	clientConfig, serverConfig := config(), config()
	clientConfig.RootCAs, clientConfig.ServerName, clientConfig.KeyLogWriter = roots, serverName, log
	serverConfig.Certificates = []tls.Certificate{cert}
	done := make(chan error, 1)
	go func() { done <- tls.Server(server, serverConfig).Handshake() }()
	conn := tls.Client(r, clientConfig)
	require.NoError(t, conn.Handshake())
	require.NoError(t, <-done)
	return conn.ConnectionState(), r.first
}

func TestConnectionRefusesWhatItCannotExport(t *testing.T) {
	t.Parallel()
	_, err := conn12.ExportKeyingMaterial("label", make([]byte, 65536), 32)
	require.ErrorContains(t, err, "65535")
	_, err = rfc8448.ExportKeyingMaterial(strings.Repeat("x", 300), nil, 32)
	require.Error(t, err)
	_, err = rfc8448.ExportKeyingMaterial("label", nil, 8161)
	require.Error(t, err)
}
