package tdx

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/google/go-tdx-guest/verify"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// changed is a copy with one bit of byte i turned.
func changed(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x10
	return b
}

// Places in a quote of version 4.
const (
	atBody    = headerSize
	atSigned  = atBody + body10Size
	atSig     = atSigned + 4
	atCert    = atSig + 2*sigSize
	atQE      = atCert + 6
	atQESig   = atQE + qeReportSize
	atAuth    = atQESig + sigSize
	authBytes = 32
	atPCK     = atAuth + 2 + authBytes
)

// TestRealChanged: no byte of the signed part of a real quote can be changed, nor
// one of the quoting enclave's report and of the signatures.
func TestRealChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw    []byte
		now    time.Time
		signed int
	}{
		"version 4": {testdata.RawQuote, realTime4, atSigned},
		"version 5": {testdata.RawQuoteV5, realTime5, headerSize + 6 + body15Size},
	} {
		x, raw, roots := extractor(t, lenient), TrimQuote(c.raw), IntelRoots()
		places := []int{c.signed + 4, c.signed + 4 + sigSize, c.signed + 4 + atQE - atSig, c.signed + 4 + atQESig - atSig, c.signed + 4 + atAuth + 2 - atSig}
		for i := range c.signed {
			places = append(places, i)
		}
		for _, i := range places {
			_, err := x.Extract(context.Background(), MediaType, encoded(t, changed(raw, i), nil), roots, c.now)
			require.Error(t, err, "%s: byte %d", name, i)
		}
	}
}

// TestRefused: everything that makes Evidence no Evidence has an error of its own.
func TestRefused(t *testing.T) {
	t.Parallel()
	f, foreign := newIntel(t), newIntel(t)
	q, c := f.quote(t, make([]byte, 64)), f.collateral(t)
	good := encoded(t, q, c)
	set := func(at int, b ...byte) []byte {
		out := bytes.Clone(q)
		copy(out[at:], b)
		return encoded(t, out, c)
	}
	for name, v := range map[string]struct {
		value  []byte
		reason error
		step   string
		cause  error
	}{
		"good":                  {value: good},
		"empty":                 {nil, evidence.ErrFormat, "size", ErrSize},
		"oversized":             {make([]byte, maxMessage+1), evidence.ErrFormat, "size", ErrSize},
		"no CBOR":               {make([]byte, maxMessage), evidence.ErrFormat, "message", nil},
		"truncated":             {good[:1000], evidence.ErrFormat, "message", nil},
		"trailing":              {append(bytes.Clone(good), 0), evidence.ErrFormat, "message", nil},
		"null for a quote":      {[]byte{0xa1, 1, 0xf6}, evidence.ErrFormat, "message", nil},
		"no quote":              {encoded(t, []byte{}, c), evidence.ErrFormat, "quote", ErrSize},
		"large quote":           {encoded(t, make([]byte, maxQuote+1), nil), evidence.ErrFormat, "quote", ErrSize},
		"quote cut":             {encoded(t, q[:len(q)-1], c), evidence.ErrFormat, "quote", ErrQuote},
		"quote of a header":     {encoded(t, q[:headerSize-1], c), evidence.ErrFormat, "quote", ErrQuote},
		"quote trailing":        {encoded(t, append(bytes.Clone(q), 0), c), evidence.ErrFormat, "quote", ErrQuote},
		"version 3":             {set(0, 3), evidence.ErrFormat, "quote", ErrQuote},
		"version 5 in name":     {set(0, 5), evidence.ErrFormat, "quote", ErrQuote},
		"SGX":                   {set(4, 0), evidence.ErrFormat, "quote", ErrQuote},
		"another key type":      {set(2, 3), evidence.ErrFormat, "quote", ErrQuote},
		"signed data short":     {set(atSigned, 20, 0, 0, 0), evidence.ErrFormat, "quote", ErrQuote},
		"signed data long":      {set(atSigned, 0xff, 0xff, 0xff, 0xff), evidence.ErrFormat, "quote", ErrQuote},
		"certification type":    {set(atCert, 5), evidence.ErrFormat, "quote", ErrQuote},
		"certification size":    {set(atCert+2, 1), evidence.ErrFormat, "quote", ErrQuote},
		"auth of 65535":         {set(atAuth, 0xff, 0xff), evidence.ErrFormat, "quote", ErrQuote},
		"PCK type":              {set(atPCK, 4), evidence.ErrFormat, "quote", ErrQuote},
		"PCK size":              {set(atPCK+2, 0, 0), evidence.ErrFormat, "quote", ErrQuote},
		"no PEM":                {set(atPCK+6, []byte("xxxxxxxxxxx")...), evidence.ErrFormat, "quote", ErrQuote},
		"signed part":           {set(atBody+136, 1), evidence.ErrSignature, "quote", errSignature},
		"header":                {set(28, 9, 9, 9), evidence.ErrSignature, "quote", errSignature},
		"signature":             {encoded(t, changed(q, atSig), c), evidence.ErrSignature, "quote", errSignature},
		"attestation key":       {encoded(t, changed(q, atSig+sigSize), c), evidence.ErrSignature, "quote", errSignature},
		"QE report":             {encoded(t, changed(q, atQE+64), c), evidence.ErrSignature, "quote", errSignature},
		"QE signature":          {encoded(t, changed(q, atQESig), c), evidence.ErrSignature, "quote", errSignature},
		"QE of somebody":        {encoded(t, changed(q, atQE+128), c), evidence.ErrChain, "quoting enclave", ErrQuotingEnclave},
		"QE of another product": {set(atQE+256, 1), evidence.ErrChain, "quoting enclave", ErrQuotingEnclave},
		"QE being debugged":     {set(atQE+48, 0x17), evidence.ErrChain, "quoting enclave", ErrQuotingEnclave},
		"foreign root":          {encoded(t, foreign.quote(t, make([]byte, 64)), foreign.collateral(t)), evidence.ErrChain, "certificate chain", ErrForeignRoot},
		"foreign collateral":    {encoded(t, q, foreign.collateral(t)), evidence.ErrChain, "collateral", errCollateral},
		"no collateral":         {encoded(t, q, nil), evidence.ErrChain, "collateral", ErrNoCollateral},
		"empty collateral":      {encoded(t, q, &Collateral{}), evidence.ErrFormat, "collateral", ErrSize},
	} {
		_, err := f.extract(t, extractor(t, Options{}), v.value)
		if v.reason == nil {
			require.NoError(t, err, name)
			continue
		}
		require.Error(t, err, name)
		step(t, err, v.reason, v.step, v.cause)
	}
}

