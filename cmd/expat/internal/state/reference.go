package state

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

const referenceComment = "TEST reference values of expat serve: the simulated TEEs of both sides and what they run. They protect nothing."

// Reference holds the reference values (RFC 9334, Section 8.3) by which each side
// appraises the other. The devices are made from the same values, so a refusal
// takes a lie.
type Reference struct {
	Comment string      `json:"comment"`
	Server  Environment `json:"server"`
	Client  Environment `json:"client"`
}

// Environment describes one simulated TEE.
type Environment struct {
	Instance        hexBytes      `json:"instance"` // ueid
	HardwareModel   string        `json:"hardware_model"`
	SoftwareName    string        `json:"software_name"`
	SoftwareVersion string        `json:"software_version"` // the lowest good one
	Measurements    []Measurement `json:"measurements"`
}

// Measurement is the good SHA-256 digest of one component.
type Measurement struct {
	Name   string   `json:"name"`
	SHA256 hexBytes `json:"sha256"`
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

func newReference() (*Reference, error) {
	server, err := newEnvironment("server")
	if err != nil {
		return nil, err
	}
	client, err := newEnvironment("client")
	return &Reference{Comment: referenceComment, Server: server, Client: client}, err
}

// newEnvironment makes an environment with an instance of its own. What is
// "measured" is a fixed text.
func newEnvironment(name string) (Environment, error) {
	instance := make([]byte, 17) // ueid of type RAND (RFC 9711, Section 4.2.1)
	if _, err := rand.Read(instance[1:]); err != nil {
		return Environment{}, err
	}
	instance[0] = 1
	e := Environment{Instance: instance, HardwareModel: "simulated-1", SoftwareName: name + "-image", SoftwareVersion: "1.0"}
	for _, component := range []string{"firmware", "kernel", "application"} {
		sum := sha256.Sum256([]byte("expat test " + name + " " + component))
		e.Measurements = append(e.Measurements, Measurement{Name: component, SHA256: sum[:]})
	}
	return e, nil
}

func (r *Reference) marshal() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

func parseReference(b []byte) (*Reference, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	r := new(Reference)
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows the object")
	}
	for name, e := range map[string]*Environment{"server": &r.Server, "client": &r.Client} {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return r, nil
}

func (e *Environment) check() error {
	if len(e.Instance) == 0 || e.HardwareModel == "" || e.SoftwareName == "" || len(e.Measurements) == 0 {
		return errors.New("instance, hardware_model, software_name and measurements must not be empty")
	}
	if _, err := verifier.CompareVersions(e.SoftwareVersion, e.SoftwareVersion); err != nil {
		return fmt.Errorf("software_version: %w", err)
	}
	for _, m := range e.Measurements {
		if m.Name == "" || len(m.SHA256) != sha256.Size {
			return fmt.Errorf("measurement %q must have a name and %d bytes of sha256", m.Name, sha256.Size)
		}
	}
	return nil
}

// Device makes a device that is as the reference values say.
func (e *Environment) Device(v *simulated.Vendor) (*simulated.Device, error) {
	o := simulated.DeviceOptions{
		Instance:        e.Instance,
		HardwareModel:   []byte(e.HardwareModel),
		SoftwareName:    e.SoftwareName,
		SoftwareVersion: e.SoftwareVersion,
		Debug:           evidence.DebugDisabledSinceBoot,
	}
	for _, m := range e.Measurements {
		o.Measurements = append(o.Measurements, evidence.Measurement{Name: m.Name, Algorithm: "sha-256", Digest: m.SHA256})
	}
	return v.NewDevice(o)
}

// Verifier appraises a peer by the reference values.
func (e *Environment) Verifier(name string, root *x509.Certificate) (*verifier.Appraiser, error) {
	return verifier.New(e.Policy(name, root), simulated.Extractor{Chains: new(evidence.Chains)})
}

// Policy pins everything that the reference values say.
func (e *Environment) Policy(name string, root *x509.Certificate) verifier.Policy {
	p := verifier.Policy{
		Name:           name,
		Roots:          pool(root),
		Measurements:   make(map[string][][]byte),
		MinVersions:    map[string]string{e.SoftwareName: e.SoftwareVersion},
		Instances:      [][]byte{e.Instance},
		HardwareModels: [][]byte{[]byte(e.HardwareModel)},
	}
	for _, m := range e.Measurements {
		p.Measurements[m.Name] = append(p.Measurements[m.Name], m.SHA256)
	}
	return p
}

func pool(root *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(root)
	return p
}
