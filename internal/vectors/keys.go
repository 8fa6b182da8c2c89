package vectors

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

const keysName = "keys.json"

// Keys is the content of keys.json.
type Keys struct {
	Version     int        `json:"version"`
	Description string     `json:"description"`
	Roots       []Root     `json:"roots"`
	Identities  []Identity `json:"identities"`
}

// Root is a trust anchor.
type Root struct {
	Name        string `json:"name"`
	Comment     string `json:"comment"`
	Certificate Bytes  `json:"certificate"`
}

// Identity is a test key with its certificates, leaf first, without the root.
type Identity struct {
	Name         string  `json:"name"`
	Comment      string  `json:"comment"`
	Scheme       uint16  `json:"scheme"`
	PrivateKey   Bytes   `json:"private_key"`
	Certificates []Bytes `json:"certificates"`
}

// keyring holds what the cases refer to by name.
type keyring struct {
	roots      map[string]*x509.Certificate
	identities map[string]tls.Certificate
}

func parseKeys(data []byte) (*keyring, error) {
	var file Keys
	if err := decode(data, &file); err != nil {
		return nil, err
	}
	if file.Version != version || len(file.Roots) == 0 || len(file.Identities) == 0 {
		return nil, fmt.Errorf("want version %d, roots and identities", version)
	}
	k := &keyring{roots: make(map[string]*x509.Certificate), identities: make(map[string]tls.Certificate)}
	for _, r := range file.Roots {
		c, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			return nil, fmt.Errorf("root %q: %w", r.Name, err)
		}
		k.roots[r.Name] = c
	}
	for _, id := range file.Identities {
		key, err := parseKey(id.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("identity %q: %w", id.Name, err)
		}
		cert := tls.Certificate{PrivateKey: key}
		for _, der := range id.Certificates {
			cert.Certificate = append(cert.Certificate, der)
		}
		k.identities[id.Name] = cert
	}
	if len(k.roots) != len(file.Roots) || len(k.identities) != len(file.Identities) {
		return nil, errors.New("a name occurs twice")
	}
	return k, nil
}

func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T does not sign", key)
	}
	return signer, nil
}

func (k *keyring) pool(names []string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, name := range names {
		c, ok := k.roots[name]
		if !ok {
			return nil, fmt.Errorf("no root %q in %s", name, keysName)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

func (k *keyring) identity(name string) (tls.Certificate, error) {
	id, ok := k.identities[name]
	if !ok {
		return id, fmt.Errorf("no identity %q in %s", name, keysName)
	}
	return id, nil
}
