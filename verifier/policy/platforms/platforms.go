// Package platforms gives policy files the platforms of this module.
package platforms

import (
	"crypto/x509"
	"encoding/pem"

	"github.com/expat-go/expat/verifier/policy"
)

// All are simulated, tpm, sevsnp and tdx.
func All() []policy.Platform {
	return []policy.Platform{Simulated(), TPM(), SEVSNP(), TDX()}
}

// derOf is what is in PEM, or the bytes themselves, which are then DER.
func derOf(b []byte) [][]byte {
	var out [][]byte
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		out = append(out, block.Bytes)
	}
	if out == nil {
		return [][]byte{b}
	}
	return out
}

// certificates reads a list of files of certificates: entries {file: NAME}.
func certificates(s *policy.Section, name string) []*x509.Certificate {
	return files(s, name, "certificate", x509.ParseCertificate)
}

// revocationLists reads a list of files of revocation lists: entries {file: NAME}.
func revocationLists(s *policy.Section, name string) []*x509.RevocationList {
	return files(s, name, "revocation list", x509.ParseRevocationList)
}

// files reads a list of files that each hold one or more of what parse reads.
func files[T any](s *policy.Section, name, what string, parse func(der []byte) (T, error)) []T {
	var out []T
	for _, entry := range s.Sections(name) {
		b := entry.Read("file")
		if !entry.Has("file") {
			entry.Fail("file", "it is missing", "name a file")
		}
		if b == nil {
			continue
		}
		for _, der := range derOf(b) {
			v, err := parse(der)
			if err != nil {
				entry.Fail("file", "it holds no "+what+": "+err.Error(), "name a file of "+what+"s in PEM or DER")
				break
			}
			out = append(out, v)
		}
	}
	return out
}
