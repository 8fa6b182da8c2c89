package tdx

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"
	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/internal/detcbor"
)

// The real quotes come with go-tdx-guest. Their certificates hold at these times.
var (
	realTime4 = time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)
	realTime5 = time.Date(2026, 2, 3, 1, 0, 0, 0, time.UTC)
)

func encoded(t testing.TB, quote []byte, c *Collateral) []byte {
	t.Helper()
	b, err := detcbor.Encode(&message{Quote: quote, Collateral: c})
	require.NoError(t, err)
	return b
}

func extractor(t testing.TB, o Options) *Extractor {
	t.Helper()
	x, err := New(o)
	require.NoError(t, err)
	return x
}

// lenient accepts what real quotes of the library's tests say.
var lenient = Options{AcceptUnknownTCB: true, Policy: Policy{AllowSEPTVE: true}}

// certified is a certificate with its key.
type certified struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// intel is a vendor made up here, in the shape of Intel's, with one platform and
// one quoting enclave.
type intel struct {
	now                        time.Time
	root, ca, pck, signing     *certified
	attest                     *ecdsa.PrivateKey
	change                     func(*pb.QuoteV4)
	info, identity             map[string]any
	pckRevoked, caRevoked      []*big.Int
	crlThis, crlNext, jsonNext time.Time
}

func newIntel(t testing.TB) *intel {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	f := &intel{now: now, crlThis: now.Add(-time.Hour), crlNext: now.Add(24 * time.Hour), jsonNext: now.Add(24 * time.Hour)}
	real, err := parse(TrimQuote(testdata.RawQuote))
	require.NoError(t, err)
	var sgx []pkix.Extension
	for _, e := range real.chain.PCKCertificate.Extensions {
		if e.Id.String() == "1.2.840.113741.1.13.1" {
			sgx = append(sgx, e)
		}
	}
	f.root = f.issue(t, "Intel SGX Root CA", 1, nil, true, nil)
	f.ca = f.issue(t, "Intel SGX PCK Platform CA", 2, f.root, true, nil)
	f.pck = f.issue(t, "Intel SGX PCK Certificate", 3, f.ca, false, sgx)
	f.signing = f.issue(t, "Intel SGX TCB Signing", 4, f.root, false, nil)
	f.attest, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f.info, f.identity = f.statements(real)
	return f
}

