package tdx

import (
	"crypto/x509"
	"encoding/binary"

	"github.com/expat-go/expat/evidence"
)

// Unverified is what Evidence says. Nothing in it is checked: anyone can have made
// it. It is for people who look at Evidence, and for nothing that decides.
type Unverified struct {
	Quote        Quote
	Certificates []*x509.Certificate // PCK certificate, Intel's CA, Intel's root
	PCK          PCK
	Collateral   bool // there is some
}

// Quote is a quote of version 4 or 5 (Intel TDX DCAP Quoting Library API, Appendix A)
// with its TD quote body, of TDX 1.0 or 1.5. Registers have 48 bytes.
type Quote struct {
	Version  uint16
	KeyType  uint16 // of the attestation key; 2: ECDSA P-256
	TEEType  uint32 // 0x81: TDX
	QEVendor []byte // 16 bytes
	UserData []byte // 20 bytes

	TEETCBSVN      []byte // 16 bytes
	MRSEAM         []byte
	MRSignerSEAM   []byte
	SEAMAttributes []byte // 8 bytes
	Attributes     Attributes
	XFAM           XFAM
	MRTD           []byte
	MRConfigID     []byte
	MROwner        []byte
	MROwnerConfig  []byte
	RTMRs          [4][]byte
	ReportData     []byte // 64 bytes
	TEETCBSVN2     []byte // 16 bytes, nil in a body of TDX 1.0
	MRServiceTD    []byte // nil in a body of TDX 1.0

	QE QE
}

// QE is the report of the quoting enclave (Intel SGX REPORT body).
type QE struct {
	CPUSVN     []byte // 16 bytes
	MiscSelect uint32
	Attributes []byte // 16 bytes
	MREnclave  []byte // 32 bytes
	MRSigner   []byte // 32 bytes
	ProdID     uint16
	SVN        uint16
	ReportData []byte // 64 bytes: digest of the attestation key, and zeros
	Debug      bool   // of Attributes
}

// PCK is what Intel's extensions of the PCK certificate say of the platform.
type PCK struct {
	PPID   []byte // the platform, 16 bytes
	FMSPC  []byte // its model, 6 bytes
	PCEID  string // in hex
	PCESVN uint16
	CPUSVN []byte // 16 bytes
}

// ParseUnverified reads Evidence and checks only its form: sizes, encoding, and every
// length within the quote. It verifies nothing, and does not look at collateral. The
// error is that of [Extractor.Extract], an [*evidence.Error] that wraps
// evidence.ErrFormat.
func ParseUnverified(value []byte) (*Unverified, error) {
	m, err := parseMessage(value)
	if err != nil {
		return nil, err
	}
	p, err := parse(m.Quote)
	if err != nil {
		return nil, format("quote", err)
	}
	return &Unverified{
		Quote: p.describe(), Certificates: p.certificates(), Collateral: m.Collateral != nil,
		PCK: PCK{PPID: p.ppid, FMSPC: p.fmspc, PCEID: p.platform.PCEID, PCESVN: p.platform.TCB.PCESvn, CPUSVN: p.platform.TCB.CPUSvn},
	}, nil
}

func (q *quote) describe() Quote {
	out := Quote{
		Version: q.version, KeyType: binary.LittleEndian.Uint16(q.raw[2:]), TEEType: binary.LittleEndian.Uint32(q.raw[4:]),
		QEVendor: q.raw[12:28], UserData: q.raw[28:headerSize],
		TEETCBSVN: q.teeTCBSVN(), MRSEAM: q.mrSEAM(), MRSignerSEAM: q.mrSignerSEAM(), SEAMAttributes: q.seamAttributes(),
		Attributes: Attributes(q.attributes()), XFAM: XFAM(binary.LittleEndian.Uint64(q.field(128, 8))),
		MRTD: q.mrTD(), MRConfigID: q.mrConfigID(), MROwner: q.mrOwner(), MROwnerConfig: q.mrOwnerConfig(),
		RTMRs:      [4][]byte{q.rtmr(0), q.rtmr(1), q.rtmr(2), q.rtmr(3)},
		ReportData: q.reportData(), MRServiceTD: q.mrServiceTD(),
		QE: QE{
			CPUSVN: q.qeReport[:16], MiscSelect: binary.LittleEndian.Uint32(q.qeReport[16:]), Attributes: q.qeReport[48:64],
			MREnclave: q.qeReport[64:96], MRSigner: q.qeMRSigner(), ProdID: q.qeProdID(), SVN: q.qeSVN(),
			ReportData: q.qeReport[320:qeReportSize], Debug: q.qeDebug(),
		},
	}
	if len(q.body) == body15Size {
		out.TEETCBSVN2 = q.field(body10Size, 16)
	}
	return out
}

// Attributes is ATTRIBUTES of a trust domain (Intel TDX Module ABI).
type Attributes uint64

// Flags are the bits, in their order.
func (a Attributes) Flags() []evidence.Flag {
	return evidence.Flags(uint64(a), []string{
		0: "DEBUG", 4: "HGS_PLUS_PROF", 5: "PERF_PROF", 6: "PMT_PROF", 16: "ICSSD", 27: "LASS",
		28: "SEPT_VE_DISABLE", 29: "MIGRATABLE", 30: "PKS", 31: "KL", 62: "TPA", 63: "PERFMON",
	})
}

// XFAM is the set of extended processor features that a domain may use, in the bits
// of XCR0 and IA32_XSS (Intel SDM, Volume 1, Chapter 13).
type XFAM uint64

// Flags are the bits, in their order.
func (x XFAM) Flags() []evidence.Flag {
	return evidence.Flags(uint64(x), []string{
		0: "X87", 1: "SSE", 2: "AVX", 3: "BNDREGS", 4: "BNDCSR", 5: "OPMASK", 6: "ZMM_HI256",
		7: "HI16_ZMM", 8: "PT", 9: "PKRU", 10: "PASID", 11: "CET_U", 12: "CET_S", 13: "HDC",
		14: "UINTR", 15: "LBR", 16: "HWP", 17: "XTILECFG", 18: "XTILEDATA",
	})
}
