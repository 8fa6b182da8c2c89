package tdx

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestParseUnverified compares with what the library reads of the real quotes.
func TestParseUnverified(t *testing.T) {
	t.Parallel()
	u, err := ParseUnverified(encoded(t, TrimQuote(testdata.RawQuote), nil))
	require.NoError(t, err)
	decoded, err := abi.QuoteToProto(TrimQuote(testdata.RawQuote))
	require.NoError(t, err)
	want := decoded.(*pb.QuoteV4)
	q, body := u.Quote, want.TdQuoteBody
	require.Equal(t, uint16(4), q.Version)
	require.Equal(t, uint16(2), q.KeyType)
	require.Equal(t, uint32(0x81), q.TEEType)
	require.Equal(t, want.Header.QeVendorId, q.QEVendor)
	require.Equal(t, want.Header.UserData, q.UserData)
	for i, pair := range [][2][]byte{
		{body.TeeTcbSvn, q.TEETCBSVN}, {body.MrSeam, q.MRSEAM}, {body.MrSignerSeam, q.MRSignerSEAM}, {body.SeamAttributes, q.SEAMAttributes},
		{body.TdAttributes, binary.LittleEndian.AppendUint64(nil, uint64(q.Attributes))},
		{body.Xfam, binary.LittleEndian.AppendUint64(nil, uint64(q.XFAM))},
		{body.MrTd, q.MRTD}, {body.MrConfigId, q.MRConfigID}, {body.MrOwner, q.MROwner}, {body.MrOwnerConfig, q.MROwnerConfig},
		{body.Rtmrs[0], q.RTMRs[0]}, {body.Rtmrs[3], q.RTMRs[3]}, {body.ReportData, q.ReportData},
	} {
		require.Equal(t, pair[0], pair[1], i)
	}
	qe := want.SignedData.CertificationData.QeReportCertificationData.QeReport
	require.Equal(t, QE{
		CPUSVN: qe.CpuSvn, MiscSelect: qe.MiscSelect, Attributes: qe.Attributes, MREnclave: qe.MrEnclave, MRSigner: qe.MrSigner,
		ProdID: uint16(qe.IsvProdId), SVN: uint16(qe.IsvSvn), ReportData: qe.ReportData,
	}, q.QE)
	require.Nil(t, q.TEETCBSVN2)
	require.Nil(t, q.MRServiceTD)
	require.False(t, u.Collateral)
	require.Len(t, u.Certificates, 3)
	require.Len(t, u.PCK.PPID, 16)
	require.Len(t, u.PCK.FMSPC, 6)
	require.Len(t, u.PCK.CPUSVN, 16)

	f := newIntel(t)
	raw := f.quote(t, bytes.Repeat([]byte{5}, 64))
	raw[headerSize+520] = 6 // report data after the signature: nobody looks
	u, err = ParseUnverified(encoded(t, raw, f.collateral(t)))
	require.NoError(t, err)
	require.True(t, u.Collateral)
	require.Equal(t, byte(6), u.Quote.ReportData[0])

	_, err = ParseUnverified(encoded(t, raw[:len(raw)-1], nil))
	step(t, err, evidence.ErrFormat, "quote", ErrQuote)
	_, err = ParseUnverified([]byte{0xa1})
	step(t, err, evidence.ErrFormat, "message", nil)
}

// The body of TDX 1.5 has two fields more.
func TestParseUnverified15(t *testing.T) {
	t.Parallel()
	u, err := ParseUnverified(encoded(t, TrimQuote(testdata.RawQuoteV5), nil))
	require.NoError(t, err)
	require.Equal(t, uint16(5), u.Quote.Version)
	require.Len(t, u.Quote.MRServiceTD, 48)
	require.Len(t, u.Quote.TEETCBSVN2, 16)
}

func TestFlags(t *testing.T) {
	t.Parallel()
	set := func(all []evidence.Flag) (out []string) {
		for _, f := range all {
			if f.Set {
				out = append(out, f.Name)
			}
		}
		return out
	}
	require.Equal(t, []string{"DEBUG", "SEPT_VE_DISABLE", "PERFMON"}, set(Attributes(attributeDebug|attributeSEPTVE|attributePerfmon).Flags()))
	require.Equal(t, []string{"LASS", "MIGRATABLE", "PKS", "KL"}, set(Attributes(attributeLASS|attributeMigrate|attributePKS|attributeKL).Flags()))
	require.Equal(t, []string{"X87", "SSE", "AVX", "XTILECFG", "XTILEDATA"}, set(XFAM(0x60007).Flags()))
	require.Len(t, XFAM(0).Flags(), 19)
	require.Empty(t, set(XFAM(1<<40).Flags()))
}
