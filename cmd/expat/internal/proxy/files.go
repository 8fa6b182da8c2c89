package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"time"

	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/rotate"
)

// files are those that were read, or could not be, by name. That the times of a file
// are the same proves nothing: the content is compared.
type files map[string]content

// content is what was in a file, or why it could not be read.
type content struct {
	b      []byte
	err    error
	digest [sha256.Size]byte // of the one or the other
}

func look(name string) content {
	b, err := strictyaml.Read(name)
	if err != nil {
		return content{err: err, digest: sha256.Sum256([]byte("error: " + err.Error()))}
	}
	return content{b: b, digest: sha256.Sum256(b)}
}

// read reads a file and remembers what it held: it is the same for all that name it.
func (f files) read(name string) ([]byte, error) {
	c, ok := f[name]
	if !ok {
		c = look(name)
		f[name] = c
	}
	return c.b, c.err
}

// changed tells whether a file holds something else now.
func (f files) changed() bool {
	for name, was := range f {
		if look(name).digest != was.digest {
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
func (f files) same(other files) bool {
	return maps.EqualFunc(f, other, func(a, b content) bool { return a.digest == b.digest })
}

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

// certificate reads a chain and its key, which can be used at a time.
func (f files) certificate(chain, key string, now time.Time) (*tls.Certificate, error) {
	c, err := f.read(chain)
	if err != nil {
		return nil, err
	}
	k, err := f.read(key)
	if err != nil {
		return nil, err
	}
	cert, err := rotate.Pair(c, k, now)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", chain, key, err)
	}
	return cert, nil
}
