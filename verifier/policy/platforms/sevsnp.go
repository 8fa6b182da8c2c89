package platforms

import (
	"fmt"
	"math"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/fetch"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/verifier/policy"
)

// Sizes in bytes of what an SEV-SNP report can hold.
const (
	hostDataSize = 32
	keyDigest    = 48
	idSize       = 16
)

// SEVSNP is AMD SEV-SNP. Its fields are those of [sevsnp.Policy] and
// [sevsnp.Options].
func SEVSNP() policy.Platform {
	return policy.Platform{Name: "sevsnp", Vendor: "amd", VendorRoots: sevsnp.AMDRoots, MediaTypes: []string{sevsnp.MediaType}, Build: buildSEVSNP, Learn: learnSEVSNP}
}

func buildSEVSNP(s *policy.Section) (evidence.Extractor, error) {
	o := sevsnp.Options{
		Policy: sevsnp.Policy{
			MinTCB:                    floors(s.Section("min_tcb")),
			AcceptVulnerableFirmware:  s.Flag("accept_vulnerable_firmware"),
			AcceptProvisionalFirmware: s.Flag("accept_provisional_firmware"),
			MinGuestSVN:               s.Number("min_guest_svn", math.MaxUint32),
			VMPL:                      s.Number("vmpl", 3),
			AllowSMT:                  s.Flag("allow_smt"),
			AllowMigrationAgent:       s.Flag("allow_migration_agent"),
			AllowCXL:                  s.Flag("allow_cxl"),
			RequireSingleSocket:       s.Flag("require_single_socket"),
			RequireCiphertextHiding:   s.Flag("require_ciphertext_hiding"),
			RequireAliasCheck:         s.Flag("require_alias_check"),
			AllowVLEK:                 s.Flag("allow_vlek"),
			HostData:                  s.ByteLists("host_data", hostDataSize),
			IDKeyDigests:              s.ByteLists("id_key_digests", keyDigest),
			AuthorKeyDigests:          s.ByteLists("author_key_digests", keyDigest),
			FamilyIDs:                 s.ByteLists("family_ids", idSize),
			ImageIDs:                  s.ByteLists("image_ids", idSize),
		},
		Certificates:    certificates(s, "certificates"),
		RevocationLists: revocationLists(s, "revocation_lists"),
		AcceptRevoked:   s.Flag("accept_revoked"),
	}
	fetches := s.Flag("fetch_from_amd")
	if fetches {
		o.FetchFromAMD = fetch.New(fetch.Options{})
	}
	if s.Has("min_tcb") == o.Policy.AcceptVulnerableFirmware {
		s.Fail("min_tcb", "exactly one of min_tcb and accept_vulnerable_firmware must be given", "write the lowest good levels of each product line")
	}
	switch lists := s.Has("revocation_lists"); {
	case lists && o.AcceptRevoked:
		s.Fail("accept_revoked", "it contradicts revocation_lists", "keep one of the two")
	case !lists && !o.AcceptRevoked && !fetches:
		s.Fail("revocation_lists", "it is missing", "list them, or write fetch_from_amd: true, or accept_revoked: true to look at none")
	}
	return sevsnp.New(o)
}

// floors reads the lowest good levels of firmware by product line.
func floors(s *policy.Section) map[string]sevsnp.TCB {
	lines := make(map[string]sevsnp.TCB)
	for _, line := range []string{"Milan", "Genoa"} {
		f := s.Section(line)
		if !f.There() {
			continue
		}
		var level [4]uint8
		for i, name := range []string{"bootloader", "tee", "snp", "microcode"} {
			level[i] = uint8(f.Number(name, math.MaxUint8))
			if !f.Has(name) {
				f.Fail(name, "it is missing", fmt.Sprintf("write the lowest good level, 0 to %d", math.MaxUint8))
			}
		}
		lines[line] = sevsnp.NewTCB(level[0], level[1], level[2], level[3])
	}
	return lines
}