// TestCallerMistakes: roots, a time, the media type and ctx are needed.
func TestCallerMistakes(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	x, value := extractor(t, Options{}), encoded(t, f.quote(t, make([]byte, 64)), f.collateral(t))
	_, err := x.Extract(context.Background(), MediaType, value, f.roots(), time.Time{})
	step(t, err, evidence.ErrChain, "certificate chain", nil)
	_, err = x.Extract(context.Background(), "text/plain", value, f.roots(), f.now)
	step(t, err, evidence.ErrFormat, "media type", nil)
	_, err = x.Extract(context.Background(), MediaType, value, x509.NewCertPool(), f.now)
	require.ErrorIs(t, err, evidence.ErrRoots)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = x.Extract(ctx, MediaType, value, f.roots(), f.now)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{MediaType}, x.MediaTypes())
	for _, now := range []time.Time{f.pck.NotAfter.Add(time.Second), f.pck.NotBefore.Add(-time.Second)} {
		_, err = x.Extract(context.Background(), MediaType, value, f.roots(), now)
		step(t, err, evidence.ErrChain, "certificate chain", ErrExpired)
	}
}

// TestChainProfile: certificates that lead to the root in names other than Intel's
// are not Intel's platform certificates.
func TestChainProfile(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	f.ca = f.issue(t, "Intel SGX PCK Processor CA", 9, f.root, true, nil)
	p, err := parse(f.quote(t, make([]byte, 64)))
	require.NoError(t, err)
	pck := f.issue(t, "Intel SGX PCK Certificate", 10, f.ca, false, p.chain.PCKCertificate.Extensions[len(p.chain.PCKCertificate.Extensions)-1:])
	f.pck = pck
	x := extractor(t, Options{AcceptUnknownTCB: true})
	_, err = f.extract(t, x, encoded(t, f.quote(t, make([]byte, 64)), nil))
	step(t, err, evidence.ErrChain, "certificate chain", errChain)
	f = newIntel(t)
	f.pck = f.issue(t, "Intel SGX PCK Certificate", 10, f.ca, false, nil)
	_, err = f.extract(t, x, encoded(t, f.quote(t, make([]byte, 64)), nil))
	step(t, err, evidence.ErrFormat, "quote", ErrQuote)
}

