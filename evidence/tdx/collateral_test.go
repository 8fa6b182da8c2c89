package tdx

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/pcs"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/google/go-tdx-guest/verify"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/fetch"
)

// raw hands collateral to the library as it is.
type raw struct {
	*shelf
	body []byte // of the TCB info
}

func (r *raw) Get(address string) (map[string][]string, []byte, error) {
	header, body, err := r.shelf.Get(address)
	if address == pcs.TcbInfoURL(r.p.platform.FMSPC) {
		body = r.body
	}
	return header, body, err
}

// libraryAccepts tells whether go-tdx-guest alone takes a quote with a TCB info.
func libraryAccepts(t *testing.T, f *intel, quote, tcbInfo []byte) bool {
	t.Helper()
	c, err := f.collateral(t).parse()
	require.NoError(t, err)
	p, err := parse(quote)
	require.NoError(t, err)
	now := &verify.TimeSet{PckCertChain: f.now, TcbInfo: f.now, QeIdentity: f.now, PckCrl: f.now, RootCaCrl: f.now}
	return verify.RawTdxQuote(quote, &verify.Options{
		Now: now, TrustedRoots: f.roots(), GetCollateral: true, CheckRevocations: true, Getter: &raw{&shelf{c, p}, tcbInfo},
	}) == nil
}

// TestUnsignedMembers: a TCB info of Intel's that calls a platform out of date, with
// a second one beside it under a key that differs in case, fools the library.
func TestUnsignedMembers(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	upToDate, err := json.Marshal(f.info)
	require.NoError(t, err)
	f.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "OutOfDate"
	c := f.collateral(t)
	quote := f.quote(t, make([]byte, 64))
	require.False(t, libraryAccepts(t, f, quote, c.TCBInfo))
	forged := bytes.Replace(c.TCBInfo, []byte(`,"signature"`), append(append([]byte(`,"TCBINFO":`), upToDate...), `,"signature"`...), 1)
	require.True(t, libraryAccepts(t, f, quote, forged), "the library was mended: signedJSON can be simpler")
	c.TCBInfo = forged
	_, err = f.extract(t, extractor(t, Options{}), encoded(t, quote, c))
	step(t, err, evidence.ErrFormat, "collateral", ErrCollateral)
}

// TestPlatformLevel: the library looks at the level of the TDX module alone where
// there is one.
func TestPlatformLevel(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	f.change = func(q *pb.QuoteV4) { q.TdQuoteBody.TeeTcbSvn = append([]byte{5, 1}, q.TdQuoteBody.TeeTcbSvn[2:]...) }
	f.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "OutOfDate"
	f.info["tdxModuleIdentities"] = []any{map[string]any{"id": "TDX_01", "tcbLevels": []any{
		map[string]any{"tcb": map[string]any{"isvsvn": 5}, "tcbStatus": "UpToDate"},
	}}}
	quote, c := f.quote(t, make([]byte, 64)), f.collateral(t)
	require.True(t, libraryAccepts(t, f, quote, c.TCBInfo), "the library was mended")
	_, err := f.extract(t, extractor(t, Options{}), encoded(t, quote, c))
	step(t, err, evidence.ErrChain, "collateral", ErrTCB)
}

