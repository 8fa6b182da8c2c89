package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/testca"
)

// authority is a CA whose certificates lie in files.
type authority struct {
	ca  *testca.CA
	dir string
}

func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	ca, err := testca.New(name, time.Now())
	require.NoError(t, err)
	a := &authority{ca, dir}
	replace(t, filepath.Join(dir, name+".pem"), pemOf(ca.Root.Raw))
	return a
}

func (a *authority) leaf(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	return a.leafAt(t, time.Now(), names...)
}

func (a *authority) leafAt(t testing.TB, at time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf, err := a.ca.Leaf(key, at, names...)
	require.NoError(t, err)
	return leaf
}

// write issues a certificate and puts it with its key into NAME.pem and NAME-key.pem.
func (a *authority) write(t testing.TB, name string, names ...string) tls.Certificate {
	t.Helper()
	return a.put(t, name, a.leaf(t, names...))
}

func (a *authority) put(t testing.TB, name string, leaf tls.Certificate) tls.Certificate {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	require.NoError(t, err)
	replace(t, filepath.Join(a.dir, name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	replace(t, filepath.Join(a.dir, name+".pem"), pemOf(leaf.Certificate...))
	return leaf
}

func pemOf(der ...[]byte) (out []byte) {
	for _, d := range der {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
	}
	return out
}