// TestGuard: quotes on which the library panics are refused before it sees them,
// and a panic that happens all the same is an error.
func TestGuard(t *testing.T) {
	t.Parallel()
	q := TrimQuote(testdata.RawQuote)
	authLies := bytes.Clone(q)
	binary.LittleEndian.PutUint16(authLies[atAuth:], 0xffff)
	sizeLies := bytes.Clone(q)
	binary.LittleEndian.PutUint32(sizeLies[atSigned:], 20)
	for name, raw := range map[string][]byte{"auth data of 65535 bytes": authLies, "signed data of 20 bytes": sizeLies} {
		require.Panics(t, func() { _, _ = abi.QuoteToProto(raw) }, name)
		require.Panics(t, func() { _ = verify.RawTdxQuote(raw, &verify.Options{TrustedRoots: IntelRoots()}) }, name)
		err := guard(func() error { _, err := abi.QuoteToProto(raw); return err })
		require.ErrorIs(t, err, ErrLibrary, name)
		_, err = extractor(t, lenient).Extract(context.Background(), MediaType, encoded(t, raw, nil), IntelRoots(), realTime4)
		step(t, err, evidence.ErrFormat, "quote", ErrQuote)
	}
	// A panic past the size checks, here of a proto that lost a part.
	p, err := parse(q)
	require.NoError(t, err)
	p.proto = (*pb.QuoteV4)(nil)
	require.Error(t, p.call(nil, IntelRoots(), realTime4))
	_, _, err = noNetwork{}.Get("https://api.trustedservices.intel.com")
	require.Error(t, err)
}

