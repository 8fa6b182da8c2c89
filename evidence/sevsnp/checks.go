package sevsnp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/go-sev-guest/abi"

	"github.com/expat-go/expat/evidence"
)

// Check names one check of a [Policy], as [evidence.Finding] states it.
type Check string

// The checks, in the order in which they are made.
const (
	CheckTCB              Check = "tcb"               // REPORTED_TCB is not below the floor
	CheckLaunchTCB        Check = "launch tcb"        // LAUNCH_TCB is not below the floor
	CheckProvisional      Check = "committed tcb"     // the current firmware is committed
	CheckGuestSVN         Check = "guest svn"         // GUEST_SVN
	CheckVMPL             Check = "vmpl"              // VMPL
	CheckSMT              Check = "smt"               // POLICY.SMT
	CheckMigrationAgent   Check = "migration agent"   // POLICY.MIGRATE_MA
	CheckCXL              Check = "cxl"               // POLICY.CXL_ALLOW
	CheckSingleSocket     Check = "single socket"     // POLICY.SINGLE_SOCKET
	CheckCiphertextHiding Check = "ciphertext hiding" // POLICY.CIPHERTEXT_HIDING_DRAM
	CheckAliasCheck       Check = "alias check"       // PLATFORM_INFO.ALIAS_CHECK_COMPLETE
	CheckSigningKey       Check = "signing key"       // SIGNING_KEY
	CheckHostData         Check = "host data"         // HOST_DATA
	CheckIDKey            Check = "id key"            // ID_KEY_DIGEST
	CheckAuthorKey        Check = "author key"        // AUTHOR_KEY_DIGEST
	CheckFamilyID         Check = "family id"         // FAMILY_ID
	CheckImageID          Check = "image id"          // IMAGE_ID
)

// aliasCheckComplete is the bit of PLATFORM_INFO.
const aliasCheckComplete = 1 << 5

// judge compares a verified report with the policy, every check of it.
func (p *Policy) judge(r *parsed, line string) []evidence.Finding {
	var out []evidence.Finding
	fail := func(ok bool, check Check, want, got string) {
		if !ok {
			out = append(out, evidence.Finding{Check: string(check), Want: want, Got: got})
		}
	}
	p.firmware(r, line, fail)
	fail(r.report.GuestSvn >= p.MinGuestSVN, CheckGuestSVN, fmt.Sprintf("%d or later", p.MinGuestSVN), fmt.Sprint(r.report.GuestSvn))
	fail(r.report.Vmpl == p.VMPL, CheckVMPL, fmt.Sprint(p.VMPL), fmt.Sprint(r.report.Vmpl))
	fail(p.AllowSMT || !r.policy.SMT, CheckSMT, "not allowed by the guest", "allowed")
	fail(p.AllowMigrationAgent || !r.policy.MigrateMA, CheckMigrationAgent, "not allowed by the guest", "allowed")
	fail(p.AllowCXL || !r.policy.CXLAllowed, CheckCXL, "not allowed by the guest", "allowed")
	fail(!p.RequireSingleSocket || r.policy.SingleSocket, CheckSingleSocket, "required by the guest", "not required")
	fail(!p.RequireCiphertextHiding || r.policy.CipherTextHidingDRAM, CheckCiphertextHiding, "required by the guest", "not required")
	fail(!p.RequireAliasCheck || r.info&aliasCheckComplete != 0, CheckAliasCheck, "complete", "not complete")
	fail(p.AllowVLEK || r.signer.SigningKey == abi.VcekReportSigner, CheckSigningKey, "VCEK", r.signer.SigningKey.String())
	for _, f := range p.fields() {
		got := f.of(r)
		good := f.good == nil || slices.ContainsFunc(f.good, func(v []byte) bool { return len(v) == f.size && bytes.Equal(v, got) })
		fail(good, f.check, fmt.Sprintf("one of %d that the policy lists", len(f.good)), show(got))
	}
	return out
}

// firmware judges the levels of the processor's firmware.
func (p *Policy) firmware(r *parsed, line string, fail func(bool, Check, string, string)) {
	reported := TCB(r.report.ReportedTcb)
	if !p.AcceptVulnerableFirmware {
		floor, named := p.MinTCB[line]
		want := floor.String() + " or later"
		if !named {
			want = "a product line that the policy names"
		}
		fail(named && reported.AtLeast(floor), CheckTCB, want, line+" with "+reported.String())
		// Firmware can be renewed under a running guest, but what measured the
		// guest was that of the launch.
		launch := TCB(r.report.LaunchTcb)
		fail(!named || launch.AtLeast(floor), CheckLaunchTCB, want, line+" with "+launch.String())
	}
	if p.AcceptProvisionalFirmware {
		return
	}
	current := []uint64{r.report.CurrentTcb, uint64(r.report.CurrentMajor), uint64(r.report.CurrentMinor), uint64(r.report.CurrentBuild)}
	committed := []uint64{r.report.CommittedTcb, uint64(r.report.CommittedMajor), uint64(r.report.CommittedMinor), uint64(r.report.CommittedBuild)}
	fail(slices.Equal(current, committed), CheckProvisional, "that of the current firmware", "another")
}

func show(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return hex.EncodeToString(b)
}
