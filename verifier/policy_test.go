package verifier_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// TestPolicyDecides changes one field of the policy for one good device.
func TestPolicyDecides(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	stranger, err := simulated.NewVendor("test", time.Now())
	require.NoError(t, err)
	other := append([]byte{1}, make([]byte, 16)...)
	x := bytes.Repeat([]byte{0xee}, 32)
	for name, c := range map[string]struct {
		change func(*verifier.Policy)
		want   []string // none: accepted
	}{
		"as it is":                     {func(*verifier.Policy) {}, nil},
		"wrong root (B-14)":            {func(p *verifier.Policy) { p.Roots = stranger.Roots() }, []string{"certificate chain"}},
		"two roots":                    {func(p *verifier.Policy) { p.Roots.AddCert(stranger.Root()) }, nil},
		"expired chain":                {func(p *verifier.Policy) { p.Now = later(366 * 24 * time.Hour) }, []string{"certificate chain"}},
		"chain about to expire":        {func(p *verifier.Policy) { p.Now = func() time.Time { return l.vendor.Root().NotAfter } }, []string{"certificate expiry"}},
		"other instance (I-7)":         {func(p *verifier.Policy) { p.Instances = [][]byte{other} }, []string{"instance"}},
		"several instances":            {func(p *verifier.Policy) { p.Instances = [][]byte{other, instance} }, nil},
		"any instance":                 {func(p *verifier.Policy) { p.Instances, p.AnyInstance = nil, true }, nil},
		"revoked (I-11)":               {func(p *verifier.Policy) { p.RevokedInstances = [][]byte{other, instance} }, []string{"revocation"}},
		"another revoked":              {func(p *verifier.Policy) { p.RevokedInstances = [][]byte{other} }, nil},
		"revoked by function":          {func(p *verifier.Policy) { p.Revoked = revoked(true, nil) }, []string{"revocation"}},
		"not revoked by function":      {func(p *verifier.Policy) { p.Revoked = revoked(false, nil) }, nil},
		"other vendor":                 {func(p *verifier.Policy) { p.Vendors = [][]byte{stranger.OEMID()} }, []string{"vendor"}},
		"any vendor of the roots":      {func(p *verifier.Policy) { p.Vendors = nil }, nil},
		"other model":                  {func(p *verifier.Policy) { p.HardwareModels = [][]byte{[]byte("model-2")} }, []string{"hardware model"}},
		"any model":                    {func(p *verifier.Policy) { p.HardwareModels = nil }, nil},
		"version equal":                {func(p *verifier.Policy) { p.MinVersions = map[string]string{"firmware": "1.10.2"} }, nil},
		"version below":                {func(p *verifier.Policy) { p.MinVersions = map[string]string{"firmware": "1.10.3"} }, []string{"software version firmware"}},
		"software unlisted, other not": {func(p *verifier.Policy) { p.MinVersions = map[string]string{"boot": "1"} }, []string{"software version firmware", "software version boot"}},
		"versions not judged":          {func(p *verifier.Policy) { p.MinVersions = nil }, nil},
		"measurement other":            {func(p *verifier.Policy) { p.Measurements["kernel"] = [][]byte{x} }, []string{"measurement kernel"}},
		"measurement missing":          {func(p *verifier.Policy) { p.Measurements["initrd"] = [][]byte{x} }, []string{"measurement initrd"}},
		"measurement unlisted":         {func(p *verifier.Policy) { delete(p.Measurements, "app") }, []string{"measurement app"}},
		"unlisted allowed": {func(p *verifier.Policy) {
			delete(p.Measurements, "app")
			p.AllowUnlistedMeasurements = true
		}, nil},
		"other, though unlisted are allowed": {func(p *verifier.Policy) {
			p.Measurements["kernel"] = [][]byte{x}
			p.AllowUnlistedMeasurements = true
		}, []string{"measurement kernel"}},
		"versions only": {func(p *verifier.Policy) { p.Measurements = nil }, []string{"measurement kernel", "measurement app"}},
		"many at once": {func(p *verifier.Policy) {
			p.Instances = [][]byte{other}
			p.RevokedInstances = [][]byte{instance}
			p.HardwareModels = [][]byte{x}
			p.Measurements["app"] = [][]byte{x}
			p.MinVersions["firmware"] = "2"
		}, []string{"instance", "revocation", "hardware model", "measurement app", "software version firmware"}},
	} {
		fresh := *l
		fresh.policy.Roots = l.vendor.Roots()
		fresh.policy.Measurements = map[string][][]byte{"kernel": {kernel}, "app": {app}}
		fresh.policy.MinVersions = map[string]string{"firmware": "1.9"}
		c.change(&fresh.policy)
		r, err := fresh.run(t)
		if c.want == nil {
			require.NoError(t, err, name)
			require.Equal(t, attestation.TierAffirming, r.Tier())
			continue
		}
		require.Nil(t, r)
		require.ErrorIs(t, err, attestation.ErrRejected, name)
		require.Equal(t, c.want, names(err), name)
	}
}

