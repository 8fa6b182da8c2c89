package verifier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
)

// Values of AR4SI trust claims (draft-ietf-rats-ar4si, Section 2.3).
const (
	trustworthyInstance   attestation.TrustClaim = 2
	untrustworthyInstance attestation.TrustClaim = 96
	unrecognizedInstance  attestation.TrustClaim = 97
	approvedConfig        attestation.TrustClaim = 2
	unsafeConfig          attestation.TrustClaim = 32
	unsupportableConfig   attestation.TrustClaim = 96
	approvedRuntime       attestation.TrustClaim = 2
	unrecognizedRuntime   attestation.TrustClaim = 33
	contraindicatedFiles  attestation.TrustClaim = 96
	genuineHardware       attestation.TrustClaim = 2
	unrecognizedHardware  attestation.TrustClaim = 97
	softwareKeptSecrets   attestation.TrustClaim = 32
	exposedSecrets        attestation.TrustClaim = 96
	contraindicatedChip   attestation.TrustClaim = 96
	cryptoFailed          attestation.TrustClaim = 99
)

// judgement collects what the checks find. The vector starts as if all is well;
// a check only makes its part worse.
type judgement struct {
	policy   *Policy
	claims   *evidence.Claims
	vector   attestation.TrustVector
	failed   []error
	warned   []error
	lifetime time.Duration
}

func newJudgement(p *Policy, c *evidence.Claims) *judgement {
	j := &judgement{policy: p, claims: c, lifetime: p.Lifetime, vector: attestation.TrustVector{
		Configuration: approvedConfig,
		Executables:   approvedRuntime,
		Hardware:      genuineHardware,
	}}
	if !p.AnyInstance { // who accepts any instance makes no claim about it
		j.vector.InstanceIdentity = trustworthyInstance
	}
	return j
}

func (j *judgement) fail(claim *attestation.TrustClaim, value attestation.TrustClaim, e *CheckError) {
	*claim = max(*claim, value)
	j.failed = append(j.failed, e)
}

func (j *judgement) warn(claim *attestation.TrustClaim, value attestation.TrustClaim, e *CheckError) {
	*claim = max(*claim, value)
	j.warned = append(j.warned, e)
}

func (j *judgement) status() attestation.Tier {
	switch {
	case len(j.failed) > 0:
		return attestation.TierContraindicated
	case len(j.warned) > 0:
		return attestation.TierWarning
	}
	return attestation.TierAffirming
}

// binding compares what the Evidence is bound to with this connection, request and
// key.
func (j *judgement) binding(b attestation.Binding) {
	err := j.claims.Bound(b)
	if err == nil {
		return
	}
	known := false
	for _, c := range []struct {
		check     Check
		reason    error
		want, got string
	}{
		{CheckBinder, evidence.ErrBinder, "the binder of this connection, request and key", "another"},
		{CheckKeyHash, evidence.ErrKeyHash, "the hash of the authenticator's key", "another"},
		{CheckCertifiedKey, evidence.ErrKey, "the authenticator's key", "another"},
		{CheckReportData, evidence.ErrReportData, "the report data of this connection, request and key", "other"},
	} {
		if errors.Is(err, c.reason) {
			known = true
			j.fail(&j.vector.InstanceIdentity, cryptoFailed, &CheckError{Check: c.check, Want: c.want, Got: c.got, Err: c.reason})
		}
	}
	if !known {
		j.fail(&j.vector.InstanceIdentity, cryptoFailed, &CheckError{Check: CheckBinder, Err: err})
	}
}

// expiry ends the Result with the signer's certificates at the latest.
func (j *judgement) expiry(now time.Time) {
	end := j.claims.Signer.NotAfter
	if end.IsZero() {
		return
	}
	j.lifetime = min(j.lifetime, end.Sub(now))
	if j.lifetime < time.Second {
		j.fail(&j.vector.InstanceIdentity, untrustworthyInstance, &CheckError{
			Check: CheckExpiry, Want: "a second or more", Got: "certificates that end now",
		})
	}
}

func (j *judgement) instance() {
	p, c := j.policy, j.claims
	if !p.AnyInstance && !contains(p.Instances, c.Instance) {
		j.fail(&j.vector.InstanceIdentity, unrecognizedInstance, &CheckError{
			Check: CheckInstance, Want: oneOf(p.Instances), Got: show(c.Instance),
		})
	}
	if p.RevokedInstances != nil && (len(c.Instance) == 0 || contains(p.RevokedInstances, c.Instance)) {
		j.fail(&j.vector.InstanceIdentity, untrustworthyInstance, &CheckError{
			Check: CheckRevocation, Want: "an instance that is not revoked", Got: show(c.Instance),
		})
	}
}

// revocation asks the policy's own source.
func (j *judgement) revocation(ctx context.Context) error {
	if j.policy.Revoked == nil {
		return nil
	}
	revoked, err := j.policy.Revoked(ctx, j.claims)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: revocation: %w", attestation.ErrUnavailable, err)
	}
	if revoked {
		j.fail(&j.vector.InstanceIdentity, untrustworthyInstance, &CheckError{
			Check: CheckRevocation, Want: "an instance that is not revoked", Got: show(j.claims.Instance),
		})
	}
	return nil
}

