package sevsnp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"
	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	fakeamd "github.com/google/go-sev-guest/testing"
	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/internal/detcbor"
)

// The real report comes with go-sev-guest: a Milan guest, debugging allowed. Its
// VCEK is valid at realTime.
var realTime = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func realEvidence(t testing.TB) []byte {
	t.Helper()
	return encoded(t, testdata.AttestationBytes[:reportSize], testdata.VcekBytes)
}

func encoded(t testing.TB, report []byte, certificates ...[]byte) []byte {
	t.Helper()
	b, err := detcbor.Encode(&message{Report: report, Certificates: certificates})
	require.NoError(t, err)
	return b
}

// floor is below the levels of every report of the tests.
var floor = map[string]TCB{"Milan": NewTCB(0, 0, 0, 0)}

func realPolicy() Policy {
	return Policy{MinTCB: floor, AllowSMT: true}
}

// amd is a vendor made up by go-sev-guest, with one chip.
type amd struct {
	signer *fakeamd.AmdSigner
	now    time.Time
	debug  bool
	change func(report []byte) // before it is signed
}

var (
	fakeTCB     = NewTCB(3, 1, 8, 115)
	fakeChip    = bytes.Repeat([]byte{0xc1}, 64)
	fakeLaunch  = bytes.Repeat([]byte{0x5e}, 48)
	fakeHost    = bytes.Repeat([]byte{0x05}, 32)
	fakeIDKey   = bytes.Repeat([]byte{0x1d}, 48)
	fakeAuthor  = bytes.Repeat([]byte{0xa0}, 48)
	fakeFamily  = bytes.Repeat([]byte{0xfa}, 16)
	fakeImage   = bytes.Repeat([]byte{0x1a}, 16)
	fakeFMS     = uint32(0x00a00f11) // Milan, stepping 1
	lifetimeCRL = time.Hour
)

// fakes guards the source of randomness that all fakes of the library share.
var fakes sync.Mutex

func newAMD(t testing.TB, change ...func(*fakeamd.AmdSignerBuilder)) *amd {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	parts := kds.DecomposeTCBVersion(kds.TCBVersion(fakeTCB))
	b := &fakeamd.AmdSignerBuilder{
		Keys: fakeamd.DefaultAmdKeys(), ProductName: "Milan-B1", CSPID: "cloud",
		ArkCreationTime: now, AskCreationTime: now, AsvkCreationTime: now, VcekCreationTime: now, VlekCreationTime: now,
		AskCustom:  fakeamd.CertOverride{KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign},
		VcekCustom: fakeamd.CertOverride{Extensions: fakeamd.CustomExtensions(parts, fakeChip, "", "Milan-B1")},
		VlekCustom: fakeamd.CertOverride{Extensions: fakeamd.CustomExtensions(parts, nil, "cloud", "Milan-B1")},
	}
	for _, c := range change {
		c(b)
	}
	fakes.Lock()
	defer fakes.Unlock()
	signer, err := b.TestOnlyCertChain()
	require.NoError(t, err)
	return &amd{signer: signer, now: now.Add(time.Minute)}
}

func (a *amd) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.signer.Ark)
	return pool
}

func (a *amd) chain() [][]byte {
	return [][]byte{a.signer.Vcek.Raw, a.signer.Ask.Raw, a.signer.Ark.Raw}
}

