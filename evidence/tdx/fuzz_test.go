package tdx

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// FuzzExtract: whatever arrives, what is accepted has the signed part of the real
// quote, and every refusal says its reason.
func FuzzExtract(f *testing.F) {
	good := encoded(f, TrimQuote(testdata.RawQuote), nil)
	if len(good) == 0 {
		f.Fatal("no seeds")
	}
	f.Add(good)
	for _, i := range []int{0, 4, 60, atSigned + 4, atAuth + 4, atPCK + 4, len(good) - 1} {
		f.Add(good[:i])
		f.Add(changed(good, i))
	}
	x, roots := extractor(f, lenient), IntelRoots()
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, err := x.Extract(context.Background(), MediaType, b, roots, realTime4)
		u, parsed := ParseUnverified(b)
		require.Equal(t, parsed == nil, u != nil)
		require.True(t, err != nil || parsed == nil, "what Extract takes can be read")
		require.True(t, parsed == nil || errors.Is(parsed, evidence.ErrFormat), "%v", parsed)
		if err == nil {
			m, err := parseMessage(b)
			require.NoError(t, err)
			require.Equal(t, testdata.RawQuote[:atSigned], m.Quote[:atSigned], "another quote is accepted")
			return
		}
		require.Nil(t, claims)
		var e *evidence.Error
		require.ErrorAs(t, err, &e)
		require.NotErrorIs(t, err, ErrLibrary, "the library panics")
		require.NotErrorIs(t, err, detcbor.ErrPanic, "the decoder panics")
	})
}

// FuzzQuote: no quote that passes the walk over its lengths makes the library
// panic, and what the attester cuts off a quote is behind it.
func FuzzQuote(f *testing.F) {
	for _, raw := range [][]byte{testdata.RawQuote, testdata.RawQuoteV5} {
		f.Add(raw)
		f.Add(TrimQuote(raw))
		f.Add(changed(raw, atAuth))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.True(t, bytes.HasPrefix(b, TrimQuote(b)))
		p, err := parse(b)
		if err != nil {
			require.NotErrorIs(t, err, ErrLibrary, "the library panics")
			require.True(t, errors.Is(err, ErrQuote) || errors.Is(err, ErrSize), "%v", err)
			return
		}
		policy := Policy{MRSEAM: [][]byte{make([]byte, mrSize)}}
		policy.judge(p.quote)
		require.Equal(t, TrimQuote(b), b)
		require.Len(t, p.claims().ReportData, 64)
		require.NotErrorIs(t, p.verify(nil, IntelRoots(), realTime4), ErrLibrary, "the library panics")
	})
}

// FuzzCollateral: what is read of a signed statement is written the same way again.
func FuzzCollateral(f *testing.F) {
	f.Add(testdata.TcbInfoBody, testdata.QeIdentityBody)
	f.Add(testdata.TcbInfoBodyV5, []byte(`{"enclaveIdentity":{},"signature":""}`))
	v := newIntel(f)
	base := v.collateral(f)
	p, err := parse(v.quote(f, make([]byte, 64)))
	if err != nil {
		f.Fatal("no seeds:", err)
	}
	f.Fuzz(func(t *testing.T, info, identity []byte) {
		c := *base
		c.TCBInfo, c.QEIdentity = info, identity
		parsed, err := c.parse()
		if err != nil {
			require.NotErrorIs(t, err, ErrLibrary, "a decoder panics")
			return
		}
		again := c
		again.TCBInfo, again.QEIdentity = parsed.tcbInfo, parsed.qeIdentity
		second, err := again.parse()
		require.NoError(t, err)
		require.Equal(t, parsed.tcbInfo, second.tcbInfo)
		require.Equal(t, parsed.qeIdentity, second.qeIdentity)
		_ = parsed.check(p, v.now)
		require.Error(t, p.verify(parsed, v.roots(), v.now), "a statement that this vendor did not sign")
	})
}
