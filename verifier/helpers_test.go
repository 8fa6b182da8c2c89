package verifier_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

var (
	kernel   = bytes.Repeat([]byte{0x4b}, 32)
	app      = bytes.Repeat([]byte{0xa0}, 48)
	instance = append([]byte{1}, bytes.Repeat([]byte{0x11}, 16)...)
	model    = []byte("model-1")
)

// lab is a vendor, a device with an identity, and the policy that fits them.
type lab struct {
	vendor *simulated.Vendor
	device *simulated.Device
	id     *authenticator.Identity
	policy verifier.Policy
}

func deviceOptions() simulated.DeviceOptions {
	return simulated.DeviceOptions{
		Instance:        instance,
		HardwareModel:   model,
		SoftwareName:    "firmware",
		SoftwareVersion: "1.10.2",
		Debug:           evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{
			{Name: "kernel", Version: "6.1", Algorithm: "sha-256", Digest: kernel},
			{Name: "app", Algorithm: "sha-384", Digest: app},
		},
	}
}

func newLab(t testing.TB, o simulated.DeviceOptions) *lab {
	t.Helper()
	vendor, err := simulated.NewVendor("test", time.Now())
	require.NoError(t, err)
	device, err := vendor.NewDevice(o)
	require.NoError(t, err)
	key, err := device.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	return &lab{vendor: vendor, device: device, id: identity(t, key), policy: verifier.Policy{
		Name:           "test policy",
		Roots:          vendor.Roots(),
		Measurements:   map[string][][]byte{"kernel": {kernel}, "app": {bytes.Repeat([]byte{9}, 48), app}},
		MinVersions:    map[string]string{"firmware": "1.9"},
		Instances:      [][]byte{instance},
		HardwareModels: [][]byte{model},
		Vendors:        [][]byte{vendor.OEMID()},
	}}
}

func identity(t testing.TB, key crypto.Signer) *authenticator.Identity {
	t.Helper()
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	return id
}

func softwareKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func appraiser(t testing.TB, p verifier.Policy) *verifier.Appraiser {
	t.Helper()
	a, err := verifier.New(p, simulated.Extractor{})
	require.NoError(t, err)
	return a
}

// exchange runs the whole path, from the request to the Result.
func exchange(t testing.TB, h crypto.Hash, id *authenticator.Identity, a attestation.Attester, v attestation.Verifier) (*attestation.Result, error) {
	t.Helper()
	c, err := evidencetest.Connect(h)
	require.NoError(t, err)
	return c.Exchange(context.Background(), id, a, v)
}

// run judges the lab's device by the lab's policy.
func (l *lab) run(t testing.TB, lies ...simulated.Lie) (*attestation.Result, error) {
	t.Helper()
	return exchange(t, crypto.SHA256, l.id, simulated.NewAttester(l.device, lies...), appraiser(t, l.policy))
}

// names lists the failed checks with their subjects.
func names(err error) []string {
	var out []string
	for _, c := range verifier.FailedChecks(err) {
		name := string(c.Check)
		if c.Subject != "" {
			name += " " + c.Subject
		}
		out = append(out, name)
	}
	return out
}
