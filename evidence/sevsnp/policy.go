package sevsnp

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-sev-guest/abi"
)

// Policy says what is acceptable of a report beyond what a verifier.Policy can
// say. Its zero value is as strict as it can be, and lacks what [New] requires.
type Policy struct {
	// MinTCB holds the lowest good REPORTED_TCB and LAUNCH_TCB by product line
	// ("Milan", "Genoa"); no component may be below. A guest that was launched
	// before its host's firmware was renewed must be launched again: the older
	// firmware measured it. A product line that is not named is refused. Either
	// MinTCB or AcceptVulnerableFirmware is required.
	MinTCB map[string]TCB
	// AcceptVulnerableFirmware accepts every product line and level of
	// firmware, also one with known holes through which keys leak.
	AcceptVulnerableFirmware bool
	// AcceptProvisionalFirmware accepts firmware that is not committed: the
	// host can go back to what is committed, behind the guest's back.
	AcceptProvisionalFirmware bool

	// MinGuestSVN is the lowest good GUEST_SVN of the ID block.
	MinGuestSVN uint32
	// VMPL is the privilege level that must have asked for the report. The
	// measurement covers what started at level 0; at other levels runs what
	// that software let in.
	VMPL uint32

	// AllowSMT accepts that a sibling thread runs other guests or the host.
	AllowSMT bool
	// AllowMigrationAgent accepts that another guest can move this one.
	AllowMigrationAgent bool
	// AllowCXL accepts memory on CXL devices.
	AllowCXL bool
	// RequireSingleSocket demands that the guest runs on one socket only.
	RequireSingleSocket bool
	// RequireCiphertextHiding demands that the guest runs only where the host
	// cannot even read its encrypted memory.
	RequireCiphertextHiding bool
	// RequireAliasCheck demands that the platform looked for memory that is
	// visible at two addresses since it was started (AMD-SB-3015).
	RequireAliasCheck bool
	// AllowVLEK accepts reports that a key of the cloud provider signed instead
	// of the chip's own: they name a chip without its key.
	AllowVLEK bool

	// HostData (32 bytes each), IDKeyDigests and AuthorKeyDigests (48), FamilyIDs
	// and ImageIDs (16) list the values that are good. Nil: not judged; the
	// measurement of a guest says what runs in it.
	HostData, IDKeyDigests, AuthorKeyDigests, FamilyIDs, ImageIDs [][]byte
}

// fields lists the values a policy compares as they are.
func (p *Policy) fields() []field {
	return []field{
		{CheckHostData, p.HostData, abi.HostDataSize, func(r *parsed) []byte { return r.report.HostData }},
		{CheckIDKey, p.IDKeyDigests, abi.IDKeyDigestSize, func(r *parsed) []byte { return r.report.IdKeyDigest }},
		{CheckAuthorKey, p.AuthorKeyDigests, abi.AuthorKeyDigestSize, func(r *parsed) []byte {
			if !r.signer.AuthorKeyEn {
				return nil // zeros, which a policy could list by mistake
			}
			return r.report.AuthorKeyDigest
		}},
		{CheckFamilyID, p.FamilyIDs, abi.FamilyIDSize, func(r *parsed) []byte { return r.report.FamilyId }},
		{CheckImageID, p.ImageIDs, abi.ImageIDSize, func(r *parsed) []byte { return r.report.ImageId }},
	}
}

// field is a value of the report and those that are good.
type field struct {
	check Check
	good  [][]byte
	size  int // bytes
	of    func(*parsed) []byte
}

// check lists everything that is wrong with a policy. Values of another length
// than the field's are refused here: go-sev-guest takes an empty one for "any".
func (p *Policy) check() error {
	var wrong []error
	if (len(p.MinTCB) > 0) == p.AcceptVulnerableFirmware {
		wrong = append(wrong, errors.New("set either Policy.MinTCB or Policy.AcceptVulnerableFirmware"))
	}
	for _, line := range slices.Sorted(maps.Keys(p.MinTCB)) {
		if line != "Milan" && line != "Genoa" {
			wrong = append(wrong, fmt.Errorf("Policy.MinTCB names %q, which is not Milan or Genoa", line))
		}
	}
	if p.VMPL > 3 {
		wrong = append(wrong, errors.New("Policy.VMPL is not 0 to 3"))
	}
	for _, f := range p.fields() {
		if f.good != nil && len(f.good) == 0 {
			wrong = append(wrong, fmt.Errorf("the list for %q is empty; leave it nil instead", f.check))
		}
		for _, v := range f.good {
			if len(v) != f.size {
				wrong = append(wrong, fmt.Errorf("the list for %q has a value of %d bytes, want %d", f.check, len(v), f.size))
			}
		}
	}
	return errors.Join(wrong...)
}

// clone copies everything that the caller could change later.
func (p Policy) clone() Policy {
	p.MinTCB = maps.Clone(p.MinTCB)
	for _, list := range []*[][]byte{&p.HostData, &p.IDKeyDigests, &p.AuthorKeyDigests, &p.FamilyIDs, &p.ImageIDs} {
		*list = slices.Clone(*list)
		for i, v := range *list {
			(*list)[i] = bytes.Clone(v)
		}
	}
	return p
}
