package tpm

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"
)

// BenchmarkQuote and BenchmarkCertify compare what this package adds with the raw
// command on the same transport, one after the other so that both meet the same
// machine. The metric ratio is ours by raw.
func BenchmarkQuote(b *testing.B) {
	d := newDevice(b, newAuthority(b), ECDSAP256, ECDSAP256)
	binder := make([]byte, 32)
	compare(b, d, func(s *session) (any, error) {
		return s.quote(&d.ak.key, d.attester.selection, binder)
	}, func(t transport.TPM, ak, _ tpm2.AuthHandle) error {
		_, err := tpm2.Quote{
			SignHandle: ak, QualifyingData: tpm2.TPM2BData{Buffer: binder},
			InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: d.attester.selection,
		}.Execute(t)
		return err
	})
}

func BenchmarkCertify(b *testing.B) {
	d := newDevice(b, newAuthority(b), ECDSAP256, ECDSAP256)
	binder := make([]byte, 32)
	compare(b, d, func(s *session) (any, error) {
		return s.certify(&d.key.key, &d.ak.key, binder)
	}, func(t transport.TPM, ak, key tpm2.AuthHandle) error {
		_, err := tpm2.Certify{
			ObjectHandle: key, SignHandle: ak, QualifyingData: tpm2.TPM2BData{Buffer: binder},
			InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		}.Execute(t)
		return err
	})
}

func compare(b *testing.B, d *device, job func(*session) (any, error), command func(t transport.TPM, ak, key tpm2.AuthHandle) error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ours, raw time.Duration
	for b.Loop() {
		start := time.Now()
		_, err := run(ctx, d.tpm, job)
		ours += time.Since(start)
		require.NoError(b, err)
		_, err = run(ctx, d.tpm, func(s *session) (any, error) {
			ak, err := s.load(&d.ak.key)
			require.NoError(b, err)
			key, err := s.load(&d.key.key)
			require.NoError(b, err)
			t := transport.FromReadWriter(s.t.conn)
			start := time.Now()
			err = command(t, ak, key)
			raw += time.Since(start)
			return nil, err
		})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "ours-ns/op")
	b.ReportMetric(float64(raw.Nanoseconds())/float64(b.N), "raw-ns/op")
	b.ReportMetric(float64(ours)/float64(raw), "ratio")
}

// BenchmarkAttest is all of it: certification, quote and ten PCRs.
func BenchmarkAttest(b *testing.B) {
	d := newDevice(b, newAuthority(b), ECDSAP256, ECDSAP256)
	binder := make([]byte, 32)
	for b.Loop() {
		d.collect(b, d.key, binder)
	}
}

func BenchmarkExtract(b *testing.B) {
	for b.Loop() {
		_, err := extractGolden(b, goldenEvidence)
		require.NoError(b, err)
	}
}
