package sevsnp

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-sev-guest/verify/trust"
)

// maxFile is the largest file that [LoadCertificates] reads, in bytes.
const maxFile = 64 << 10

// amdAuthorities are AMD's ARKs, ASKs and ASVKs as go-sev-guest embeds them.
var amdAuthorities = sync.OnceValue(func() []*x509.Certificate {
	var out []*x509.Certificate
	for _, bundle := range [][]byte{
		trust.AskArkMilanVcekBytes, trust.AskArkMilanVlekBytes, trust.AskArkGenoaVcekBytes, trust.AskArkGenoaVlekBytes,
	} {
		certs, err := parsePEM(bundle)
		if err != nil {
			panic(err) // the bundles are constants
		}
		out = append(out, certs...)
	}
	return out
})

// AMDRoots is a new pool with AMD's root keys (ARK) of the product lines Milan
// and Genoa, for the Roots of a policy.
func AMDRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range amdAuthorities() {
		if _, root := arkLine(c); root {
			pool.AddCert(c)
		}
	}
	return pool
}

// LoadCertificates reads every file of a directory that ends in .pem, .crt, .cer
// or .der: certificates in PEM, or one in DER, at most 64 KiB. The error wraps
// [ErrCertificates].
func LoadCertificates(dir string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificates, err)
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".pem", ".crt", ".cer", ".der":
		default:
			continue
		}
		certs, err := loadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCertificates, e.Name(), err)
		}
		out = append(out, certs...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s holds none", ErrCertificates, dir)
	}
	return out, nil
}

func loadFile(name string) ([]*x509.Certificate, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block == nil {
		c, err := x509.ParseCertificate(data)
		return []*x509.Certificate{c}, err
	}
	return parsePEM(data)
}

func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out, nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
}
