package platform

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"slices"
	"time"

	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
)

// attestSimulated makes the device that the reference values describe, a key in it,
// and a certificate for that key.
func attestSimulated(o Options) (*Own, error) {
	keys, err := state.LoadKeys(o.State, time.Now())
	if err != nil {
		return nil, err
	}
	device, err := simulatedDevice(o, keys)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	if slices.Contains(o.Lies, simulated.ForeignKey) {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = device.GenerateKey(elliptic.P256())
	}
	if err != nil {
		return nil, err
	}
	lying := simulated.NewAttester(device, o.Lies...)
	if o.LieAfter == 0 {
		return o.issued(lying, key)
	}
	t := &turning{Attester: simulated.NewAttester(device), bad: lying, after: o.LieAfter, turned: o.Turned}
	own, err := o.issued(t, key)
	own.close = t.close
	return own, err
}

func simulatedDevice(o Options, keys *state.Keys) (*simulated.Device, error) {
	trust, err := state.Load(o.State, time.Now())
	if err != nil {
		return nil, err
	}
	if o.Side == state.Client {
		return trust.Reference.Client.Device(keys.Vendor)
	}
	return trust.Reference.Server.Device(keys.Vendor)
}

func usage(side state.Side) x509.ExtKeyUsage {
	if side == state.Client {
		return x509.ExtKeyUsageClientAuth
	}
	return x509.ExtKeyUsageServerAuth
}
