package verifier

import (
	"fmt"
	"time"

	"github.com/expat-go/expat/evidence"
)

// expiry ends the Result with the signer's certificates at the latest.
func (j *judgement) expiry(now time.Time) {
	end := j.claims.Signer.NotAfter
	if end.IsZero() {
		j.skip(CheckExpiry, "", "the platform states no time at which its certificates end")
		return
	}
	j.lifetime = min(j.lifetime, end.Sub(now))
	ends := j.lifetime < time.Second
	j.require(!ends, &j.vector.InstanceIdentity, untrustworthyInstance, func() *CheckError {
		got := "certificates that end now"
		if !ends {
			got = "certificates until " + end.UTC().Format(time.RFC3339)
		}
		return &CheckError{Check: CheckExpiry, Want: "a second or more", Got: got}
	})
}

func (j *judgement) instance() {
	r, got := j.references, j.claims.Instance
	if j.policy.AnyInstance {
		j.skip(CheckInstance, "", "the policy accepts any instance; it is "+show(got))
	} else {
		j.require(r.instances.has(got), &j.vector.InstanceIdentity, unrecognizedInstance, func() *CheckError {
			return &CheckError{Check: CheckInstance, Want: r.instances.text, Got: show(got)}
		})
	}
	if !r.revoked.given() {
		j.skip(CheckRevocation, "", "the policy lists no revoked instance")
		return
	}
	j.require(len(got) > 0 && !r.revoked.has(got), &j.vector.InstanceIdentity, untrustworthyInstance, j.describeRevocation)
}

func (j *judgement) describeRevocation() *CheckError {
	return &CheckError{Check: CheckRevocation, Want: "an instance that is not revoked", Got: show(j.claims.Instance)}
}

func (j *judgement) hardware() {
	for _, c := range []struct {
		check Check
		want  *set
		got   []byte
	}{
		{CheckVendor, &j.references.vendors, j.claims.Vendor},
		{CheckHardwareModel, &j.references.models, j.claims.HardwareModel},
	} {
		if !c.want.given() {
			j.skip(c.check, "", "the policy names none, the roots decide; it is "+show(c.got))
			continue
		}
		j.require(c.want.has(c.got), &j.vector.Hardware, unrecognizedHardware, func() *CheckError {
			return &CheckError{Check: c.check, Want: c.want.text, Got: show(c.got)}
		})
	}
}

func (j *judgement) debug() {
	state := j.claims.Debug
	verdict, value := Fails, unsupportableConfig
	switch {
	case state.Off(), state == evidence.DebugLeftToSoftware && j.policy.AllowDebugLeftToSoftware:
		verdict = Holds
	case j.policy.AllowDebugExposingMemory:
		verdict, value = Warns, unsafeConfig
	}
	j.settle(verdict, &j.vector.Configuration, value, func() *CheckError {
		return &CheckError{Check: CheckDebug, Want: "disabled", Got: state.String()}
	})
}

// provenance is the defence against a good environment that names a key it does
// not hold (draft-fossati-seat-expat, Section 7).
func (j *judgement) provenance() {
	key := j.claims.Key
	verdict, value := Fails, exposedSecrets
	switch {
	case key == evidence.KeyBornInside, key == evidence.KeyNamedBySoftware && j.policy.AllowKeyNamedBySoftware:
		verdict = Holds
	case j.policy.AllowExternalKey:
		verdict, value = Warns, softwareKeptSecrets
	}
	j.settle(verdict, &j.vector.StorageOpaque, value, func() *CheckError {
		return &CheckError{Check: CheckKeyProvenance, Want: evidence.KeyBornInside.String(), Got: key.String()}
	})
}

// measurements compares digests with the reference values. A name that is measured
// twice must match each time.
func (j *judgement) measurements() {
	r := j.references
	seen := make(map[string]struct{}, len(j.claims.Measurements))
	for _, m := range j.claims.Measurements {
		allowed, listed := r.measurements[m.Name]
		if listed {
			seen[m.Name] = struct{}{}
			j.require(allowed.has(m.Digest), &j.vector.Executables, contraindicatedFiles, func() *CheckError {
				return &CheckError{Check: CheckMeasurement, Subject: m.Name, Want: allowed.text, Got: show(m.Digest)}
			})
			continue
		}
		unlisted := j.policy.AllowUnlistedMeasurements
		j.require(unlisted, &j.vector.Executables, unrecognizedRuntime, func() *CheckError {
			e := &CheckError{Check: CheckMeasurement, Subject: m.Name, Want: "no measurement of this name", Got: show(m.Digest)}
			if unlisted {
				e.Want = "anything: unlisted measurements are allowed"
			}
			return e
		})
	}
	if len(seen) == len(r.measured) {
		return
	}
	for _, name := range r.measured {
		if _, ok := seen[name]; !ok {
			j.settle(Fails, &j.vector.Executables, contraindicatedFiles, func() *CheckError {
				return &CheckError{Check: CheckMeasurement, Subject: name, Want: r.measurements[name].text, Got: "none"}
			})
		}
	}
}

// software compares versions with the lowest good ones.
func (j *judgement) software() {
	r := j.references
	if len(r.software) == 0 {
		j.skip(CheckSoftware, "", "the policy names no versions: what software says of itself is not judged")
		return
	}
	seen := make(map[string]struct{}, len(j.claims.Software))
	for _, s := range j.claims.Software {
		lowest, listed := r.versions[s.Name]
		if !listed {
			j.settle(Fails, &j.vector.Executables, unrecognizedRuntime, func() *CheckError {
				return &CheckError{Check: CheckSoftware, Subject: s.Name, Want: "no software of this name", Got: fmt.Sprintf("%q", s.Version)}
			})
			continue
		}
		seen[s.Name] = struct{}{}
		late, err := lowest.reached(s.Version)
		j.require(late, &j.vector.Executables, contraindicatedFiles, func() *CheckError {
			return &CheckError{Check: CheckSoftware, Subject: s.Name, Want: lowest.text + " or later", Got: fmt.Sprintf("%q", s.Version), Err: err}
		})
	}
	for _, name := range r.software {
		if _, ok := seen[name]; !ok {
			j.settle(Fails, &j.vector.Executables, contraindicatedFiles, func() *CheckError {
				return &CheckError{Check: CheckSoftware, Subject: name, Want: r.versions[name].text + " or later", Got: "none"}
			})
		}
	}
}

// platform reports what the platform's own policy found wrong.
func (j *judgement) platform() {
	for _, f := range j.claims.Findings {
		j.settle(Fails, &j.vector.Hardware, contraindicatedChip, func() *CheckError {
			return &CheckError{Check: CheckPlatform, Subject: f.Check, Want: f.Want, Got: f.Got}
		})
	}
	if len(j.claims.Findings) == 0 {
		j.settle(Holds, nil, 0, func() *CheckError {
			return &CheckError{Check: CheckPlatform, Want: "no finding of the platform's own policy", Got: "none"}
		})
	}
}
