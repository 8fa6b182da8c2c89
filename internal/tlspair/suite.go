package tlspair

import (
	"crypto/tls"
	"sync"
	"testing"
	_ "unsafe" // for go:linkname
)

// crypto/tls has no configuration for the TLS 1.3 suite: two Go ends always agree
// on TLS_AES_128_GCM_SHA256 or, without AES in hardware, on ChaCha20-Poly1305. Its
// two preference lists are among the few names it keeps open to go:linkname.

//go:linkname suitesAES crypto/tls.defaultCipherSuitesTLS13
var suitesAES []uint16

//go:linkname suitesNoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var suitesNoAES []uint16

// preference guards the two lists: [Connect] reads them, [ConnectSuite] writes.
var preference sync.RWMutex

// ConnectSuite is [Connect] with one TLS 1.3 cipher suite. A program in which it
// runs must make every other handshake with [Connect].
func ConnectSuite(t testing.TB, suite uint16, clientConfig, serverConfig *tls.Config) (client, server *tls.Conn) {
	t.Helper()
	preference.Lock()
	defer preference.Unlock()
	aes, noAES := suitesAES, suitesNoAES
	suitesAES, suitesNoAES = []uint16{suite}, []uint16{suite}
	defer func() { suitesAES, suitesNoAES = aes, noAES }()
	client, server = connect(t, clientConfig, serverConfig)
	if got := client.ConnectionState().CipherSuite; got != suite {
		t.Fatalf("cipher suite is %s, want %s", tls.CipherSuiteName(got), tls.CipherSuiteName(suite))
	}
	return client, server
}
