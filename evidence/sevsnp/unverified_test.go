package sevsnp

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestParseUnverified: every field is where the ABI has it, whoever signed.
func TestParseUnverified(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	a.debug = true
	a.change = func(raw []byte) {
		raw[0x30] = 2                                     // VMPL
		raw[0x40] = 0x21                                  // PLATFORM_INFO
		copy(raw[0x1f8:], []byte{5})                      // LAUNCH_MIT_VECTOR
		copy(raw[0x200:], []byte{7})                      // CURRENT_MIT_VECTOR
		copy(raw[0x140:], bytes.Repeat([]byte{0x14}, 32)) // REPORT_ID
		copy(raw[0x160:], bytes.Repeat([]byte{0x16}, 32)) // REPORT_ID_MA
		copy(raw[0x1e0:], []byte{1, 2, 0, 0, 0, 0, 3, 4}) // COMMITTED_TCB
		copy(raw[0x50:], bytes.Repeat([]byte{0x50}, 64))  // REPORT_DATA
	}
	raw := a.report(t, make([]byte, 64))
	raw[signatureAt] ^= 1 // nobody looks
	u, err := ParseUnverified(encoded(t, raw, a.chain()...))
	require.NoError(t, err)
	require.Len(t, u.Certificates, 3)
	r := u.Report
	require.Equal(t, uint32(3), r.Version)
	require.Equal(t, uint32(7), r.GuestSVN)
	require.Equal(t, uint32(2), r.VMPL)
	require.Equal(t, uint32(1), r.SignatureAlgo)
	major, minor := r.Policy.ABI()
	require.Equal(t, [2]uint8{1, 0}, [2]uint8{major, minor})
	require.Equal(t, []evidence.Flag{
		{Name: "SMT", Set: false}, {Name: "MIGRATE_MA", Set: false}, {Name: "DEBUG", Set: true}, {Name: "SINGLE_SOCKET", Set: false}, {Name: "CXL_ALLOW", Set: false},
		{Name: "MEM_AES_256_XTS", Set: false}, {Name: "RAPL_DIS", Set: false}, {Name: "CIPHERTEXT_HIDING_DRAM", Set: false}, {Name: "PAGE_SWAP_DISABLE", Set: false},
	}, r.Policy.Flags())
	require.Equal(t, []evidence.Flag{
		{Name: "SMT_EN", Set: true}, {Name: "TSME_EN", Set: false}, {Name: "ECC_EN", Set: false}, {Name: "RAPL_DIS", Set: false}, {Name: "CIPHERTEXT_HIDING_DRAM_EN", Set: false},
		{Name: "ALIAS_CHECK_COMPLETE", Set: true}, {Name: "TIO_EN", Set: false},
	}, r.PlatformInfo.Flags())
	require.Equal(t, "VCEK", r.SigningKey)
	require.False(t, r.MaskChipKey || r.AuthorKeyEn)
	require.Equal(t, bytes.Repeat([]byte{0x50}, 64), r.ReportData)
	require.Equal(t, bytes.Repeat([]byte{0x14}, 32), r.ReportID)
	require.Equal(t, bytes.Repeat([]byte{0x16}, 32), r.ReportIDMA)
	for at, got := range map[int][]byte{
		0x10: r.FamilyID, 0x20: r.ImageID, 0x90: r.Measurement, 0xc0: r.HostData, 0xe0: r.IDKeyDigest,
		0x110: r.AuthorKeyDigest, 0x1a0: r.ChipID, signatureAt: r.Signature,
	} {
		require.Equal(t, raw[at:at+len(got)], got, at)
	}
	require.Equal(t, "Milan", r.ProductLine)
	require.Equal(t, []TCB{fakeTCB, fakeTCB, NewTCB(1, 2, 3, 4), fakeTCB}, []TCB{r.CurrentTCB, r.ReportedTCB, r.CommittedTCB, r.LaunchTCB})
	require.Equal(t, [3]uint8{1, 55, 21}, r.CurrentVersion)
	require.Equal(t, [3]uint8{1, 55, 21}, r.CommittedVersion)
	require.Equal(t, uint64(5), r.LaunchMitVector)
	require.Equal(t, uint64(7), r.CurrentMitVector)

	raw[0x4c] = 1 // reserved
	_, err = ParseUnverified(encoded(t, raw))
	step(t, err, evidence.ErrFormat, "report", ErrReport)
	_, err = ParseUnverified([]byte{0xa1})
	step(t, err, evidence.ErrFormat, "message", nil)
}

// signatureAt is where the signature of a report begins.
const signatureAt = 0x2a0

// TestTCBParts: the bytes of a TCB mean something else on Turin.
func TestTCBParts(t *testing.T) {
	t.Parallel()
	v := TCB(0x0807060504030201)
	require.Equal(t, "bootloader 1, tee 2, snp 7, microcode 8", v.Describe("Milan"))
	require.Equal(t, v.String(), v.Describe("Genoa"))
	require.Equal(t, v.String(), v.Describe(""))
	require.Equal(t, "fmc 1, bootloader 2, tee 3, snp 4, microcode 8", v.Describe("Turin"))
}
