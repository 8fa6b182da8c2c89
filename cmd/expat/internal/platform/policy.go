package platform

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/policy/platforms"
)

// extensions are what a larger program adds to policy files.
var extensions policy.Options

// Extend adds rules and formats of reference values to policy files, before any
// command runs.
func Extend(o policy.Options) { extensions = o }

// PolicyOptions are those of every policy file.
func PolicyOptions() policy.Options {
	o := extensions
	o.Platforms = append(platforms.All(), o.Platforms...)
	return o
}

// PolicyFile is the policy file of a state directory by which the other side judges
// this one.
func PolicyFile(path string, side state.Side) string {
	return filepath.Join(path, "policy-"+string(side)+".yaml")
}

// WritePolicies puts policy files into a state directory that say what its reference
// values say. A file that is there stays as it is. The error wraps
// [state.ErrState].
func WritePolicies(path string, trust *state.Trust) error {
	for side, e := range map[state.Side]*state.Environment{state.Server: &trust.Reference.Server, state.Client: &trust.Reference.Client} {
		name := PolicyFile(path, side)
		if _, err := os.Stat(name); err == nil {
			continue
		}
		text, err := referencePolicy(side, e)
		if err == nil {
			err = create(name, text)
		}
		if err != nil {
			return fmt.Errorf("%w: %w; make the directory writable, or choose another with --state", state.ErrState, err)
		}
	}
	return nil
}

// create makes a file appear with its whole content, unless another process was
// faster.
func create(name string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".policy-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func referencePolicy(side state.Side, e *state.Environment) ([]byte, error) {
	c := &evidence.Claims{
		Instance: e.Instance, HardwareModel: []byte(e.HardwareModel),
		Debug: evidence.DebugDisabledSinceBoot, Key: evidence.KeyBornInside,
		Software: []evidence.Software{{Name: e.SoftwareName, Version: e.SoftwareVersion}},
	}
	for _, m := range e.Measurements {
		c.Measurements = append(c.Measurements, evidence.Measurement{Name: m.Name, Algorithm: "sha-256", Digest: m.SHA256})
	}
	d := policy.Draft{
		Name: "test-" + string(side), Confirmed: true,
		Comment: []string{
			"What the simulated TEE of the " + string(side) + " must be, for whoever judges it: TEST values.",
			"Change it and see: expat policy check FILE, expat policy explain FILE EVIDENCE.",
		},
		Environments: []policy.DraftEnvironment{{
			Platform: Simulated, Root: policy.DraftRoot{File: state.RootFile},
			Observed: []policy.Observation{{Source: state.ReferenceFile, Claims: c}},
		}},
	}
	return d.Marshal()
}

// Recorder hands on to a Verifier, and keeps the last message that it was shown, or
// the first.
type Recorder struct {
	attestation.Verifier
	First bool

	mu   sync.Mutex
	last *cmw.Message
	of   attestation.Binding
}

// Appraise keeps the message, acceptable or not.
func (r *Recorder) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	r.mu.Lock()
	if r.last == nil || !r.First {
		r.last, r.of = m, b
	}
	r.mu.Unlock()
	return r.Verifier.Appraise(ctx, b, m)
}

// ErrNoEvidence: there was no Evidence to save.
var ErrNoEvidence = errors.New("no Evidence came that could be saved")

// BinderType and KeyType are the PEM types of what [Recorder.Save] writes beside the
// Evidence: the binder, and the SubjectPublicKeyInfo of the key.
const (
	BinderType = "EXPAT BINDER"
	KeyType    = "PUBLIC KEY"
)

// Save writes the message as a CMW to a file, and what it was bound to as
// FILE.binding.
func (r *Recorder) Save(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		return ErrNoEvidence
	}
	b, err := r.last.MarshalCBOR()
	if err != nil {
		return err
	}
	binding := append(pem.EncodeToMemory(&pem.Block{Type: BinderType, Bytes: r.of.Binder()}),
		pem.EncodeToMemory(&pem.Block{Type: KeyType, Bytes: r.of.SPKI()})...)
	return errors.Join(os.WriteFile(name, b, 0o600), os.WriteFile(name+".binding", binding, 0o600))
}
