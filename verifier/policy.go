package verifier

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expat-go/expat/evidence"
)

// DefaultLifetime is the lifetime of a Result where the policy sets none.
const DefaultLifetime = 24 * time.Hour

// minDigest is the shortest digest in bytes that a policy can allow, that of
// SHA-256: digests of broken hashes are shorter.
const minDigest = 32

// ErrPolicy: a policy is incomplete or contradicts itself.
var ErrPolicy = errors.New("verifier: policy is not usable")

// Policy says which attesting environment is acceptable. [New] refuses one that
// leaves out what is required, and copies it.
type Policy struct {
	// Name identifies the policy in results. Required.
	Name string

	// Roots are the roots of the platform's vendors whose Evidence is trusted.
	// Required, not empty; never those of TLS certificates.
	Roots *x509.CertPool

	// Measurements holds the reference values: by name of the measurement the
	// digests that are good, each at least 32 bytes. Every name must be
	// measured and match. Measurements or MinVersions is required.
	Measurements map[string][][]byte
	// AllowUnlistedMeasurements admits measurements that Measurements does not
	// name: software runs that nobody has judged.
	AllowUnlistedMeasurements bool

	// MinVersions holds the lowest good version by name of the software, as
	// numbers separated by dots; see [CompareVersions]. Every name must be
	// reported, with that version or a later one, and no other name may be.
	// Nil: what software says of itself is not judged.
	MinVersions map[string]string

	// Instances are the identifiers of the devices that are acceptable. Either
	// Instances or AnyInstance is required.
	Instances [][]byte
	// AnyInstance accepts every device of the vendors with good software: a peer
	// can then be another machine than the one meant, also one that an
	// attacker owns.
	AnyInstance bool

	// HardwareModels and Vendors are the identifiers that are acceptable. Nil:
	// not judged, the roots decide.
	HardwareModels, Vendors [][]byte

	// AllowDebugExposingMemory admits environments whose debug facilities are
	// not stated to be off: whoever uses them reads keys and data. The tier is
	// then warning at best, so that AcceptWarning is needed too.
	AllowDebugExposingMemory bool
	// AllowDebugLeftToSoftware admits platforms without a debug mode to report,
	// as a TPM is: the software, which Measurements must then pin in full, is
	// trusted to let nobody read keys and data.
	AllowDebugLeftToSoftware bool
	// AllowKeyNamedBySoftware admits keys of which the platform says only that
	// software inside named them, as report data does: that software, which
	// Measurements must then pin in full, is trusted to keep its key inside.
	AllowKeyNamedBySoftware bool
	// AllowExternalKey admits keys that were made outside the environment or of
	// which nothing is said: the peer can then be anywhere, as long as someone
	// has the environment name its key. The tier is then warning at best, so
	// that AcceptWarning is needed too.
	AllowExternalKey bool

	// RevokedInstances are identifiers of devices that are refused. With any,
	// Evidence must state its instance.
	RevokedInstances [][]byte
	// Revoked, if set, tells whether a device is refused. It is called only with
	// claims that no other check has refused, and must not modify them. An
	// error and a panic mean that no verdict is reached. It is called from
	// several goroutines and returns when ctx ends.
	Revoked func(ctx context.Context, c *evidence.Claims) (bool, error)

	// Rules are conditions beside the reference values. All are asked, with claims
	// whose signature, chain and binding are good; each must hold.
	Rules []Rule

	// Lifetime is how long a Result holds, at least a second; it never outlives
	// the certificates of the Evidence's signer. Zero: [DefaultLifetime].
	Lifetime time.Duration
	// AcceptWarning opens connections at the warning tier.
	AcceptWarning bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// check lists everything that is wrong with a policy.
func (p *Policy) check() error {
	var missing []error
	need := func(ok bool, what string) {
		if !ok {
			missing = append(missing, errors.New(what))
		}
	}
	need(p.Name != "", "set Name")
	need(evidence.CheckRoots(p.Roots) == nil, "set Roots to the roots of the vendors you trust")
	need(len(p.Measurements)+len(p.MinVersions) > 0, "set Measurements or MinVersions to your reference values")
	need((len(p.Instances) > 0) != p.AnyInstance, "set either Instances or AnyInstance")
	need(p.Lifetime == 0 || p.Lifetime >= time.Second, "set Lifetime to a second or more")
	need(p.AcceptWarning || !p.AllowDebugExposingMemory, "AllowDebugExposingMemory is of use only with AcceptWarning")
	need(p.AcceptWarning || !p.AllowExternalKey, "AllowExternalKey is of use only with AcceptWarning")
	pinned := len(p.Measurements) > 0 && !p.AllowUnlistedMeasurements
	need(pinned || !p.AllowKeyNamedBySoftware, "AllowKeyNamedBySoftware needs Measurements, and no unlisted ones")
	need(pinned || !p.AllowDebugLeftToSoftware, "AllowDebugLeftToSoftware needs Measurements, and no unlisted ones")
	for name, digests := range p.Measurements {
		need(len(digests) > 0, fmt.Sprintf("Measurements[%q] allows no digest", name))
		for _, d := range digests {
			need(len(d) >= minDigest, fmt.Sprintf("Measurements[%q] has a digest under %d bytes", name, minDigest))
		}
	}
	for name, version := range p.MinVersions {
		_, err := parseVersion(version)
		need(err == nil, fmt.Sprintf("MinVersions[%q] is not numbers separated by dots", name))
	}
	for field, list := range map[string][][]byte{
		"Instances": p.Instances, "RevokedInstances": p.RevokedInstances,
		"HardwareModels": p.HardwareModels, "Vendors": p.Vendors,
	} {
		need(list == nil || len(list) > 0, field+" is empty; leave it nil instead")
		need(!slices.ContainsFunc(list, func(b []byte) bool { return len(b) == 0 }), field+" has an empty identifier")
	}
	checkRules(p.Rules, need)
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b error) int { return bytes.Compare([]byte(a.Error()), []byte(b.Error())) })
	return fmt.Errorf("%w: %w", ErrPolicy, errors.Join(missing...))
}

// settings are what is left of a policy without its lists: they are in
// [references]. They share nothing with what the caller could change later.
func (p Policy) settings() Policy {
	p.Roots = p.Roots.Clone()
	p.Rules = slices.Clone(p.Rules)
	p.Measurements, p.MinVersions = nil, nil
	p.Instances, p.RevokedInstances, p.HardwareModels, p.Vendors = nil, nil, nil, nil
	if p.Lifetime == 0 {
		p.Lifetime = DefaultLifetime
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	return p
}
