package tdx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/expat-go/expat/evidence"
)

// Check names one check of a [Policy], as [evidence.Finding] states it.
type Check string

// The checks, in the order in which they are made.
const (
	CheckTCB         Check = "tee tcb svn"     // TEE_TCB_SVN is not below the floor
	CheckModule      Check = "tdx module"      // MRSEAM, MRSIGNERSEAM, SEAMATTRIBUTES
	CheckSEPTVE      Check = "sept ve"         // ATTRIBUTES.SEPT_VE_DISABLE
	CheckMigration   Check = "migration"       // ATTRIBUTES.MIGRATABLE
	CheckPerfmon     Check = "perfmon"         // ATTRIBUTES.PERFMON
	CheckAttributes  Check = "attributes"      // no other attribute that weakens the domain
	CheckConfigID    Check = "mrconfigid"      // MRCONFIGID
	CheckOwner       Check = "mrowner"         // MROWNER
	CheckOwnerConfig Check = "mrownerconfig"   // MROWNERCONFIG
	CheckServiceTD   Check = "service domains" // MRSERVICETD
)

// Bits of ATTRIBUTES (Intel TDX Module ABI). The group "debug" is bits 0 to 7, of
// which any makes a domain untrusted; "security" is 8 to 31, "other" 32 to 63.
const (
	attributeDebug    = 1 << 0
	attributesUnsafe  = 0xff
	attributeLASS     = 1 << 27 // a restriction on the domain's own kernel
	attributeSEPTVE   = 1 << 28
	attributeMigrate  = 1 << 29
	attributePKS      = 1 << 30 // protection keys for the domain's kernel
	attributeKL       = 1 << 31 // key locker
	attributePerfmon  = 1 << 63
	attributesHarmful = ^uint64(attributesUnsafe | attributeLASS | attributeSEPTVE | attributeMigrate | attributePKS | attributeKL | attributePerfmon)
)

// mrSize is the size in bytes of the measurement registers, SHA-384.
const mrSize = 48

// Policy says what is acceptable of a quote beyond what a verifier.Policy can say.
// Its zero value is as strict as it can be without reference values.
type Policy struct {
	// MinTCB is the lowest good TEE_TCB_SVN: no component may be below. It adds
	// to what collateral says.
	MinTCB [16]byte
	// AllowSEPTVE accepts domains that the host can interrupt with exceptions
	// by taking away pages (SEPT_VE_DISABLE is not set).
	AllowSEPTVE bool
	// AllowMigration accepts domains that a service domain can move.
	AllowMigration bool
	// AllowPerfmon accepts domains that use performance counters, through which
	// hosts may learn of them.
	AllowPerfmon bool

	// MRSEAM lists the good measurements of Intel's TDX module, MRConfigIDs,
	// MROwners and MROwnerConfigs those of what the host configured, 48 bytes
	// each. Nil: not judged; that Intel signed the module always is.
	MRSEAM, MRConfigIDs, MROwners, MROwnerConfigs [][]byte
	// ServiceTDs lists the good hashes of bound service domains, 48 bytes each.
	// Nil: none may be bound.
	ServiceTDs [][]byte
}

// field is a value of the quote and those that are good.
type field struct {
	check Check
	good  [][]byte
	of    func(*quote) []byte
}

func (p *Policy) fields() []field {
	return []field{
		{CheckModule, p.MRSEAM, (*quote).mrSEAM},
		{CheckConfigID, p.MRConfigIDs, (*quote).mrConfigID},
		{CheckOwner, p.MROwners, (*quote).mrOwner},
		{CheckOwnerConfig, p.MROwnerConfigs, (*quote).mrOwnerConfig},
		{CheckServiceTD, p.ServiceTDs, (*quote).mrServiceTD},
	}
}

// check lists everything that is wrong with a policy. Values of another length
// than the field's are refused here: go-tdx-guest takes an empty one for "any".
func (p *Policy) check() error {
	var wrong []error
	for _, f := range p.fields() {
		if f.good != nil && len(f.good) == 0 {
			wrong = append(wrong, fmt.Errorf("the list for %q is empty; leave it nil instead", f.check))
		}
		for _, v := range f.good {
			if len(v) != mrSize {
				wrong = append(wrong, fmt.Errorf("the list for %q has a value of %d bytes, want %d", f.check, len(v), mrSize))
			}
		}
	}
	return errors.Join(wrong...)
}

// clone copies everything that the caller could change later.
func (p Policy) clone() Policy {
	for _, list := range []*[][]byte{&p.MRSEAM, &p.MRConfigIDs, &p.MROwners, &p.MROwnerConfigs, &p.ServiceTDs} {
		*list = slices.Clone(*list)
		for i, v := range *list {
			(*list)[i] = bytes.Clone(v)
		}
	}
	return p
}

// judge compares a verified quote with the policy, every check of it.
func (p *Policy) judge(q *quote) []evidence.Finding {
	var out []evidence.Finding
	fail := func(ok bool, check Check, want, got string) {
		if !ok {
			out = append(out, evidence.Finding{Check: string(check), Want: want, Got: got})
		}
	}
	svn, attributes := q.teeTCBSVN(), q.attributes()
	reached := true
	for i, lowest := range p.MinTCB {
		reached = reached && svn[i] >= lowest
	}
	fail(reached, CheckTCB, hex.EncodeToString(p.MinTCB[:])+" or later in every byte", hex.EncodeToString(svn))
	fail(zero(q.mrSignerSEAM()) && zero(q.seamAttributes()), CheckModule, "a module that Intel signed, without attributes", "another")
	fail(p.AllowSEPTVE || attributes&attributeSEPTVE != 0, CheckSEPTVE, "disabled", "enabled")
	fail(p.AllowMigration || attributes&attributeMigrate == 0, CheckMigration, "not allowed", "allowed")
	fail(p.AllowPerfmon || attributes&attributePerfmon == 0, CheckPerfmon, "not allowed", "allowed")
	fail(attributes&attributesHarmful == 0, CheckAttributes, "none that is not known", fmt.Sprintf("%016x", attributes))
	for _, f := range p.fields() {
		got := f.of(q)
		switch {
		case f.good != nil:
			good := slices.ContainsFunc(f.good, func(v []byte) bool { return len(v) == mrSize && bytes.Equal(v, got) })
			fail(good, f.check, fmt.Sprintf("one of %d that the policy lists", len(f.good)), show(got))
		case f.check == CheckServiceTD:
			fail(zero(got), f.check, "none", show(got))
		}
	}
	return out
}

func zero(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }

func show(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return hex.EncodeToString(b)
}