func TestSignedJSON(t *testing.T) {
	t.Parallel()
	signature := `"` + strings.Repeat("0a", 64) + `"`
	for name, c := range map[string]struct {
		body string
		good bool
	}{
		"good":              {`{"x":{"a":1},"signature":` + signature + `}`, true},
		"other order":       {`{"signature":` + signature + `,"x":{"a":1}}`, true},
		"white space":       {" {\n\"x\" : {\"a\":1} , \"signature\" : " + signature + " } ", true},
		"empty":             {``, false},
		"array":             {`[1]`, false},
		"cut":               {`{"x":{"a":1},"signature":` + signature, false},
		"cut in a value":    {`{"x":{"a":`, false},
		"twice":             {`{"x":{"a":1},"x":{"a":2},"signature":` + signature + `}`, false},
		"other case":        {`{"x":{"a":1},"X":{"a":2},"signature":` + signature + `}`, false},
		"signature twice":   {`{"x":{"a":1},"signature":` + signature + `,"signature":` + signature + `}`, false},
		"unknown":           {`{"x":{"a":1},"y":1,"signature":` + signature + `}`, false},
		"no signature":      {`{"x":{"a":1}}`, false},
		"no value":          {`{"signature":` + signature + `}`, false},
		"short signature":   {`{"x":{"a":1},"signature":"0a"}`, false},
		"signature no hex":  {`{"x":{"a":1},"signature":"` + strings.Repeat("zz", 64) + `"}`, false},
		"signature no text": {`{"x":{"a":1},"signature":1}`, false},
		"wrong type":        {`{"x":{"a":"b"},"signature":` + signature + `}`, false},
		"something follows": {`{"x":{"a":1},"signature":` + signature + `}{}`, false},
		"deep":              {`{"x":` + strings.Repeat("[", maxPart), false},
	} {
		var into struct{ A int }
		out, err := signedJSON([]byte(c.body), "x", &into)
		if !c.good {
			require.Error(t, err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, `{"x":{"a":1},"signature":`+signature+`}`, string(out), name)
		require.Equal(t, 1, into.A)
	}
}

// TestParse: every part of collateral is needed and bounded. The library's own
// samples are read, although they do not belong to its quotes.
func TestParse(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	for name, change := range map[string]func(*Collateral){
		"no TCB info": func(c *Collateral) { c.TCBInfo = nil },
		"no root":     func(c *Collateral) { c.Root = nil },
		"large":       func(c *Collateral) { c.QEIdentity = make([]byte, maxPart+1) },
		"TCB info":    func(c *Collateral) { c.TCBInfo = []byte("x") },
		"QE identity": func(c *Collateral) { c.QEIdentity = []byte("{}") },
		"list":        func(c *Collateral) { c.PCKCRL = []byte("x") },
		"root's list": func(c *Collateral) { c.RootCRL = []byte("x") },
		"certificate": func(c *Collateral) { c.TCBSigning = []byte("x") },
		"root":        func(c *Collateral) { c.Root = []byte("x") },
		"hex of a digest": func(c *Collateral) {
			c.QEIdentity = bytes.Replace(c.QEIdentity, []byte(`"mrsigner":"dc`), []byte(`"mrsigner":"zz`), 1)
		},
	} {
		c := f.collateral(t)
		change(c)
		_, err := c.parse()
		require.True(t, errors.Is(err, ErrSize) || errors.Is(err, ErrCollateral), "%s: %v", name, err)
		_, err = New(Options{Collateral: []*Collateral{c}})
		require.ErrorIs(t, err, ErrOptions, name)
		_, err = NewAttester(AttesterOptions{Client: f.client(t), Collateral: c})
		require.ErrorIs(t, err, ErrOptions, name)
	}
	_, err := New(Options{Collateral: []*Collateral{nil}})
	require.ErrorContains(t, err, "Collateral[0] is nil")
	_, err = New(Options{Collateral: []*Collateral{f.collateral(t), f.collateral(t)}})
	require.ErrorContains(t, err, "Collateral[1]: there is other collateral for the same platform")
	sample := *f.collateral(t)
	sample.QEIdentity, sample.PCKCRL, sample.RootCRL = testdata.QeIdentityBody, testdata.PckCrlBody, testdata.RootCrlBody
	for _, body := range [][]byte{testdata.TcbInfoBody, testdata.TcbInfoBodyV5} {
		sample.TCBInfo = body
		_, err = sample.parse()
		require.NoError(t, err)
	}
}

func TestLoadCollateral(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	want, dir := f.collateral(t), t.TempDir()
	block := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	write := func(name string, b []byte) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600)) }
	write("tcb-info.json", want.TCBInfo)
	write("qe-identity.json", want.QEIdentity)
	write("pck.crl", want.PCKCRL)
	_, err := LoadCollateral(dir)
	require.ErrorIs(t, err, ErrCollateral)
	require.ErrorIs(t, err, os.ErrNotExist)
	write("root.crl", want.RootCRL)
	write("tcb-signing.pem", append(block(want.TCBSigning), block(want.Root)...))
	got, err := LoadCollateral(dir)
	require.NoError(t, err)
	require.Equal(t, want, got)
	write("tcb-signing.pem", block(want.TCBSigning))
	_, err = LoadCollateral(dir)
	require.ErrorIs(t, err, ErrCollateral)
	write("tcb-signing.pem", append(block(want.TCBSigning), block([]byte("x"))...))
	_, err = LoadCollateral(dir)
	require.ErrorIs(t, err, ErrCollateral)
	write("pck.crl", make([]byte, maxPart+1))
	_, err = LoadCollateral(dir)
	require.ErrorIs(t, err, ErrCollateral)
}

