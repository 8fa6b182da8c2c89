package sevsnp

import (
	"crypto/x509"

	"github.com/expat-go/expat/evidence"
)

// Unverified is what Evidence says. Nothing in it is checked: anyone can have made
// it. It is for people who look at Evidence, and for nothing that decides.
type Unverified struct {
	Report       Report
	Certificates []*x509.Certificate // that of the signing key first, none if none came along
}

// Report is an ATTESTATION_REPORT, named and sized as in the SEV Secure Nested Paging
// Firmware ABI Specification (AMD 56860), where all integers are little-endian.
type Report struct {
	Version         uint32
	GuestSVN        uint32
	Policy          GuestPolicy
	FamilyID        []byte // 16 bytes
	ImageID         []byte // 16 bytes
	VMPL            uint32
	SignatureAlgo   uint32 // 1: ECDSA P-384 with SHA-384
	PlatformInfo    PlatformInfo
	SigningKey      string // "VCEK" or "VLEK"
	MaskChipKey     bool
	AuthorKeyEn     bool
	ReportData      []byte // 64 bytes
	Measurement     []byte // 48 bytes
	HostData        []byte // 32 bytes
	IDKeyDigest     []byte // 48 bytes
	AuthorKeyDigest []byte // 48 bytes
	ReportID        []byte // 32 bytes
	ReportIDMA      []byte // 32 bytes
	ProductLine     string // by CPUID, such as "Milan"; "" before version 3
	ChipID          []byte // 64 bytes, zeros if the host hides it

	CurrentTCB, ReportedTCB, CommittedTCB, LaunchTCB TCB
	CurrentVersion, CommittedVersion                 [3]uint8 // major, minor, build of the firmware
	LaunchMitVector, CurrentMitVector                uint64

	Signature []byte // 512 bytes: r, s, zeros
}

// ParseUnverified reads Evidence and checks only its form: sizes, encoding and the
// reserved fields of the report. It verifies nothing. The error is that of
// [Extractor.Extract], an [*evidence.Error] that wraps evidence.ErrFormat.
func ParseUnverified(value []byte) (*Unverified, error) {
	m, certificates, err := parseMessage(value)
	if err != nil {
		return nil, err
	}
	p, err := parseReport(m.Report)
	if err != nil {
		return nil, format("report", err)
	}
	line, err := p.lineOf()
	if err != nil {
		return nil, format("report", err)
	}
	return &Unverified{Report: p.describe(line), Certificates: certificates}, nil
}

func (p *parsed) describe(line string) Report {
	r := p.report
	version := func(major, minor, build uint32) [3]uint8 { return [3]uint8{uint8(major), uint8(minor), uint8(build)} }
	return Report{
		Version: r.Version, GuestSVN: r.GuestSvn, Policy: GuestPolicy(r.Policy),
		FamilyID: r.FamilyId, ImageID: r.ImageId, VMPL: r.Vmpl, SignatureAlgo: r.SignatureAlgo,
		PlatformInfo: PlatformInfo(r.PlatformInfo),
		SigningKey:   p.signer.SigningKey.String(), MaskChipKey: p.signer.MaskChipKey, AuthorKeyEn: p.signer.AuthorKeyEn,
		ReportData: r.ReportData, Measurement: r.Measurement, HostData: r.HostData,
		IDKeyDigest: r.IdKeyDigest, AuthorKeyDigest: r.AuthorKeyDigest, ReportID: r.ReportId, ReportIDMA: r.ReportIdMa,
		ProductLine: line, ChipID: r.ChipId,
		CurrentTCB: TCB(r.CurrentTcb), ReportedTCB: TCB(r.ReportedTcb), CommittedTCB: TCB(r.CommittedTcb), LaunchTCB: TCB(r.LaunchTcb),
		CurrentVersion:   version(r.CurrentMajor, r.CurrentMinor, r.CurrentBuild),
		CommittedVersion: version(r.CommittedMajor, r.CommittedMinor, r.CommittedBuild),
		LaunchMitVector:  r.LaunchMitVector, CurrentMitVector: r.CurrentMitVector,
		Signature: r.Signature,
	}
}

// GuestPolicy is POLICY: what the guest's owner demanded at launch.
type GuestPolicy uint64

// ABI is the lowest version of the ABI that the guest allows.
func (p GuestPolicy) ABI() (major, minor uint8) { return uint8(p >> 8), uint8(p) }

// Flags are the bits of the policy, in their order.
func (p GuestPolicy) Flags() []evidence.Flag {
	return evidence.Flags(uint64(p), []string{
		16: "SMT", 18: "MIGRATE_MA", 19: "DEBUG", 20: "SINGLE_SOCKET", 21: "CXL_ALLOW",
		22: "MEM_AES_256_XTS", 23: "RAPL_DIS", 24: "CIPHERTEXT_HIDING_DRAM", 25: "PAGE_SWAP_DISABLE",
	})
}

// PlatformInfo is PLATFORM_INFO: how the machine is set up.
type PlatformInfo uint64

// Flags are the bits, in their order.
func (i PlatformInfo) Flags() []evidence.Flag {
	return evidence.Flags(uint64(i), []string{
		0: "SMT_EN", 1: "TSME_EN", 2: "ECC_EN", 3: "RAPL_DIS", 4: "CIPHERTEXT_HIDING_DRAM_EN",
		5: "ALIAS_CHECK_COMPLETE", 7: "TIO_EN",
	})
}
