package inspect

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/evidence/tdx"
)

// flags adds a field of bits: the number, and the names of those that are set and of
// those that are not.
func (r *Report) flags(name string, value uint64, list []evidence.Flag) {
	on, off := []string{}, []string{}
	for _, f := range list {
		if f.Set {
			on = append(on, f.Name)
		} else {
			off = append(off, f.Name)
		}
	}
	r.add(name, "%#x", value)
	r.add(name+", set", "%s", names(on))
	r.add(name+", not set", "%s", names(off))
}

func names(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

// zeros adds a value in hex, or says that it is all zeros.
func (r *Report) zeros(name string, value []byte) {
	if strings.Trim(string(value), "\x00") == "" {
		r.add(name, "zeros, %d bytes", len(value))
		return
	}
	r.bytes(name, value)
}

// snpReport shows every field of a report, in the order of the ABI.
func snpReport(value []byte) (*Report, error) {
	u, err := sevsnp.ParseUnverified(value)
	if err != nil {
		return nil, err
	}
	r, p := newReport("", len(value)), u.Report
	r.add("version", "%d", p.Version)
	r.add("guest svn", "%d", p.GuestSVN)
	r.flags("policy", uint64(p.Policy), p.Policy.Flags())
	major, minor := p.Policy.ABI()
	r.add("policy, lowest ABI", "%d.%d", major, minor)
	r.zeros("family id", p.FamilyID)
	r.zeros("image id", p.ImageID)
	r.add("vmpl", "%d", p.VMPL)
	r.add("signature algorithm", "%s", signatureAlgorithm(p.SignatureAlgo))
	r.add("current tcb", "%s", tcb(p.CurrentTCB, p.ProductLine))
	r.flags("platform info", uint64(p.PlatformInfo), p.PlatformInfo.Flags())
	r.add("signing key", "%s", p.SigningKey)
	r.add("mask chip key", "%t", p.MaskChipKey)
	r.add("author key enabled", "%t", p.AuthorKeyEn)
	r.zeros("report data", p.ReportData)
	r.zeros("measurement", p.Measurement)
	r.zeros("host data", p.HostData)
	r.zeros("id key digest", p.IDKeyDigest)
	r.zeros("author key digest", p.AuthorKeyDigest)
	r.zeros("report id", p.ReportID)
	r.zeros("report id of the migration agent", p.ReportIDMA)
	r.add("reported tcb", "%s", tcb(p.ReportedTCB, p.ProductLine))
	if p.ProductLine != "" {
		r.add("product line", "%s", p.ProductLine)
	}
	r.zeros("chip id", p.ChipID)
	r.add("committed tcb", "%s", tcb(p.CommittedTCB, p.ProductLine))
	r.add("current firmware", "%s", dotted(p.CurrentVersion))
	r.add("committed firmware", "%s", dotted(p.CommittedVersion))
	r.add("launch tcb", "%s", tcb(p.LaunchTCB, p.ProductLine))
	r.add("launch mitigations", "%#x", p.LaunchMitVector)
	r.add("current mitigations", "%#x", p.CurrentMitVector)
	r.add("certificates", "%d", len(u.Certificates))
	r.certificates(u.Certificates)
	return r, nil
}

func signatureAlgorithm(n uint32) string {
	if n == 1 {
		return "1: ECDSA P-384 with SHA-384"
	}
	return fmt.Sprintf("%d: not known", n)
}

func tcb(v sevsnp.TCB, line string) string {
	return fmt.Sprintf("%016x: %s", uint64(v), v.Describe(line))
}

func dotted(v [3]uint8) string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// tdxReport shows the header of a quote, the TD quote body and the quoting enclave.
func tdxReport(value []byte) (*Report, error) {
	u, err := tdx.ParseUnverified(value)
	if err != nil {
		return nil, err
	}
	r, q := newReport("", len(value)), u.Quote
	r.add("version", "%d", q.Version)
	r.add("attestation key type", "%d: ECDSA P-256", q.KeyType)
	r.add("tee type", "%#x", q.TEEType)
	r.bytes("qe vendor", q.QEVendor)
	r.zeros("user data", q.UserData)
	r.bytes("tee tcb svn", q.TEETCBSVN)
	r.zeros("mrseam", q.MRSEAM)
	r.zeros("mrsignerseam", q.MRSignerSEAM)
	r.zeros("seamattributes", q.SEAMAttributes)
	r.flags("attributes", uint64(q.Attributes), q.Attributes.Flags())
	r.flags("xfam", uint64(q.XFAM), q.XFAM.Flags())
	r.zeros("mrtd", q.MRTD)
	r.zeros("mrconfigid", q.MRConfigID)
	r.zeros("mrowner", q.MROwner)
	r.zeros("mrownerconfig", q.MROwnerConfig)
	for i, v := range q.RTMRs {
		r.zeros(fmt.Sprintf("rtmr%d", i), v)
	}
	r.zeros("report data", q.ReportData)
	if q.MRServiceTD != nil {
		r.bytes("tee tcb svn 2", q.TEETCBSVN2)
		r.zeros("mrservicetd", q.MRServiceTD)
	}
	r.add("collateral", "%s", map[bool]string{true: "sent along", false: "none"}[u.Collateral])
	r.part(enclave(q.QE))
	pck := r.part(newReport("platform, by its PCK certificate", len(u.Certificates[0].Raw)))
	pck.bytes("ppid", u.PCK.PPID)
	pck.bytes("fmspc (model)", u.PCK.FMSPC)
	pck.add("pceid", "%s", u.PCK.PCEID)
	pck.add("pcesvn", "%d", u.PCK.PCESVN)
	pck.bytes("cpusvn", u.PCK.CPUSVN)
	r.certificates(u.Certificates)
	return r, nil
}

// enclaveSize is the size of the report of an SGX enclave, in bytes.
const enclaveSize = 384

func enclave(q tdx.QE) *Report {
	r := newReport("quoting enclave", enclaveSize)
	r.bytes("cpusvn", q.CPUSVN)
	r.add("miscselect", "%#x", q.MiscSelect)
	r.add("attributes", "%s", hex.EncodeToString(q.Attributes))
	r.add("attributes, debug", "%t", q.Debug)
	r.bytes("mrenclave", q.MREnclave)
	r.bytes("mrsigner", q.MRSigner)
	r.add("isvprodid", "%d", q.ProdID)
	r.add("isvsvn", "%d", q.SVN)
	r.zeros("report data", q.ReportData)
	return r
}
