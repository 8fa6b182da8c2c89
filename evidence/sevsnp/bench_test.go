package sevsnp

import (
	"context"
	"crypto/x509"
	"testing"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/google/go-sev-guest/verify/trust"
	"github.com/stretchr/testify/require"
)

// BenchmarkExtract and BenchmarkLibrary verify the same real report, offline.
func BenchmarkExtract(b *testing.B) {
	x, value, roots := extractor(b, realPolicy()), realEvidence(b), AMDRoots()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Extract(context.Background(), MediaType, value, roots, realTime); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLibrary(b *testing.B) {
	root := trust.AMDRootCertsProduct("Milan")
	require.NoError(b, root.FromKDSCertBytes(trust.AskArkMilanVcekBytes))
	b.ReportAllocs()
	for b.Loop() {
		report, err := abi.ReportToProto(testdata.AttestationBytes[:reportSize])
		if err != nil {
			b.Fatal(err)
		}
		err = verify.SnpAttestation(&spb.Attestation{Report: report, CertificateChain: &spb.CertificateChain{VcekCert: testdata.VcekBytes}}, &verify.Options{
			DisableCertFetching: true, Now: realTime, TrustedRoots: map[string][]*trust.AMDRootCerts{"Milan": {root}},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExtractChain has the whole chain in the Evidence, and a revocation list.
func BenchmarkExtractChain(b *testing.B) {
	a := newAMD(b)
	x, err := New(Options{Policy: a.policy(), RevocationLists: []*x509.RevocationList{a.list(b, a.signer.Ark, a.signer.Keys.Ark)}})
	require.NoError(b, err)
	value, roots := encoded(b, a.report(b, make([]byte, 64)), a.chain()...), a.roots()
	b.ReportMetric(float64(len(value)), "evidence-bytes")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Extract(context.Background(), MediaType, value, roots, a.now); err != nil {
			b.Fatal(err)
		}
	}
}