func later(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

func revoked(answer bool, err error) func(context.Context, *evidence.Claims) (bool, error) {
	return func(context.Context, *evidence.Claims) (bool, error) { return answer, err }
}

// TestBareDevice: what Evidence leaves out fails every check that asks for it.
func TestBareDevice(t *testing.T) {
	t.Parallel()
	l := newLab(t, simulated.DeviceOptions{Instance: instance})
	_, err := l.run(t)
	require.Equal(t, []string{
		"hardware model", "debug", "measurement app", "measurement kernel", "software version firmware",
	}, names(err))
	for _, c := range verifier.FailedChecks(err) {
		if c.Check == verifier.CheckDebug {
			require.Equal(t, "not-stated", c.Got)
		} else {
			require.Equal(t, "none", c.Got)
		}
	}
}

// TestVersionUnreadable: a version that cannot be compared is below every other.
func TestVersionUnreadable(t *testing.T) {
	t.Parallel()
	o := deviceOptions()
	o.SoftwareVersion = "1.10.2-rc1"
	_, err := newLab(t, o).run(t)
	require.Equal(t, []string{"software version firmware"}, names(err))
	require.ErrorContains(t, err, `software version "firmware": want 1.9 or later, got "1.10.2-rc1"`)
}

// TestWarning: what a policy gives up by name opens a connection at warning, and
// only if it says so.
func TestWarning(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.AllowDebugExposingMemory, l.policy.AllowExternalKey, l.policy.AcceptWarning = true, true, true
	for name, c := range map[string]struct {
		id     func() crypto.Signer
		lie    simulated.Lie
		vector attestation.TrustVector
	}{
		"debug":        {nil, simulated.DebugOn, attestation.TrustVector{InstanceIdentity: 2, Configuration: 32, Executables: 2, Hardware: 2}},
		"external key": {func() crypto.Signer { return softwareKey(t) }, simulated.ForeignKey, attestation.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 2, Hardware: 2, StorageOpaque: 32}},
	} {
		id := l.id
		if c.id != nil {
			id = identity(t, c.id())
		}
		r, err := exchange(t, crypto.SHA256, id, simulated.NewAttester(l.device, c.lie), appraiser(t, l.policy))
		require.NoError(t, err, name)
		require.Equal(t, attestation.TierWarning, r.Tier())
		require.Equal(t, c.vector, r.Appraisals()[0].Vector)
	}
	r, err := l.run(t)
	require.NoError(t, err)
	require.Equal(t, attestation.TierAffirming, r.Tier(), "nothing to warn of")

	// A check that fails is a rejection whatever is allowed, and names both.
	l.policy.Instances = [][]byte{{1}}
	_, err = l.run(t, simulated.DebugOn)
	require.Equal(t, []string{"instance", "debug"}, names(err))
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Lifetime = time.Minute
	r, err := l.run(t)
	require.NoError(t, err)
	require.Equal(t, time.Minute, r.Lifetime())

	l.policy.Lifetime = 0
	l.policy.Now = func() time.Time { return l.vendor.Root().NotAfter.Add(-time.Hour) }
	r, err = l.run(t)
	require.NoError(t, err)
	require.Equal(t, time.Hour, r.Lifetime(), "no longer than the certificates")

	l.policy.Now = func() time.Time { return l.vendor.Root().NotAfter.Add(-time.Second) }
	r, err = l.run(t)
	require.NoError(t, err)
	require.Equal(t, time.Second, r.Lifetime())
}

func TestAnyInstanceMakesNoClaim(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	l.policy.Instances, l.policy.AnyInstance = nil, true
	r, err := l.run(t)
	require.NoError(t, err)
	require.Zero(t, r.Appraisals()[0].Vector.InstanceIdentity)
	require.Equal(t, hex.EncodeToString(instance), r.Appraisals()[0].Instance)
}

