package platforms

import (
	"encoding/pem"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/fetch"
	"github.com/expat-go/expat/evidence/tdx"
	"github.com/expat-go/expat/verifier/policy"
)

// Sizes in bytes of what a TDX quote can hold.
const (
	tcbSize      = 16
	registerSize = 48
)

// TDX is Intel TDX. Its fields are those of [tdx.Policy] and [tdx.Options].
func TDX() policy.Platform {
	return policy.Platform{Name: "tdx", Vendor: "intel", VendorRoots: tdx.IntelRoots, MediaTypes: []string{tdx.MediaType}, Build: buildTDX, Learn: learnTDX}
}

func buildTDX(s *policy.Section) (evidence.Extractor, error) {
	o := tdx.Options{
		Policy: tdx.Policy{
			AllowSEPTVE:    s.Flag("allow_sept_ve"),
			AllowMigration: s.Flag("allow_migration"),
			AllowPerfmon:   s.Flag("allow_perfmon"),
			MRSEAM:         s.ByteLists("mrseam", registerSize),
			MRConfigIDs:    s.ByteLists("mrconfigids", registerSize),
			MROwners:       s.ByteLists("mrowners", registerSize),
			MROwnerConfigs: s.ByteLists("mrownerconfigs", registerSize),
			ServiceTDs:     s.ByteLists("service_tds", registerSize),
		},
		Collateral:       collateral(s),
		AcceptUnknownTCB: s.Flag("accept_unknown_tcb"),
	}
	copy(o.Policy.MinTCB[:], s.Bytes("min_tcb", tcbSize))
	if s.Flag("fetch_from_intel") {
		o.FetchFromIntel = fetch.New(fetch.Options{})
	}
	return tdx.New(o)
}

// collateral reads directories as [tdx.LoadCollateral] does, file by file, so that a
// change of one is seen.
func collateral(s *policy.Section) []*tdx.Collateral {
	var out []*tdx.Collateral
	for _, entry := range s.Sections("collateral") {
		if !entry.Has("dir") {
			entry.Text("dir")
			entry.Fail("dir", "it is missing", "name a directory of collateral")
			continue
		}
		c := &tdx.Collateral{
			TCBInfo:    entry.ReadIn("dir", "tcb-info.json"),
			QEIdentity: entry.ReadIn("dir", "qe-identity.json"),
			PCKCRL:     entry.ReadIn("dir", "pck.crl"),
			RootCRL:    entry.ReadIn("dir", "root.crl"),
		}
		chain := entry.ReadIn("dir", "tcb-signing.pem")
		if c.TCBInfo == nil || c.QEIdentity == nil || c.PCKCRL == nil || c.RootCRL == nil || chain == nil {
			continue // reported
		}
		signing, rest := pem.Decode(chain)
		root, _ := pem.Decode(rest)
		if signing == nil || root == nil {
			entry.Fail("dir", "its tcb-signing.pem is not two certificates in PEM, the signer's and then the root", "fetch it again")
			continue
		}
		c.TCBSigning, c.Root = signing.Bytes, root.Bytes
		out = append(out, c)
	}
	return out
}
