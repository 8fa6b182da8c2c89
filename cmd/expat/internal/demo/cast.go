package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier"
)

// Names of the two sides, as in the reports.
const (
	server = "server"
	client = "client"
)

// cast is who takes part: a CA that both sides trust for names, and the two sides.
type cast struct {
	ca             *testca.CA
	now            time.Time
	server, client *party
}

// party is one side: a device of a vendor of its own, a TLS key born in that
// device, and what it accepts of the other side.
type party struct {
	role     string // server or client
	name     string // in its certificate
	maker    string
	software string
	version  string
	vendor   *simulated.Vendor
	device   *simulated.Device
	parts    []evidence.Measurement
	cert     tls.Certificate
	given    *Device // nil: a new device
	accepted string  // by the other side, in words; "" where it is this device
	accepts  attestation.Verifier
}

func newCast(o Options) (*cast, error) {
	now := time.Now()
	ca, err := testca.New("expat demo", now)
	if err != nil {
		return nil, err
	}
	c := &cast{
		ca: ca, now: now,
		server: &party{role: server, name: "server.example", maker: "Alder", software: "vault", version: "2.4.1"},
		client: &party{role: client, name: "client.example", maker: "Birch", software: "payroll", version: "1.9.0"},
	}
	c.server.given, c.server.accepted = o.Server, o.Accepts
	for _, p := range []*party{c.server, c.client} {
		if err := p.build(ca, now); err != nil {
			return nil, err
		}
	}
	if c.server.accepts, err = c.client.appraiser(o.ServerPolicy); err != nil {
		return nil, err
	}
	if c.client.accepts = o.Client; o.Client == nil {
		c.client.accepts, err = c.server.appraiser(o.ClientPolicy)
	}
	return c, err
}

// build makes the device, and a certificate for a key that is born in it.
func (p *party) build(ca *testca.CA, now time.Time) (err error) {
	if g := p.given; g != nil {
		p.device, p.vendor, p.maker, p.software, p.version = g.Device, g.Vendor, g.Maker, g.Software, g.Version
	} else if err = p.newDevice(now); err != nil {
		return err
	}
	key, err := p.device.GenerateKey(elliptic.P256())
	if err != nil {
		return err
	}
	p.cert, err = ca.Leaf(key, now, p.name)
	return err
}

func (p *party) newDevice(now time.Time) (err error) {
	if p.vendor, err = simulated.NewVendor(p.maker, now); err != nil {
		return err
	}
	for _, component := range []string{"firmware", "kernel", "application"} {
		sum := sha256.Sum256([]byte(p.maker + " " + p.software + " " + component))
		p.parts = append(p.parts, evidence.Measurement{Name: component, Algorithm: "sha-256", Digest: sum[:]})
	}
	p.device, err = p.vendor.NewDevice(simulated.DeviceOptions{
		HardwareModel:   []byte(p.maker + "-1"),
		SoftwareName:    p.software,
		SoftwareVersion: p.version,
		Debug:           evidence.DebugDisabledSinceBoot,
		Measurements:    p.parts,
	})
	return err
}

// appraiser is the policy that accepts this very device with this software, and
// nothing else.
func (p *party) appraiser(adjust func(*verifier.Policy)) (*verifier.Appraiser, error) {
	policy := verifier.Policy{
		Name:         p.role + " of the demo",
		Roots:        p.vendor.Roots(),
		Instances:    [][]byte{p.device.Instance()},
		MinVersions:  map[string]string{p.software: p.version},
		Measurements: make(map[string][][]byte),
	}
	for _, m := range p.parts {
		policy.Measurements[m.Name] = [][]byte{m.Digest}
	}
	if adjust != nil {
		adjust(&policy)
	}
	return verifier.New(policy, simulated.Extractor{})
}

// timeout bounds one connection of the demonstration.
const timeout = 5 * time.Second

// config is how a side takes part: both sides attest, and demand it.
func (c *cast) config(p *party, trace *expat.Trace) *expat.Config {
	return &expat.Config{
		TLS:      c.tls(p.cert),
		Attester: simulated.NewAttester(p.device),
		Verifier: p.accepts,
		Timeout:  timeout,
		Trace:    trace,
	}
}

// tls trusts the CA for names, in both roles.
func (c *cast) tls(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      c.ca.Pool(),
		ClientCAs:    c.ca.Pool(),
		ServerName:   c.server.name,
	}
}

// attacker is how someone takes part who has a certificate for name, from the CA
// and for a key in software.
func (c *cast) attacker(name string, a attestation.Attester, v attestation.Verifier) (*expat.Config, error) {
	key, err := softwareKey()
	if err != nil {
		return nil, err
	}
	cert, err := c.ca.Leaf(key, c.now, name)
	if err != nil {
		return nil, err
	}
	return &expat.Config{TLS: c.tls(cert), Attester: a, Verifier: v, Timeout: timeout}, nil
}

func softwareKey() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}