// TestPolicyIncomplete: a policy is refused with everything that is wrong.
func TestPolicyIncomplete(t *testing.T) {
	t.Parallel()
	_, err := verifier.New(verifier.Policy{}, simulated.Extractor{})
	require.ErrorIs(t, err, verifier.ErrPolicy)
	require.Equal(t, strings.Join([]string{
		"verifier: policy is not usable: set Measurements or MinVersions to your reference values",
		"set Name", "set Roots to the roots of the vendors you trust", "set either Instances or AnyInstance",
	}, "\n"), err.Error())

	l := newLab(t, deviceOptions())
	for want, change := range map[string]func(*verifier.Policy){
		"set Name": func(p *verifier.Policy) { p.Name = "" },
		"set Roots to the roots of the vendors you trust":    func(p *verifier.Policy) { p.Roots = x509.NewCertPool() },
		"set either Instances or AnyInstance":                func(p *verifier.Policy) { p.AnyInstance = true },
		"set Lifetime to a second or more":                   func(p *verifier.Policy) { p.Lifetime = time.Second - 1 },
		"AllowExternalKey is of use only with AcceptWarning": func(p *verifier.Policy) { p.AllowExternalKey = true },
		`Measurements["a"] allows no digest`:                 func(p *verifier.Policy) { p.Measurements = map[string][][]byte{"a": {}} },
		`Measurements["a"] has a digest under 32 bytes`:      func(p *verifier.Policy) { p.Measurements = map[string][][]byte{"a": {make([]byte, 31)}} },
		`MinVersions["a"] is not numbers separated by dots`:  func(p *verifier.Policy) { p.MinVersions = map[string]string{"a": "v1"} },
		"RevokedInstances is empty; leave it nil instead":    func(p *verifier.Policy) { p.RevokedInstances = [][]byte{} },
		"Vendors has an empty identifier":                    func(p *verifier.Policy) { p.Vendors = [][]byte{{}} },
		"Rules[1] needs a Name of its own":                   func(p *verifier.Policy) { p.Rules = []verifier.Rule{rule("a", nil), rule("a", nil)} },
		"Rules[0] needs a Name of its own":                   func(p *verifier.Policy) { p.Rules = []verifier.Rule{rule("", nil)} },
		"Rules[0] has no Check":                              func(p *verifier.Policy) { p.Rules = []verifier.Rule{{Name: "a"}} },
		"Instances has an empty identifier":                  func(p *verifier.Policy) { p.Instances = [][]byte{nil} },
		"HardwareModels is empty; leave it nil instead":      func(p *verifier.Policy) { p.HardwareModels = [][]byte{} },
		"AllowKeyNamedBySoftware needs Measurements, and no unlisted ones": func(p *verifier.Policy) {
			p.AllowKeyNamedBySoftware, p.AllowUnlistedMeasurements = true, true
		},
		"AllowDebugLeftToSoftware needs Measurements, and no unlisted ones": func(p *verifier.Policy) {
			p.AllowDebugLeftToSoftware, p.AllowUnlistedMeasurements = true, true
		},
		"AllowDebugExposingMemory is of use only with AcceptWarning": func(p *verifier.Policy) { p.AllowDebugExposingMemory = true },
	} {
		p := l.policy
		change(&p)
		_, err := verifier.New(p, simulated.Extractor{})
		require.ErrorIs(t, err, verifier.ErrPolicy, want)
		require.EqualError(t, err, "verifier: policy is not usable: "+want)
	}
}

// TestPolicyIsCopied: an Appraiser does not change with what it was made of.
func TestPolicyIsCopied(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	p := l.policy
	p.Instances = [][]byte{bytes.Clone(instance)}
	p.Measurements = map[string][][]byte{"kernel": {bytes.Clone(kernel)}, "app": {bytes.Clone(app)}}
	p.RevokedInstances = [][]byte{append([]byte{1}, make([]byte, 16)...)}
	a := appraiser(t, p)
	p.Instances[0][1] ^= 1
	p.Measurements["kernel"][0][0] ^= 1
	delete(p.Measurements, "app")
	p.MinVersions["firmware"] = "9"
	p.HardwareModels[0] = []byte("none")
	p.Vendors[0] = []byte("none")
	p.RevokedInstances[0] = instance
	a.MediaTypes()[0] = "text/plain"
	_, err := exchange(t, crypto.SHA256, l.id, simulated.NewAttester(l.device), a)
	require.NoError(t, err)
}

func TestRevocationUnavailable(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	broken := errors.New("list is gone")
	l.policy.Revoked = revoked(false, broken)
	_, err := l.run(t)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, broken)
	// Where a check has failed already, the answer is no and nothing is asked.
	asked := false
	l.policy.Revoked = func(context.Context, *evidence.Claims) (bool, error) { asked = true; return false, nil }
	_, err = l.run(t, simulated.DebugOn)
	require.Equal(t, []string{"debug"}, names(err))
	require.False(t, asked)
}
