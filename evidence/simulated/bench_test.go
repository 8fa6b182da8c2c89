package simulated

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func BenchmarkAttest(b *testing.B) {
	f := newFixture(b)
	a := NewAttester(f.device)
	accept := a.MediaTypes()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Attest(context.Background(), f.binding, accept); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(f.token)), "token-bytes")
}

func BenchmarkExtract(b *testing.B) {
	f := newFixture(b)
	roots, now := f.vendor.Roots(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		_, err := Extractor{}.Extract(context.Background(), MediaType, f.token, roots, now)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	f := newFixture(b)
	b.ReportAllocs()
	for b.Loop() {
		_, err := parse(f.token)
		require.NoError(b, err)
	}
}