// report is signed by the chip, or by the cloud's key if its signer info says so.
func (a *amd) report(t testing.TB, reportData []byte) []byte {
	t.Helper()
	full := fakeamd.CreateRawReport(&fakeamd.TestReportOptions{ReportData: reportData, Version: 3, FMS: fakeFMS})
	raw := full[:abi.ReportSize]
	binary.LittleEndian.PutUint64(raw[0x08:], abi.SnpPolicyToBytes(abi.SnpPolicy{ABIMajor: 1, Debug: a.debug}))
	binary.LittleEndian.PutUint32(raw[0x04:], 7) // GUEST_SVN
	copy(raw[0x10:], fakeFamily)
	copy(raw[0x20:], fakeImage)
	copy(raw[0x90:], fakeLaunch)
	copy(raw[0xc0:], fakeHost)
	copy(raw[0xe0:], fakeIDKey)
	copy(raw[0x110:], fakeAuthor)
	copy(raw[0x1a0:], fakeChip)
	for _, at := range []int{0x38, 0x180, 0x1e0, 0x1f0} { // current, reported, committed, launch
		binary.LittleEndian.PutUint64(raw[at:], uint64(fakeTCB))
	}
	copy(raw[0x1e8:], []byte{21, 55, 1}) // current build, minor, major
	copy(raw[0x1ec:], []byte{21, 55, 1})
	if a.change != nil {
		a.change(raw)
	}
	fakes.Lock()
	r, s, err := a.signer.Sign(abi.SignedComponent(raw))
	fakes.Unlock()
	require.NoError(t, err)
	require.NoError(t, abi.SetSignature(r, s, raw))
	return raw
}

// client is a kernel whose firmware is the chip's.
func (a *amd) client(t testing.TB, aux []byte) configfsi.Client {
	sub := faketsm.ReportV7(0)
	sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
		switch attr {
		case "provider":
			return []byte(provider + "\n"), nil
		case "outblob":
			return a.report(t, e.InAttrs["inblob"].Value), nil
		case "auxblob":
			return aux, nil
		}
		return nil, os.ErrNotExist
	}
	return &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": sub}}
}

func (a *amd) table(t testing.TB) []byte {
	t.Helper()
	b, err := a.signer.CertTableBytes()
	require.NoError(t, err)
	// The library gives the ASVK an entry with a zero GUID, and no last entry.
	end := len(b)
	b = append(b, make([]byte, entrySize)...)
	copy(b[5*entrySize+entrySize:], b[5*entrySize:end])
	clear(b[4*entrySize : 6*entrySize])
	for i := range 4 {
		at := b[i*entrySize+16:]
		binary.LittleEndian.PutUint32(at, binary.LittleEndian.Uint32(at)+entrySize)
	}
	return b
}

func (a *amd) attester(t testing.TB) *Attester {
	t.Helper()
	at, err := NewAttester(AttesterOptions{Client: a.client(t, a.table(t))})
	require.NoError(t, err)
	return at
}

func (a *amd) policy() Policy {
	return Policy{MinTCB: map[string]TCB{"Milan": fakeTCB}}
}

func extractor(t testing.TB, p Policy) *Extractor {
	t.Helper()
	x, err := New(Options{Policy: p, AcceptRevoked: true})
	require.NoError(t, err)
	return x
}

// attest returns the Evidence of an Attester and the Binding it is for.
func attest(t testing.TB, a attestation.Attester) (attestation.Binding, []byte, error) {
	t.Helper()
	return evidencetest.AttestNewKey(context.Background(), a)
}

func (a *amd) extract(t testing.TB, value []byte) (*evidence.Claims, error) {
	t.Helper()
	return extractor(t, a.policy()).Extract(context.Background(), MediaType, value, a.roots(), a.now)
}

// step requires an evidence.Error of that reason, step and cause.
func step(t testing.TB, err error, reason error, step string, cause error) {
	t.Helper()
	var e *evidence.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, reason)
	require.Equal(t, step, e.Step, err)
	if cause != nil {
		require.ErrorIs(t, err, cause)
	}
}

// list is a revocation list of an authority, valid for an hour.
func (a *amd) list(t testing.TB, issuer *x509.Certificate, key crypto.Signer, revoked ...*big.Int) *x509.RevocationList {
	t.Helper()
	template := &x509.RevocationList{
		SignatureAlgorithm: x509.SHA384WithRSAPSS, Number: big.NewInt(1),
		ThisUpdate: a.now.Add(-lifetimeCRL), NextUpdate: a.now.Add(lifetimeCRL),
	}
	for _, n := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: a.now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, issuer, key)
	require.NoError(t, err)
	l, err := x509.ParseRevocationList(der)
	require.NoError(t, err)
	return l
}
