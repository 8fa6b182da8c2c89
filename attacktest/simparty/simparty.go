// Package simparty makes an [attacktest.Party] of simulated environments: what
// someone has who attacks an endpoint of package evidence/simulated. It is also
// the example to follow for another platform.
package simparty

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"time"

	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
)

// Options say what a good party of that kind is. All fields are required.
type Options struct {
	// Vendor makes devices that the victim trusts.
	Vendor *simulated.Vendor
	// Device makes a device with the software that the victim wants: the
	// instance that it means for nil, else that instance.
	Device func(v *simulated.Vendor, instance []byte) (*simulated.Device, error)
	// Issue certifies a key, with a name and a usage that the victim accepts.
	Issue func(key crypto.Signer) (tls.Certificate, error)
}

// New makes a Party. It has no Twin: only its owner has the victim's key.
func New(o Options) (*attacktest.Party, error) {
	p, device, err := o.inside(o.Vendor, nil)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	other, err := o.Issue(key)
	if err != nil {
		return nil, err
	}
	p.Other = &other
	p.Foreign = simulated.NewAttester(device, simulated.ForeignKey)
	p.Misnamed = simulated.NewAttester(device, simulated.WrongKey)
	p.Dressed = dresser{device}.dress
	instance := make([]byte, 17) // ueid of type RAND (RFC 9711, Section 4.2.1)
	if _, err := rand.Read(instance[1:]); err != nil {
		return nil, err
	}
	instance[0] = 1
	if p.Diverted, _, err = o.inside(o.Vendor, instance); err != nil {
		return nil, err
	}
	nobody, err := simulated.NewVendor("nobody", time.Now())
	if err != nil {
		return nil, err
	}
	p.Unknown, _, err = o.inside(nobody, nil)
	return p, err
}

// inside is a party whose key is born in a device.
func (o Options) inside(v *simulated.Vendor, instance []byte) (*attacktest.Party, *simulated.Device, error) {
	device, err := o.Device(v, instance)
	if err != nil {
		return nil, nil, err
	}
	key, err := device.GenerateKey(elliptic.P256())
	if err != nil {
		return nil, nil, err
	}
	cert, err := o.Issue(key)
	return &attacktest.Party{Identity: cert, Attester: simulated.NewAttester(device)}, device, err
}

type dresser struct{ device *simulated.Device }

// labelNonce is the label of eat_nonce, which readers who look for it in the
// wrong place may take from there.
const labelNonce = 10

// dress puts a binder into the unprotected header of Evidence for another.
func (d dresser) dress(ctx context.Context, signed, outer attestation.Binding) (*cmw.Message, error) {
	m, err := simulated.NewAttester(d.device).Attest(ctx, signed, []string{simulated.MediaType})
	if err != nil {
		return nil, err
	}
	value, err := withHeader(m.Value(), map[int][]byte{labelNonce: outer.Binder()})
	if err != nil {
		return nil, err
	}
	return cmw.NewRecord(m.MediaType(), value, m.Indicator())
}

// withHeader replaces the unprotected header of a COSE_Sign1 (RFC 9052, Section
// 4.2), which no signature covers.
func withHeader(token []byte, header map[int][]byte) ([]byte, error) {
	sign1 := new(cose.Sign1Message)
	if err := sign1.UnmarshalCBOR(token); err != nil {
		return nil, err
	}
	for label, value := range header {
		sign1.Headers.RawUnprotected = nil
		sign1.Headers.Unprotected[int64(label)] = value
	}
	return sign1.MarshalCBOR()
}
