package platform

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
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
	now := time.Now()
	keys, err := state.LoadKeys(o.State, now)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := keys.CA.Leaf(key, usage(o.Side), now, o.Names...)
	return &Own{Attester: a, Certificate: cert}, err
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
