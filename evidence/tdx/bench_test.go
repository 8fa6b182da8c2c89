package tdx

import (
	"context"
	"testing"

	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/google/go-tdx-guest/verify"
	"github.com/stretchr/testify/require"
)

// BenchmarkExtract and BenchmarkLibrary verify the same real quote, offline.
func BenchmarkExtract(b *testing.B) {
	x, value, roots := extractor(b, lenient), encoded(b, TrimQuote(testdata.RawQuote), nil), IntelRoots()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Extract(context.Background(), MediaType, value, roots, realTime4); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLibrary(b *testing.B) {
	roots := IntelRoots()
	now := &verify.TimeSet{PckCertChain: realTime4}
	b.ReportAllocs()
	for b.Loop() {
		if err := verify.RawTdxQuote(testdata.RawQuote, &verify.Options{Now: now, TrustedRoots: roots}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExtractCollateral and BenchmarkLibraryCollateral do so with collateral
// of the relying party.
func BenchmarkExtractCollateral(b *testing.B) {
	f := newIntel(b)
	x := extractor(b, Options{Collateral: []*Collateral{f.collateral(b)}})
	value, roots := encoded(b, f.quote(b, make([]byte, 64)), nil), f.roots()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Extract(context.Background(), MediaType, value, roots, f.now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLibraryCollateral(b *testing.B) {
	f := newIntel(b)
	c, err := f.collateral(b).parse()
	require.NoError(b, err)
	raw, roots := f.quote(b, make([]byte, 64)), f.roots()
	p, err := parse(raw)
	require.NoError(b, err)
	now := &verify.TimeSet{PckCertChain: f.now, TcbInfo: f.now, QeIdentity: f.now, PckCrl: f.now, RootCaCrl: f.now}
	b.ReportAllocs()
	for b.Loop() {
		o := &verify.Options{Now: now, TrustedRoots: roots, GetCollateral: true, CheckRevocations: true, Getter: &shelf{c, p}}
		if err := verify.RawTdxQuote(raw, o); err != nil {
			b.Fatal(err)
		}
	}
}
