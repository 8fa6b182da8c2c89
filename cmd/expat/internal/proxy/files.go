package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"

	"github.com/expat-go/expat/internal/strictyaml"
)

// files are those that were read, or could not be, by name: the digest of the content
// or of the error. That the times of a file are the same proves nothing.
type files map[string][sha256.Size]byte

func digest(b []byte, err error) [sha256.Size]byte {
	if err != nil {
		return sha256.Sum256([]byte("error: " + err.Error()))
	}
	return sha256.Sum256(b)
}

// read reads a file and remembers what it held.
func (f files) read(name string) ([]byte, error) {
	b, err := strictyaml.Read(name)
	f[name] = digest(b, err)
	return b, err
}

// changed tells whether a file holds something else now.
func (f files) changed() bool {
	for name, was := range f {
		b, err := strictyaml.Read(name)
		if digest(b, err) != was {
			return true
		}
	}
	return false
}

// with is f, and what other has beside it.
func (f files) with(other files) files {
	all := maps.Clone(other)
	maps.Copy(all, f)
	return all
}

// same tells whether both hold the same files with the same content.
func (f files) same(other files) bool { return maps.Equal(f, other) }

// roots reads a file of certificates.
func (f files) roots(name string) (*x509.CertPool, error) {
	b, err := f.read(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", name)
	}
	return pool, nil
}

// certificate reads a chain and its key.
func (f files) certificate(chain, key string) (tls.Certificate, error) {
	c, err := f.read(chain)
	if err != nil {
		return tls.Certificate{}, err
	}
	k, err := f.read(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(c, k)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s with %s: %w", chain, key, err)
	}
	return cert, nil
}
