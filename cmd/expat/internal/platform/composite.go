package platform

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/composite"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// attestComposite has all parts attest the TLS key in the TPM.
func attestComposite(ctx context.Context, o Options, names []string) (*Own, error) {
	var parts []composite.Part
	for _, name := range names {
		var a attestation.Attester
		var err error
		switch name {
		case TPM:
			continue // opened last: nothing is left to fail
		case Simulated:
			a, err = besideTPM(o)
		default:
			a, err = teeAttester(name)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, composite.Part{Label: name, Attester: a})
	}
	own, err := attestTPM(ctx, o)
	if err != nil {
		return nil, err
	}
	a, err := composite.New(append(parts, composite.Part{Label: TPM, Attester: own.Attester})...)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	own.Attester = a
	return own, nil
}

// besideTPM is a simulated TEE that names the key which the TPM beside it holds and
// certifies.
func besideTPM(o Options) (attestation.Attester, error) {
	keys, err := state.LoadKeys(o.State, time.Now())
	if err != nil {
		return nil, err
	}
	device, err := simulatedDevice(o, keys)
	if err != nil {
		return nil, err
	}
	return simulated.NewAttester(device).AcceptKeysHeldElsewhere(), nil
}

// judgeComposite demands every part, each by its own reference values.
func judgeComposite(path string, names []string, other state.Side) (attestation.Verifier, error) {
	var environments []verifier.Environment
	for _, name := range names {
		var v attestation.Verifier
		var err error
		if name == Simulated {
			v, err = judgeBesideTPM(path, other)
		} else {
			v, err = Judge(path, name, other)
		}
		if err != nil {
			return nil, err
		}
		environments = append(environments, verifier.Environment{Label: name, Verifier: v})
	}
	return verifier.NewCollection(strings.Join(names, "+")+" "+string(other), environments...)
}

func judgeBesideTPM(path string, other state.Side) (attestation.Verifier, error) {
	trust, err := state.Load(path, time.Now())
	if err != nil {
		return nil, err
	}
	e := &trust.Reference.Server
	if other == state.Client {
		e = &trust.Reference.Client
	}
	p := e.Policy(state.ReferenceFile+" "+string(other)+" beside a TPM", trust.Evidence)
	p.AllowKeyNamedBySoftware = true // the measurements are pinned
	return verifier.New(p, simulated.Extractor{})
}