func (j *judgement) hardware() {
	p, c := j.policy, j.claims
	if p.Vendors != nil && !contains(p.Vendors, c.Vendor) {
		j.fail(&j.vector.Hardware, unrecognizedHardware, &CheckError{
			Check: CheckVendor, Want: oneOf(p.Vendors), Got: show(c.Vendor),
		})
	}
	if p.HardwareModels != nil && !contains(p.HardwareModels, c.HardwareModel) {
		j.fail(&j.vector.Hardware, unrecognizedHardware, &CheckError{
			Check: CheckHardwareModel, Want: oneOf(p.HardwareModels), Got: show(c.HardwareModel),
		})
	}
}

func (j *judgement) debug() {
	state := j.claims.Debug
	if state.Off() || (state == evidence.DebugLeftToSoftware && j.policy.AllowDebugLeftToSoftware) {
		return
	}
	e := &CheckError{Check: CheckDebug, Want: "disabled", Got: state.String()}
	if j.policy.AllowDebugExposingMemory {
		j.warn(&j.vector.Configuration, unsafeConfig, e)
		return
	}
	j.fail(&j.vector.Configuration, unsupportableConfig, e)
}

// provenance is the defence against a good environment that names a key it does
// not hold (draft-fossati-seat-expat, Section 7).
func (j *judgement) provenance() {
	switch key := j.claims.Key; {
	case key == evidence.KeyBornInside:
	case key == evidence.KeyNamedBySoftware && j.policy.AllowKeyNamedBySoftware:
	default:
		e := &CheckError{Check: CheckKeyProvenance, Want: evidence.KeyBornInside.String(), Got: key.String()}
		if j.policy.AllowExternalKey {
			j.warn(&j.vector.StorageOpaque, softwareKeptSecrets, e)
			return
		}
		j.fail(&j.vector.StorageOpaque, exposedSecrets, e)
	}
}

// measurements compares digests with the reference values. A name that is measured
// twice must match each time.
func (j *judgement) measurements() {
	p := j.policy
	seen := make(map[string]bool, len(j.claims.Measurements))
	for _, m := range j.claims.Measurements {
		seen[m.Name] = true
		allowed, listed := p.Measurements[m.Name]
		switch {
		case listed && !contains(allowed, m.Digest):
			j.fail(&j.vector.Executables, contraindicatedFiles, &CheckError{
				Check: CheckMeasurement, Subject: m.Name, Want: oneOf(allowed), Got: show(m.Digest),
			})
		case !listed && !p.AllowUnlistedMeasurements:
			j.fail(&j.vector.Executables, unrecognizedRuntime, &CheckError{
				Check: CheckMeasurement, Subject: m.Name, Want: "no measurement of this name", Got: show(m.Digest),
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Measurements)) {
		if !seen[name] {
			j.fail(&j.vector.Executables, contraindicatedFiles, &CheckError{
				Check: CheckMeasurement, Subject: name, Want: oneOf(p.Measurements[name]), Got: "none",
			})
		}
	}
}

// software compares versions with the lowest good ones.
func (j *judgement) software() {
	p := j.policy
	if len(p.MinVersions) == 0 {
		return
	}
	seen := make(map[string]bool, len(j.claims.Software))
	for _, s := range j.claims.Software {
		seen[s.Name] = true
		lowest, listed := p.MinVersions[s.Name]
		if !listed {
			j.fail(&j.vector.Executables, unrecognizedRuntime, &CheckError{
				Check: CheckSoftware, Subject: s.Name, Want: "no software of this name", Got: fmt.Sprintf("%q", s.Version),
			})
			continue
		}
		if order, err := CompareVersions(s.Version, lowest); err != nil || order < 0 {
			j.fail(&j.vector.Executables, contraindicatedFiles, &CheckError{
				Check: CheckSoftware, Subject: s.Name, Want: lowest + " or later", Got: fmt.Sprintf("%q", s.Version), Err: err,
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.MinVersions)) {
		if !seen[name] {
			j.fail(&j.vector.Executables, contraindicatedFiles, &CheckError{
				Check: CheckSoftware, Subject: name, Want: p.MinVersions[name] + " or later", Got: "none",
			})
		}
	}
}

// platform reports what the platform's own policy found wrong.
func (j *judgement) platform() {
	for _, f := range j.claims.Findings {
		j.fail(&j.vector.Hardware, contraindicatedChip, &CheckError{
			Check: CheckPlatform, Subject: f.Check, Want: f.Want, Got: f.Got,
		})
	}
}

func show(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return hex.EncodeToString(b)
}

// maxShown bounds how many alternatives an error lists.
const maxShown = 3

func oneOf(list [][]byte) string {
	var out []string
	for _, b := range list[:min(len(list), maxShown)] {
		out = append(out, show(b))
	}
	if more := len(list) - maxShown; more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, " or ")
}
