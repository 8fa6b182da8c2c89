package soak

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier"
)

const serverName = "server.test"

// house is what all parties share: who certifies names, who makes devices, and the
// policy that good ones meet.
type house struct {
	ca     *testca.CA
	roots  *x509.CertPool
	vendor *simulated.Vendor
	policy attestation.Verifier
	made   atomic.Uint32
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := new(house)
	var err error
	h.ca, err = testca.New("soak", time.Now())
	require.NoError(t, err)
	h.roots = h.ca.Pool()
	h.vendor, err = simulated.NewVendor("soak", time.Now())
	require.NoError(t, err)
	h.policy, err = newPolicy(h.vendor.Roots())
	require.NoError(t, err)
	return h
}

// newPolicy is met by good devices of the vendors.
func newPolicy(vendors *x509.CertPool) (attestation.Verifier, error) {
	return verifier.New(verifier.Policy{
		Name: "soak", Roots: vendors, AnyInstance: true,
		Measurements: map[string][][]byte{"app": {make([]byte, 32)}},
	}, simulated.Extractor{Chains: new(evidence.Chains)})
}

// party is one side: a device, its key, and how the device behaves at the moment.
type party struct {
	device *simulated.Device
	cert   tls.Certificate
	now    atomic.Pointer[attestation.Attester]
}

func (h *house) newParty(t testing.TB, name string) *party {
	t.Helper()
	n := h.made.Add(1)
	device, err := h.vendor.NewDevice(simulated.DeviceOptions{
		Instance:      append([]byte{1, byte(n >> 8), byte(n)}, make([]byte, 14)...),
		HardwareModel: []byte("model"), SoftwareName: "firmware", SoftwareVersion: "1.0",
		Debug:        evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "app", Algorithm: "sha-256", Digest: make([]byte, 32)}},
	})
	require.NoError(t, err)
	key, err := device.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	p := &party{device: device}
	p.cert, err = h.ca.Leaf(key, time.Now(), name)
	require.NoError(t, err)
	p.behave()
	return p
}

// config is for both roles, mutual and with re-attestation.
func (h *house) config(p *party, every time.Duration) *expat.Config {
	return &expat.Config{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{p.cert}, RootCAs: h.roots, ClientCAs: h.roots, ServerName: serverName,
		},
		Attester: p, Verifier: h.policy, ReattestEvery: every, Timeout: timeout,
	}
}

// behave makes the device a good one that tells the given lies.
func (p *party) behave(lies ...simulated.Lie) {
	p.turn(simulated.NewAttester(p.device, lies...))
}

func (p *party) turn(a attestation.Attester) { p.now.Store(&a) }

func (p *party) MediaTypes() []string { return []string{simulated.MediaType} }

func (p *party) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return (*p.now.Load()).Attest(ctx, b, accept)
}

// hanging is a device that does not answer.
type hanging struct{}

func (hanging) MediaTypes() []string { return []string{simulated.MediaType} }

func (hanging) Attest(ctx context.Context, _ attestation.Binding, _ []string) (*cmw.Message, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
