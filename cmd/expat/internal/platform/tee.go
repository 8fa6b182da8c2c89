package platform

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/evidence/tdx"
)

// attestTEE is for a confidential VM: software in it makes the TLS key, and its
// report names the key.
func attestTEE(o Options) (*Own, error) {
	a, err := teeAttester(o.Platform)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return o.issued(a, key)
}

// teeAttester collects through configfs-tsm. The error wraps [ErrDevice].
func teeAttester(name string) (attestation.Attester, error) {
	var a attestation.Attester
	var err error
	if name == SEVSNP {
		a, err = sevsnp.NewAttester(sevsnp.AttesterOptions{})
	} else {
		a, err = tdx.NewAttester(tdx.AttesterOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: attest as %s: %w; expat doctor says what is missing", ErrDevice, name, err)
	}
	return a, nil
}