// service answers for Intel.
type service map[string]*http.Response

func (s service) RoundTrip(r *http.Request) (*http.Response, error) {
	a, ok := s[r.URL.String()]
	if !ok {
		return nil, errors.New("Intel has nothing there")
	}
	return a, nil
}

// TestFetch: with the option that says so, Intel is asked for collateral; what it
// does not answer leaves no verdict.
func TestFetch(t *testing.T) {
	t.Parallel()
	f := newIntel(t)
	quote := encoded(t, f.quote(t, make([]byte, 64)), nil)
	tcbInfo, identity, list := pcs.TcbInfoURL("50806f000000"), pcs.QeIdentityURL(), pcs.PckCrlURL("platform")
	for name, c := range map[string]struct {
		change func(service)
		good   bool
	}{
		"good":            {func(service) {}, true},
		"no TCB info":     {func(s service) { delete(s, tcbInfo) }, false},
		"no identity":     {func(s service) { delete(s, identity) }, false},
		"no list":         {func(s service) { delete(s, list) }, false},
		"no root's list":  {func(s service) { delete(s, rootCRL) }, false},
		"no issuer chain": {func(s service) { s[tcbInfo].Header = nil }, false},
		"issuer chain":    {func(s service) { s[tcbInfo].Header.Set(pcs.TcbInfoIssuerChainPhrase, "%zz") }, false},
		"bad list":        {func(s service) { s[list].Body = io.NopCloser(strings.NewReader("x")) }, false},
	} {
		have := f.collateral(t)
		parsed, err := have.parse()
		require.NoError(t, err)
		s := service{}
		for address, body := range map[string][]byte{tcbInfo: have.TCBInfo, identity: have.QEIdentity, list: have.PCKCRL, rootCRL: have.RootCRL} {
			s[address] = &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
		}
		s[tcbInfo].Header.Set(pcs.TcbInfoIssuerChainPhrase, parsed.issuerChain)
		c.change(s)
		x := extractor(t, Options{AcceptUnknownTCB: true, FetchFromIntel: fetch.New(fetch.Options{Transport: s})})
		for range 2 { // the second time from the cache
			_, err = x.Extract(context.Background(), MediaType, quote, f.roots(), f.now)
			if c.good {
				require.NoError(t, err, name)
				continue
			}
			var e *evidence.Error
			require.Error(t, err, name)
			require.False(t, errors.As(err, &e), "%s: %v", name, err)
			break
		}
	}
}

// asked is a network that must not be used.
type asked struct{ addresses []string }

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.addresses = append(a.addresses, r.URL.String())
	return nil, errors.New("not this one")
}

// TestFetchForNobody: what is no quote of a platform of the vendor makes nobody ask.
func TestFetchForNobody(t *testing.T) {
	t.Parallel()
	f, foreign := newIntel(t), newIntel(t)
	q := f.quote(t, make([]byte, 64))
	network := new(asked)
	x := extractor(t, Options{FetchFromIntel: fetch.New(fetch.Options{Transport: network})})
	for name, c := range map[string]struct {
		quote []byte
		want  error
	}{
		"foreign platform": {foreign.quote(t, make([]byte, 64)), ErrForeignRoot},
		"changed":          {changed(q, headerSize+136), errSignature},
	} {
		_, err := f.extract(t, x, encoded(t, c.quote, nil))
		require.ErrorIs(t, err, c.want, name)
	}
	require.Empty(t, network.addresses)
	_, err := f.extract(t, x, encoded(t, q, nil))
	require.ErrorIs(t, err, fetch.ErrFetch)
	require.Len(t, network.addresses, 1)
}