func (f *intel) issue(t testing.TB, name string, serial int64, parent *certified, ca bool, ext []pkix.Extension) *certified {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Intel Corporation"}, Locality: []string{"Santa Clara"}, Province: []string{"CA"}, Country: []string{"US"}},
		NotBefore:             f.now.Add(-time.Hour),
		NotAfter:              f.now.Add(48 * time.Hour),
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
		IsCA:                  ca,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtraExtensions:       ext,
		SubjectKeyId:          []byte(name),
		CRLDistributionPoints: []string{"https://crl.invalid/root"},
	}
	if ca {
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	signer := &certified{template, key}
	if parent != nil {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.Certificate, &key.PublicKey, signer.key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &certified{c, key}
}

// statements are TCB info and QE identity that call the real platform up to date.
func (f *intel) statements(p *parsed) (info, identity map[string]any) {
	components := func(svn []byte) []any {
		var out []any
		for _, n := range svn {
			out = append(out, map[string]any{"svn": n})
		}
		return out
	}
	date := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	level := map[string]any{
		"tcb": map[string]any{
			"sgxtcbcomponents": components(p.platform.TCB.CPUSvnComponents),
			"tdxtcbcomponents": components(p.teeTCBSVN()),
			"pcesvn":           p.platform.TCB.PCESvn,
		}, "tcbDate": "2023-02-15T00:00:00Z", "tcbStatus": "UpToDate",
	}
	zeros := hex.EncodeToString(make([]byte, 48))
	info = map[string]any{
		"id": "TDX", "version": 3, "issueDate": date(f.now.Add(-time.Hour)), "nextUpdate": date(f.jsonNext),
		"fmspc": p.platform.FMSPC, "pceId": p.platform.PCEID, "tcbType": 0, "tcbEvaluationDataNumber": 15,
		"tdxModule": map[string]any{"mrsigner": zeros, "attributes": zeros[:16], "attributesMask": "FFFFFFFFFFFFFFFF"},
		"tcbLevels": []any{level},
	}
	identity = map[string]any{
		"id": "TD_QE", "version": 2, "issueDate": date(f.now.Add(-time.Hour)), "nextUpdate": date(f.jsonNext), "tcbEvaluationDataNumber": 15,
		"miscselect": "00000000", "miscselectMask": "FFFFFFFF",
		"attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
		"mrsigner": hex.EncodeToString(quotingEnclave), "isvprodid": 2,
		"tcbLevels": []any{map[string]any{"tcb": map[string]any{"isvsvn": p.qeSVN()}, "tcbDate": "2023-02-15T00:00:00Z", "tcbStatus": "UpToDate"}},
	}
	return info, identity
}

func sign(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	require.NoError(t, err)
	out := make([]byte, sigSize)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

// quote is the real quote with other report data, certified by this vendor.
func (f *intel) quote(t testing.TB, reportData []byte) []byte {
	t.Helper()
	decoded, err := abi.QuoteToProto(TrimQuote(testdata.RawQuote))
	require.NoError(t, err)
	q := decoded.(*pb.QuoteV4)
	q.TdQuoteBody.ReportData = bytes.Clone(reportData)
	q.TdQuoteBody.TdAttributes = []byte{0, 0, 0, 0x10, 0, 0, 0, 0} // SEPT_VE_DISABLE
	if f.change != nil {
		f.change(q)
	}
	public, err := f.attest.PublicKey.Bytes()
	require.NoError(t, err)
	data := q.SignedData
	data.EcdsaAttestationKey = public[1:]
	qe := data.CertificationData.QeReportCertificationData
	digest := sha256.Sum256(append(bytes.Clone(public[1:]), qe.QeAuthData.Data...))
	qe.QeReport.ReportData = append(digest[:], make([]byte, 32)...)
	report, err := abi.EnclaveReportToAbiBytes(qe.QeReport)
	require.NoError(t, err)
	qe.QeReportSignature = sign(t, f.pck.key, report)
	var chain []byte
	for _, c := range []*certified{f.pck, f.ca, f.root} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	old := qe.PckCertificateChainData.Size
	qe.PckCertificateChainData.PckCertChain, qe.PckCertificateChainData.Size = chain, uint32(len(chain))
	data.CertificationData.Size += uint32(len(chain)) - old
	q.SignedDataSize += uint32(len(chain)) - old
	header, err := abi.HeaderToAbiBytes(q.Header)
	require.NoError(t, err)
	body, err := abi.TdQuoteBodyToAbiBytes(q.TdQuoteBody)
	require.NoError(t, err)
	data.Signature = sign(t, f.attest, append(header, body...))
	raw, err := abi.QuoteToAbiBytes(q)
	require.NoError(t, err)
	return raw
}

// collateral is what the vendor's service says.
func (f *intel) collateral(t testing.TB) *Collateral {
	t.Helper()
	statement := func(name string, v map[string]any) []byte {
		signed, err := json.Marshal(v)
		require.NoError(t, err)
		signature := hex.EncodeToString(sign(t, f.signing.key, signed))
		return append(append([]byte(`{"`+name+`":`), signed...), `,"signature":"`+signature+`"}`...)
	}
	list := func(issuer *certified, revoked []*big.Int) []byte {
		template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: f.crlThis, NextUpdate: f.crlNext}
		for _, n := range revoked {
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: f.now})
		}
		der, err := x509.CreateRevocationList(rand.Reader, template, issuer.Certificate, issuer.key)
		require.NoError(t, err)
		return der
	}
	return &Collateral{
		TCBInfo: statement("tcbInfo", f.info), QEIdentity: statement("enclaveIdentity", f.identity),
		PCKCRL: list(f.ca, f.pckRevoked), RootCRL: list(f.root, f.caRevoked),
		TCBSigning: f.signing.Raw, Root: f.root.Raw,
	}
}

func (f *intel) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(f.root.Certificate)
	return pool
}

// client is a kernel whose quotes come from this vendor's platform, with the rest
// of its buffer behind them.
func (f *intel) client(t testing.TB) configfsi.Client {
	sub := faketsm.ReportV7(0)
	sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
		switch attr {
		case "provider":
			return []byte(provider + "\n"), nil
		case "outblob":
			return append(f.quote(t, e.InAttrs["inblob"].Value), make([]byte, 32)...), nil
		}
		return nil, os.ErrNotExist
	}
	return &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": sub}}
}

func (f *intel) extract(t testing.TB, x *Extractor, value []byte) (*evidence.Claims, error) {
	t.Helper()
	return x.Extract(context.Background(), MediaType, value, f.roots(), f.now)
}

// attest returns the Evidence of an Attester and the Binding it is for.
func attest(t testing.TB, a attestation.Attester) (attestation.Binding, []byte, error) {
	t.Helper()
	return evidencetest.AttestNewKey(context.Background(), a)
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