// TestCollateral: collateral that is stale, that names a certificate of the chain,
// or that calls the platform anything but up to date.
func TestCollateral(t *testing.T) {
	t.Parallel()
	level := func(m map[string]any) map[string]any { return m["tcbLevels"].([]any)[0].(map[string]any) }
	date := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	for name, c := range map[string]struct {
		change func(*intel)
		cause  error
	}{
		"good":                   {func(*intel) {}, nil},
		"TCB info stale":         {func(f *intel) { f.info["nextUpdate"] = date(f.now.Add(-time.Second)) }, ErrCollateralExpired},
		"TCB info to the second": {func(f *intel) { f.info["nextUpdate"] = date(f.now) }, nil},
		"TCB info of the future": {func(f *intel) { f.info["issueDate"] = date(f.now.Add(time.Second)) }, ErrCollateralExpired},
		"QE identity stale":      {func(f *intel) { f.identity["nextUpdate"] = date(f.now.Add(-time.Second)) }, ErrCollateralExpired},
		"lists stale":            {func(f *intel) { f.crlNext = f.now.Add(-time.Second) }, ErrCollateralExpired},
		"lists of the future":    {func(f *intel) { f.crlThis = f.now.Add(time.Hour) }, ErrCollateralExpired},
		"platform revoked":       {func(f *intel) { f.pckRevoked = []*big.Int{big.NewInt(1), big.NewInt(3)} }, ErrRevoked},
		"platform CA revoked":    {func(f *intel) { f.caRevoked = []*big.Int{big.NewInt(2)} }, ErrRevoked},
		"TCB signing revoked":    {func(f *intel) { f.caRevoked = []*big.Int{big.NewInt(4)} }, ErrRevoked},
		"others revoked":         {func(f *intel) { f.pckRevoked, f.caRevoked = []*big.Int{big.NewInt(9)}, []*big.Int{big.NewInt(9)} }, nil},
		"platform out of date":   {func(f *intel) { level(f.info)["tcbStatus"] = "OutOfDate" }, ErrTCB},
		"hardening needed":       {func(f *intel) { level(f.info)["tcbStatus"] = "SWHardeningNeeded" }, ErrTCB},
		"status revoked":         {func(f *intel) { level(f.info)["tcbStatus"] = "Revoked" }, ErrTCB},
		"QE out of date":         {func(f *intel) { level(f.identity)["tcbStatus"] = "OutOfDate" }, ErrTCB},
		"QE not listed":          {func(f *intel) { level(f.identity)["tcb"] = map[string]any{"isvsvn": 99} }, ErrTCB},
		"PCE below":              {func(f *intel) { level(f.info)["tcb"].(map[string]any)["pcesvn"] = 60000 }, ErrTCB},
		"components missing":     {func(f *intel) { level(f.info)["tcb"].(map[string]any)["tdxtcbcomponents"] = []any{} }, ErrTCB},
		"microcode below": {func(f *intel) {
			level(f.info)["tcb"].(map[string]any)["sgxtcbcomponents"].([]any)[3] = map[string]any{"svn": 255}
		}, ErrTCB},
		"module below": {func(f *intel) {
			level(f.info)["tcb"].(map[string]any)["tdxtcbcomponents"].([]any)[0] = map[string]any{"svn": 255}
		}, ErrTCB},
		"of another platform":  {func(f *intel) { f.info["fmspc"] = "000000000000" }, errCollateral},
		"of another PCE":       {func(f *intel) { f.info["pceId"] = "0001" }, errCollateral},
		"SGX and not TDX":      {func(f *intel) { f.info["id"] = "SGX" }, errCollateral},
		"signed by the PCK CA": {func(f *intel) { f.signing.key = f.ca.key }, errCollateral},
		"QE of another signer": {func(f *intel) {
			f.identity["mrsigner"] = f.info["tdxModule"].(map[string]any)["mrsigner"].(string)[:64]
		}, errCollateral},
	} {
		f := newIntel(t)
		c.change(f)
		for _, own := range []bool{false, true} {
			value, o := encoded(t, f.quote(t, make([]byte, 64)), f.collateral(t)), Options{}
			if own {
				value, o = encoded(t, f.quote(t, make([]byte, 64)), nil), Options{Collateral: []*Collateral{f.collateral(t)}}
			}
			_, err := f.extract(t, extractor(t, o), value)
			if c.cause == nil {
				require.NoError(t, err, name)
				continue
			}
			if own && name == "of another platform" {
				c.cause = ErrNoCollateral
			}
			require.Error(t, err, name)
			step(t, err, evidence.ErrChain, "collateral", c.cause)
		}
	}
}

// TestModuleLevels: a TDX module with levels of its own has to be up to date, and so
// has the platform under it.
func TestModuleLevels(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		platform, module, id string
		want                 error
	}{
		"both":             {"UpToDate", "UpToDate", "TDX_01", nil},
		"module behind":    {"UpToDate", "OutOfDate", "TDX_01", ErrTCB},
		"platform behind":  {"OutOfDate", "UpToDate", "TDX_01", ErrTCB},
		"module not known": {"UpToDate", "UpToDate", "TDX_03", ErrTCB},
	} {
		f := newIntel(t)
		f.change = func(q *pb.QuoteV4) { q.TdQuoteBody.TeeTcbSvn = append([]byte{5, 1}, q.TdQuoteBody.TeeTcbSvn[2:]...) }
		f.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = c.platform
		f.info["tdxModuleIdentities"] = []any{map[string]any{
			"id": c.id, "mrsigner": "00", "attributes": "00", "attributesMask": "00",
			"tcbLevels": []any{
				map[string]any{"tcb": map[string]any{"isvsvn": 6}, "tcbStatus": "UpToDate"},
				map[string]any{"tcb": map[string]any{"isvsvn": 5}, "tcbStatus": c.module},
			},
		}}
		_, err := f.extract(t, extractor(t, Options{}), encoded(t, f.quote(t, make([]byte, 64)), f.collateral(t)))
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		step(t, err, evidence.ErrChain, "collateral", c.want)
	}
}
