package tpm

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"
)

// BenchmarkQuote and BenchmarkCertify compare what this package adds with the raw
// command on the same transport, by turns so that both meet the same machine. The
// metrics are medians, and ratio is ours by raw.
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
	var ours, raw []time.Duration
	timeOurs := func() {
		start := time.Now()
		_, err := run(ctx, d.tpm, job)
		ours = append(ours, time.Since(start))
		require.NoError(b, err)
	}
	timeRaw := func() {
		_, err := run(ctx, d.tpm, func(s *session) (any, error) {
			ak, err := s.load(&d.ak.key)
			require.NoError(b, err)
			key, err := s.load(&d.key.key)
			require.NoError(b, err)
			t := transport.FromReadWriter(s.t.conn)
			start := time.Now()
			err = command(t, ak, key)
			raw = append(raw, time.Since(start))
			return nil, err
		})
		require.NoError(b, err)
	}
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 { // who comes second finds warm caches
			timeOurs()
			timeRaw()
		} else {
			timeRaw()
			timeOurs()
		}
	}
	slices.Sort(ours)
	slices.Sort(raw)
	b.ReportMetric(float64(ours[len(ours)/2].Nanoseconds()), "ours-ns/op")
	b.ReportMetric(float64(raw[len(raw)/2].Nanoseconds()), "raw-ns/op")
	b.ReportMetric(float64(ours[len(ours)/2])/float64(raw[len(raw)/2]), "ratio")
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
