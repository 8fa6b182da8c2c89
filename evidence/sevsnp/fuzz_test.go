package sevsnp

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// FuzzExtract: whatever arrives, what is accepted has the signed part of the real
// report, and every refusal says its reason.
func FuzzExtract(f *testing.F) {
	good := realEvidence(f)
	if len(good) == 0 {
		f.Fatal("no seeds")
	}
	f.Add(good)
	for _, i := range []int{0, 4, 0x60, 0x300, 0x4a0, 0x4b0, len(good) - 1} {
		f.Add(good[:i])
		f.Add(changed(good, i))
	}
	x, roots := extractor(f, realPolicy()), AMDRoots()
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, err := x.Extract(context.Background(), MediaType, b, roots, realTime)
		u, parsed := ParseUnverified(b)
		require.Equal(t, parsed == nil, u != nil)
		require.True(t, err != nil || parsed == nil, "what Extract takes can be read")
		require.True(t, parsed == nil || errors.Is(parsed, evidence.ErrFormat), "%v", parsed)
		if err == nil {
			m, _, err := parseMessage(b)
			require.NoError(t, err)
			require.Equal(t, testdata.AttestationBytes[:0x2a0], m.Report[:0x2a0], "another report is accepted")
			return
		}
		require.Nil(t, claims)
		var e *evidence.Error
		require.ErrorAs(t, err, &e)
		require.NotErrorIs(t, err, ErrLibrary, "the library panics")
		require.NotErrorIs(t, err, detcbor.ErrPanic, "the decoder panics")
	})
}

// FuzzReport reaches what the signature would hide: a report that is read gives
// back the same bytes.
func FuzzReport(f *testing.F) {
	f.Add(testdata.AttestationBytes[:reportSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != reportSize {
			return
		}
		p, err := parseReport(b)
		if err != nil {
			require.True(t, errors.Is(err, ErrReport) || errors.Is(err, ErrNotSigned), "%v", err)
			return
		}
		policy := Policy{MinTCB: floor}
		policy.judge(p, "Milan")
		_, err = p.lineOf()
		require.NoError(t, err)
	})
}

// FuzzTable: no table makes the reader leave its bytes.
func FuzzTable(f *testing.F) {
	a := newAMD(f)
	f.Add(a.table(f))
	f.Add(make([]byte, entrySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseTable(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCertificates)
			return
		}
		for _, e := range entries {
			require.LessOrEqual(t, len(e), len(b))
		}
	})
}
