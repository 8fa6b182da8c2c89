package vectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
)

type evidenceInput struct {
	Connection  Connection `json:"connection"`
	Profile     string     `json:"profile"`
	Context     Bytes      `json:"context"`
	Certificate Bytes      `json:"certificate"`
	MediaType   string     `json:"media_type"`
	Evidence    Bytes      `json:"evidence"`
	Roots       []string   `json:"roots"`
	Time        time.Time  `json:"time"`
}

type evidenceExpected struct {
	Binder        Bytes         `json:"binder"`
	KeyHash       Bytes         `json:"key_hash"`
	Instance      Bytes         `json:"instance"`
	Vendor        Bytes         `json:"vendor"`
	HardwareModel *Bytes        `json:"hardware_model"`
	Debug         string        `json:"debug"`
	Software      *software     `json:"software"`
	Measurements  []measurement `json:"measurements"`
	KeyProvenance string        `json:"key_provenance"`
	Signer        signer        `json:"signer"`
}

type software struct {
	Name    string  `json:"name"`
	Version *string `json:"version"`
}

type measurement struct {
	Name      string  `json:"name"`
	Version   *string `json:"version"`
	Algorithm string  `json:"algorithm"`
	Digest    Bytes   `json:"digest"`
}

type signer struct {
	Serial   Bytes     `json:"serial"`
	KeyID    Bytes     `json:"key_id"`
	NotAfter time.Time `json:"not_after"`
}

const (
	reasonOEMID     = "oemid"
	reasonSignature = "signature"
)

// evidenceSteps are the reasons of malformed Evidence by the step that found it,
// in the order of the steps.
var evidenceSteps = []struct{ step, reason string }{
	{"media type", "media-type"},
	{"size", "size"},
	{"COSE_Sign1", "envelope"},
	{"protected header", "header"},
	{"x5chain", "x5chain"},
	{"signature", "signature-size"},
	{"claims", "claims"},
}

var evidenceReasons = func() []string {
	var out []string
	for _, s := range evidenceSteps {
		out = append(out, s.reason)
	}
	return append(out, reasonChain, reasonSignature, reasonOEMID, reasonBinder, reasonKeyHash)
}()

func runEvidence(k *keyring, in *evidenceInput) (outcome, error) {
	b, err := bindingOf(&in.Connection, in.Profile, in.Context, in.Certificate)
	if err != nil {
		return outcome{}, err
	}
	roots, err := k.pool(in.Roots)
	if err != nil {
		return outcome{}, err
	}
	c, err := simulated.Extractor{}.Extract(context.Background(), in.MediaType, in.Evidence, roots, in.Time)
	if err != nil {
		return evidenceReason(err)
	}
	if reason, err := boundReason(c, b); reason != "" || err != nil {
		return outcome{reason: reason}, err
	}
	return outcome{value: describe(c)}, nil
}

func evidenceReason(err error) (outcome, error) {
	var e *evidence.Error
	switch {
	case !errors.As(err, &e):
	case e.Reason == evidence.ErrSignature:
		return outcome{reason: reasonSignature}, nil
	case e.Reason == evidence.ErrChain && e.Step == "oemid":
		return outcome{reason: reasonOEMID}, nil
	case e.Reason == evidence.ErrChain:
		return outcome{reason: reasonChain}, nil
	}
	for _, s := range evidenceSteps {
		if e != nil && e.Reason == evidence.ErrFormat && e.Step == s.step {
			return outcome{reason: s.reason}, nil
		}
	}
	return outcome{}, fmt.Errorf("refused for no reason of the group: %w", err)
}

// boundReason is "" for Evidence that is bound to b.
func boundReason(c *evidence.Claims, b attestation.Binding) (string, error) {
	err := c.Bound(b)
	binder, key := errors.Is(err, evidence.ErrBinder), errors.Is(err, evidence.ErrKeyHash)
	switch {
	case err == nil:
		return "", nil
	case binder && !key:
		return reasonBinder, nil
	case key && !binder:
		return reasonKeyHash, nil
	}
	return "", fmt.Errorf("more than one defect: %w", err)
}

func describe(c *evidence.Claims) evidenceExpected {
	out := evidenceExpected{
		Binder: c.Binder, KeyHash: c.KeyHash, Instance: c.Instance, Vendor: c.Vendor,
		Debug: c.Debug.String(), Measurements: []measurement{}, KeyProvenance: c.Key.String(),
		Signer: signer{c.Signer.Serial, c.Signer.KeyID, c.Signer.NotAfter.UTC()},
	}
	if c.HardwareModel != nil {
		model := Bytes(c.HardwareModel)
		out.HardwareModel = &model
	}
	for _, s := range c.Software {
		out.Software = &software{s.Name, optional(s.Version)}
	}
	for _, m := range c.Measurements {
		out.Measurements = append(out.Measurements, measurement{m.Name, optional(m.Version), m.Algorithm, m.Digest})
	}
	return out
}
