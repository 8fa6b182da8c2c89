// Package state keeps the test keys, roots and reference values that expat serve
// shares with expat connect in a directory. Everything in it is for trying things
// out: whoever reads the directory can be either side.
package state

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/expat-go/expat/evidence/simulated"
)

// The files. The first three are made once and stay; the roots follow from them.
const (
	CAKeyFile     = "ca-test-key.pem"
	VendorKeyFile = "simulated-vendor-test-key.pem"
	ReferenceFile = "simulated-reference.json"
	CAFile        = "ca.pem"
	RootFile      = "simulated-root.pem"
)

const (
	caComment   = "TEST root of expat serve for X.509 certificates. It protects nothing.\n\n"
	rootComment = "TEST root of expat serve for Evidence of simulated TEEs. It protects nothing.\n\n"
	keysHeader  = "TEST KEYS of expat serve. They protect nothing.\n"
)

// File modes: the keys are nobody else's, what is public is readable.
const (
	modeDir    = 0o700
	modeKeys   = 0o600
	modePublic = 0o644
)

// ErrState: a state directory cannot be used.
var ErrState = errors.New("state directory")

// Trust is what a side needs to judge the other.
type Trust struct {
	CA        *x509.Certificate // root of X.509 certificates
	Evidence  *x509.Certificate // root of Evidence
	Reference *Reference
}

// Roots holds the root of X.509 certificates.
func (t *Trust) Roots() *x509.CertPool { return pool(t.CA) }

// Keys are what a side needs to be judged well.
type Keys struct {
	CA     *CA
	Vendor *simulated.Vendor
}

// Create opens a state directory for a server; what is not there is made, what is
// there is used. The error wraps [ErrState] and names the file.
func Create(path string, now time.Time) (*Trust, *Keys, error) {
	d := dir(path)
	if err := os.MkdirAll(path, modeDir); err != nil {
		return nil, nil, fmt.Errorf("%w: %w; choose another with --state", ErrState, err)
	}
	for _, f := range []struct {
		name    string
		mode    fs.FileMode
		content func() ([]byte, error)
	}{
		{CAKeyFile, modeKeys, func() ([]byte, error) { return newCAFile(now) }},
		{VendorKeyFile, modeKeys, func() ([]byte, error) { return newVendorFile(now) }},
		{ReferenceFile, modePublic, newReferenceFile},
	} {
		if _, err := d.keep(f.name, f.mode, f.content); err != nil {
			return nil, nil, d.unusable(f.name, err)
		}
	}
	keys, err := LoadKeys(path, now)
	if err != nil {
		return nil, nil, err
	}
	if err := d.keepRoot(CAFile, encodeRoot(caComment, keys.CA.root)); err != nil {
		return nil, nil, err
	}
	if err := d.keepRoot(RootFile, encodeRoot(rootComment, keys.Vendor.Root())); err != nil {
		return nil, nil, err
	}
	trust, err := Load(path, now)
	return trust, keys, err
}

func newCAFile(now time.Time) ([]byte, error) {
	ca, err := newCA(now)
	if err != nil {
		return nil, err
	}
	return ca.marshal()
}

func newVendorFile(now time.Time) ([]byte, error) {
	vendor, err := simulated.NewVendor("expat serve test", now)
	if err != nil {
		return nil, err
	}
	b, err := vendor.MarshalPEM()
	return append([]byte(keysHeader), b...), err
}

func newReferenceFile() ([]byte, error) {
	r, err := newReference()
	if err != nil {
		return nil, err
	}
	return r.marshal()
}

// keepRoot demands that a root is the one that follows from the keys.
func (d dir) keepRoot(name string, want []byte) error {
	got, err := d.keep(name, modePublic, func() ([]byte, error) { return want, nil })
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("it does not belong to the keys beside it")
	}
	if err != nil {
		return d.unusable(name, err)
	}
	return nil
}

// Load reads what a client needs to judge the server. The error wraps [ErrState]
// and names the file.
func Load(path string, now time.Time) (*Trust, error) {
	d := dir(path)
	t := new(Trust)
	for _, f := range []struct {
		name  string
		parse func([]byte) error
	}{
		{CAFile, func(b []byte) (err error) { t.CA, err = currentRoot(b, now); return err }},
		{RootFile, func(b []byte) (err error) { t.Evidence, err = currentRoot(b, now); return err }},
		{ReferenceFile, func(b []byte) (err error) { t.Reference, err = parseReference(b); return err }},
	} {
		if err := d.load(f.name, f.parse); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func currentRoot(b []byte, now time.Time) (*x509.Certificate, error) {
	root, err := parseRoot(b)
	if err != nil {
		return nil, err
	}
	return root, current(root, now)
}

// LoadKeys reads what either side needs to be a device of the directory's vendor,
// with a certificate of its CA. The error wraps [ErrState] and names the file.
func LoadKeys(path string, now time.Time) (*Keys, error) {
	d := dir(path)
	k := new(Keys)
	if err := d.load(CAKeyFile, func(b []byte) (err error) {
		if k.CA, err = parseCA(b); err != nil {
			return err
		}
		return current(k.CA.root, now)
	}); err != nil {
		return nil, err
	}
	err := d.load(VendorKeyFile, func(b []byte) (err error) {
		if k.Vendor, err = simulated.ParseVendor(b); err != nil {
			return err
		}
		return current(k.Vendor.Root(), now)
	})
	return k, err
}

func (d dir) load(name string, parse func([]byte) error) error {
	b, err := d.read(name)
	if err == nil {
		err = parse(b)
	}
	if err != nil {
		return d.unusable(name, err)
	}
	return nil
}

// unusable says what to do about a file.
func (d dir) unusable(name string, err error) error {
	path := filepath.Join(string(d), name)
	var where *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is missing; start expat serve with --state %s first", ErrState, path, string(d))
	case errors.As(err, &where):
		return fmt.Errorf("%w: %w; make it readable and its directory writable, or choose another with --state", ErrState, err)
	}
	return fmt.Errorf("%w: %s cannot be used: %w; remove the directory %s and start expat serve again, which makes new test keys", ErrState, path, err, string(d))
}
