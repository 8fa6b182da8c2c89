package policy

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxRoots is how many certificates one entry of roots may hold.
const maxRoots = 64

// roots reads the vendors' roots. The platform is nil where it is not known.
func (s *Section) roots(platform *Platform) *x509.CertPool {
	if !s.Has("roots") {
		s.Fail("roots", "it is missing", "list the roots of the vendors you trust, as {file: NAME}, {pem: TEXT} or {vendor: NAME}")
	}
	var certs []*x509.Certificate
	vendor := false
	for _, r := range s.Sections("roots") {
		named := r.Text("vendor")
		data := r.Read("file")
		inline := r.Text("pem")
		given, field := 0, "file"
		for _, name := range []string{"vendor", "file", "pem"} {
			if r.Has(name) {
				given++
				field = name
			}
		}
		if given != 1 {
			r.Fail("", "it is not exactly one of file, pem and vendor", "write one of them in each entry")
			continue
		}
		if named != "" && platform != nil {
			vendor = s.vendor(r, named, vendor, platform)
		}
		if inline != "" {
			data = []byte(inline)
		}
		if data == nil {
			continue
		}
		found, err := parseRoots(data)
		if err != nil {
			r.fail(field, err.Error(), "give certificates in PEM", err)
		}
		certs = append(certs, found...)
	}
	pool := x509.NewCertPool()
	if vendor {
		pool = platform.VendorRoots()
	}
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

// vendor accepts the name of roots that come with the program.
func (s *Section) vendor(r *Section, name string, twice bool, platform *Platform) bool {
	switch {
	case platform.Vendor == "":
		r.Fail("vendor", "no roots of "+platform.Name+" come with the program", "name a file of roots")
	case name != platform.Vendor:
		r.Fail("vendor", fmt.Sprintf("no roots of %.40q come with the program for %s", name, platform.Name), "write "+platform.Vendor+", or name a file of roots")
	case twice:
		r.Fail("vendor", "it is listed twice", "keep one")
	}
	return name == platform.Vendor && platform.Vendor != ""
}

// parseRoots reads certificates of authorities in PEM, and nothing else.
func parseRoots(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bytes.TrimSpace(b)) > 0 {
		block, rest := pem.Decode(b)
		switch {
		case block == nil:
			return nil, errors.New("it holds something that is not PEM")
		case block.Type != "CERTIFICATE":
			return nil, fmt.Errorf("it holds a %.40q, which is no certificate", block.Type)
		case len(out) == maxRoots:
			return nil, fmt.Errorf("it holds more than %d certificates", maxRoots)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a certificate cannot be read: %w", err)
		}
		if c.BasicConstraintsValid && !c.IsCA {
			return nil, fmt.Errorf("the certificate of %.64q is not one of an authority", c.Subject.String())
		}
		out, b = append(out, c), rest
	}
	if out == nil {
		return nil, errors.New("it holds no certificate")
	}
	return out, nil
}
