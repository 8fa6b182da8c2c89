package sevsnp

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"testing"
	"time"

	fakeamd "github.com/google/go-sev-guest/testing"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// changed is a copy with one bit of byte i turned.
func changed(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x10
	return b
}

// TestRefused: everything that makes Evidence no Evidence has an error of its own.
func TestRefused(t *testing.T) {
	t.Parallel()
	a, foreign := newAMD(t), newAMD(t, func(b *fakeamd.AmdSignerBuilder) {
		b.ArkCustom = fakeamd.CertOverride{SerialNumber: big.NewInt(77)}
	})
	report := a.report(t, make([]byte, 64))
	chain := a.chain()
	withPEM := append(bytes.Clone(chain[0]), "-----BEGIN CERTIFICATE-----"...)
	for name, c := range map[string]struct {
		value  []byte
		reason error
		step   string
		cause  error
	}{
		"empty":                  {nil, evidence.ErrFormat, "size", ErrSize},
		"oversized":              {make([]byte, maxMessage+1), evidence.ErrFormat, "size", ErrSize},
		"no CBOR":                {make([]byte, maxMessage), evidence.ErrFormat, "message", nil},
		"truncated":              {encoded(t, report, chain...)[:1000], evidence.ErrFormat, "message", nil},
		"trailing":               {append(encoded(t, report, chain...), 0), evidence.ErrFormat, "message", nil},
		"null for a report":      {[]byte{0xa1, 1, 0xf6}, evidence.ErrFormat, "message", nil},
		"report short":           {encoded(t, report[:reportSize-1], chain...), evidence.ErrFormat, "report", ErrSize},
		"report long":            {encoded(t, append(bytes.Clone(report), 0), chain...), evidence.ErrFormat, "report", ErrSize},
		"five certificates":      {encoded(t, report, chain[0], chain[1], chain[2], chain[2], chain[2]), evidence.ErrFormat, "certificates", ErrSize},
		"a large certificate":    {encoded(t, report, make([]byte, maxCertificate+1)), evidence.ErrFormat, "certificates", ErrSize},
		"an empty one":           {encoded(t, report, []byte{}), evidence.ErrFormat, "certificates", ErrSize},
		"no certificate":         {encoded(t, report, []byte("x")), evidence.ErrFormat, "certificates", nil},
		"PEM in DER":             {encoded(t, report, withPEM), evidence.ErrFormat, "certificates", nil},
		"unchanged":              {encoded(t, report, chain...), nil, "", nil},
		"unsigned":               {encoded(t, with(report, put(0x48, 7<<2)), chain...), evidence.ErrFormat, "report", ErrNotSigned},
		"reserved signer":        {encoded(t, with(report, put(0x48, 5<<2)), chain...), evidence.ErrFormat, "report", ErrReport},
		"other algorithm":        {encoded(t, with(report, put(0x34, 2)), chain...), evidence.ErrSignature, "report", nil},
		"another version":        {encoded(t, changed(report, 0), chain...), evidence.ErrFormat, "report", ErrReport},
		"reserved bits":          {encoded(t, changed(report, 0x4d), chain...), evidence.ErrFormat, "report", ErrReport},
		"stepping too large":     {encoded(t, changed(report, 0x18a), chain...), evidence.ErrFormat, "report", ErrReport},
		"signature":              {encoded(t, changed(report, 0x2a0), chain...), evidence.ErrSignature, "report", errSignature},
		"signed part":            {encoded(t, changed(report, 0x90), chain...), evidence.ErrSignature, "report", errSignature},
		"none sent":              {encoded(t, report), evidence.ErrChain, "certificate chain", ErrNoCertificate},
		"no ASK":                 {encoded(t, report, chain[0]), evidence.ErrChain, "certificate chain", ErrForeignRoot},
		"no ARK":                 {encoded(t, report, chain[0], chain[1]), evidence.ErrChain, "certificate chain", ErrForeignRoot},
		"foreign root":           {encoded(t, foreign.report(t, make([]byte, 64)), foreign.chain()...), evidence.ErrChain, "certificate chain", ErrForeignRoot},
		"foreign ARK, same name": {encoded(t, report, chain[0], chain[1], foreign.signer.Ark.Raw), evidence.ErrChain, "certificate chain", ErrForeignRoot},
		"ASK for VCEK":           {encoded(t, report, chain[1], chain[1], chain[2]), evidence.ErrSignature, "report", nil},
		"VLEK for VCEK":          {encoded(t, report, a.signer.Vlek.Raw, a.signer.Asvk.Raw, chain[2]), evidence.ErrSignature, "report", nil},
	} {
		_, err := a.extract(t, c.value)
		if c.reason == nil {
			require.NoError(t, err, name)
			continue
		}
		step(t, err, c.reason, c.step, c.cause)
	}
}

// resigned is a report that the chip signed after it was changed.
func resigned(t testing.TB, a *amd, change func([]byte)) []byte {
	t.Helper()
	a.change = change
	defer func() { a.change = nil }()
	return encoded(t, a.report(t, make([]byte, 64)), a.chain()...)
}

// with is a changed copy.
func with(report []byte, change func([]byte)) []byte {
	report = bytes.Clone(report)
	change(report)
	return report
}

func put(at int, b ...byte) func([]byte) { return func(r []byte) { copy(r[at:], b) } }

// TestSignedButWrong: what the chip signed can be wrong all the same.
func TestSignedButWrong(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	for name, c := range map[string]struct {
		change func([]byte)
		reason error
		step   string
		cause  error
	}{
		"other chip":       {put(0x1a0, 1), evidence.ErrChain, "certificate chain", ErrOtherDevice},
		"other tcb":        {put(0x180, 9), evidence.ErrChain, "certificate chain", ErrOtherDevice},
		"other line":       {put(0x189, 0x11), evidence.ErrChain, "certificate chain", nil},
		"unknown line":     {put(0x188, 0x30), evidence.ErrChain, "certificate chain", nil},
		"hidden chip":      {func(r []byte) { clear(r[0x1a0:0x1e0]) }, nil, "", nil},
		"before version 3": {func(r []byte) { r[0] = 2; clear(r[0x188:0x18b]) }, nil, "", nil},
	} {
		claims, err := a.extract(t, resigned(t, a, c.change))
		if c.reason == nil {
			require.NoError(t, err, name)
			require.Equal(t, fakeChip, claims.Instance, name)
			continue
		}
		step(t, err, c.reason, c.step, c.cause)
	}
}

// TestTimes: certificates have to hold at the time of the check, and a time is
// needed.
func TestTimes(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	x := extractor(t, a.policy())
	value := encoded(t, a.report(t, make([]byte, 64)), a.chain()...)
	for name, now := range map[string]time.Time{
		"expired":       a.signer.Vcek.NotAfter.Add(time.Second),
		"not yet valid": a.signer.Ask.NotBefore.Add(-time.Second),
	} {
		_, err := x.Extract(context.Background(), MediaType, value, a.roots(), now)
		step(t, err, evidence.ErrChain, "certificate chain", ErrExpired)
		require.ErrorContains(t, err, "not valid at this time", name)
	}
	for _, now := range []time.Time{a.signer.Vcek.NotAfter, a.signer.Ask.NotBefore} {
		_, err := x.Extract(context.Background(), MediaType, value, a.roots(), now)
		require.NoError(t, err)
	}
	_, err := x.Extract(context.Background(), MediaType, value, a.roots(), time.Time{})
	step(t, err, evidence.ErrChain, "certificate chain", nil)
	_, err = x.Extract(context.Background(), "text/plain", value, a.roots(), a.now)
	step(t, err, evidence.ErrFormat, "media type", nil)
	_, err = x.Extract(context.Background(), MediaType, value, x509.NewCertPool(), a.now)
	require.ErrorIs(t, err, evidence.ErrRoots)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = x.Extract(ctx, MediaType, value, a.roots(), a.now)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{MediaType}, x.MediaTypes())
}

// TestRevocation: lists that were handed in are obeyed, and have to hold now.
func TestRevocation(t *testing.T) {
	t.Parallel()
	ask := big.NewInt(4711)
	a := newAMD(t, func(b *fakeamd.AmdSignerBuilder) {
		b.AskCustom.SerialNumber = ask
		b.VcekCustom.SerialNumber = big.NewInt(12)
	})
	foreign := newAMD(t, func(b *fakeamd.AmdSignerBuilder) { b.ArkCustom = fakeamd.CertOverride{SerialNumber: big.NewInt(77)} })
	value := encoded(t, a.report(t, make([]byte, 64)), a.chain()...)
	k := a.signer.Keys
	good := a.list(t, a.signer.Ark, k.Ark, big.NewInt(1))
	old, young := *a, *a
	old.now, young.now = a.now.Add(-2*lifetimeCRL), a.now.Add(2*lifetimeCRL)
	forged := *good
	forged.Signature = changed(good.Signature, 0)
	list := func(l ...*x509.RevocationList) []*x509.RevocationList { return l }
	for name, c := range map[string]struct {
		lists []*x509.RevocationList
		cause error
	}{
		"good":              {list(good), nil},
		"good after stale":  {list(old.list(t, a.signer.Ark, k.Ark), good), nil},
		"ASK revoked":       {list(a.list(t, a.signer.Ark, k.Ark, big.NewInt(1), ask)), ErrRevoked},
		"VCEK revoked":      {list(good, a.list(t, a.signer.Ask, k.Ask, big.NewInt(12))), ErrRevoked},
		"VCEK not revoked":  {list(good, a.list(t, a.signer.Ask, k.Ask, big.NewInt(13))), nil},
		"stale":             {list(old.list(t, a.signer.Ark, k.Ark)), ErrRevocationUnknown},
		"of the future":     {list(young.list(t, a.signer.Ark, k.Ark)), ErrRevocationUnknown},
		"ASK's stale":       {list(good, old.list(t, a.signer.Ask, k.Ask)), ErrRevocationUnknown},
		"none of the ARK":   {list(a.list(t, a.signer.Ask, k.Ask)), ErrRevocationUnknown},
		"of another vendor": {list(a.list(t, foreign.signer.Ark, foreign.signer.Keys.Asvk)), ErrRevocationUnknown},
		"forged":            {list(&forged), ErrRevocationUnknown},
	} {
		x, err := New(Options{Policy: a.policy(), RevocationLists: c.lists})
		require.NoError(t, err, name)
		for range 2 { // the second time a signature is remembered
			_, err = x.Extract(context.Background(), MediaType, value, a.roots(), a.now)
			if c.cause == nil {
				require.NoError(t, err, name)
				continue
			}
			step(t, err, evidence.ErrChain, "revocation", c.cause)
		}
	}
}

// TestFindings: each check of the policy has a name, and all that fail are listed.
func TestFindings(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	strict := func(c func(*Policy)) Policy { p := a.policy(); c(&p); return p }
	same := func(*Policy) {}
	policyBit := func(bit int) func([]byte) {
		return func(r []byte) {
			binary.LittleEndian.PutUint64(r[8:], binary.LittleEndian.Uint64(r[8:])|1<<bit)
		}
	}
	other := bytes.Repeat([]byte{0xee}, 64)
	for name, c := range map[string]struct {
		policy Policy
		change func([]byte)
		want   []Check
	}{
		"all good":            {strict(same), nil, nil},
		"tcb below":           {strict(func(p *Policy) { p.MinTCB["Milan"] = NewTCB(3, 1, 8, 116) }), nil, []Check{CheckTCB, CheckLaunchTCB}},
		"one component below": {strict(func(p *Policy) { p.MinTCB["Milan"] = NewTCB(4, 0, 0, 0) }), nil, []Check{CheckTCB, CheckLaunchTCB}},
		"tcb above":           {strict(func(p *Policy) { p.MinTCB["Milan"] = NewTCB(3, 1, 7, 115) }), nil, nil},
		"line not named":      {Policy{MinTCB: map[string]TCB{"Genoa": 0}}, nil, []Check{CheckTCB}},
		"any firmware":        {Policy{AcceptVulnerableFirmware: true}, nil, nil},
		"launched below":      {strict(same), put(0x1f0, 2), []Check{CheckLaunchTCB}},
		"launched above":      {strict(same), put(0x1f0, 4), nil},
		"launched anyhow":     {Policy{AcceptVulnerableFirmware: true}, put(0x1f0, 0), nil},
		"provisional tcb":     {strict(same), put(0x1e0, 2), []Check{CheckProvisional}},
		"provisional build":   {strict(same), put(0x1ec, 20), []Check{CheckProvisional}},
		"provisional allowed": {strict(func(p *Policy) { p.AcceptProvisionalFirmware = true }), put(0x1ec, 20), nil},
		"guest svn":           {strict(func(p *Policy) { p.MinGuestSVN = 8 }), nil, []Check{CheckGuestSVN}},
		"guest svn reached":   {strict(func(p *Policy) { p.MinGuestSVN = 7 }), nil, nil},
		"vmpl":                {strict(same), put(0x30, 2), []Check{CheckVMPL}},
		"vmpl of the host":    {strict(same), put(0x30, 0xff, 0xff, 0xff, 0xff), []Check{CheckVMPL}},
		"vmpl meant":          {strict(func(p *Policy) { p.VMPL = 2 }), put(0x30, 2), nil},
		"smt":                 {strict(same), policyBit(16), []Check{CheckSMT}},
		"smt allowed":         {strict(func(p *Policy) { p.AllowSMT = true }), policyBit(16), nil},
		"migration":           {strict(same), policyBit(18), []Check{CheckMigrationAgent}},
		"migration allowed":   {strict(func(p *Policy) { p.AllowMigrationAgent = true }), policyBit(18), nil},
		"cxl":                 {strict(same), policyBit(21), []Check{CheckCXL}},
		"cxl allowed":         {strict(func(p *Policy) { p.AllowCXL = true }), policyBit(21), nil},
		"many sockets":        {strict(func(p *Policy) { p.RequireSingleSocket = true }), nil, []Check{CheckSingleSocket}},
		"single socket":       {strict(func(p *Policy) { p.RequireSingleSocket = true }), policyBit(20), nil},
		"no hiding":           {strict(func(p *Policy) { p.RequireCiphertextHiding = true }), nil, []Check{CheckCiphertextHiding}},
		"hiding":              {strict(func(p *Policy) { p.RequireCiphertextHiding = true }), policyBit(24), nil},
		"no alias check":      {strict(func(p *Policy) { p.RequireAliasCheck = true }), nil, []Check{CheckAliasCheck}},
		"alias check":         {strict(func(p *Policy) { p.RequireAliasCheck = true }), put(0x40, 1<<5), nil},
		"host data":           {strict(func(p *Policy) { p.HostData = [][]byte{other[:32]} }), nil, []Check{CheckHostData}},
		"host data meant":     {strict(func(p *Policy) { p.HostData = [][]byte{other[:32], fakeHost} }), nil, nil},
		"id key":              {strict(func(p *Policy) { p.IDKeyDigests = [][]byte{other[:48]} }), nil, []Check{CheckIDKey}},
		"id key meant":        {strict(func(p *Policy) { p.IDKeyDigests = [][]byte{fakeIDKey} }), nil, nil},
		"author key":          {strict(func(p *Policy) { p.AuthorKeyDigests = [][]byte{other[:48]} }), put(0x48, 1), []Check{CheckAuthorKey}},
		"author key unused":   {strict(func(p *Policy) { p.AuthorKeyDigests = [][]byte{fakeAuthor} }), nil, []Check{CheckAuthorKey}},
		"author key meant":    {strict(func(p *Policy) { p.AuthorKeyDigests = [][]byte{fakeAuthor} }), put(0x48, 1), nil},
		"family":              {strict(func(p *Policy) { p.FamilyIDs = [][]byte{other[:16]} }), nil, []Check{CheckFamilyID}},
		"family meant":        {strict(func(p *Policy) { p.FamilyIDs = [][]byte{fakeFamily} }), nil, nil},
		"image":               {strict(func(p *Policy) { p.ImageIDs = [][]byte{other[:16]} }), nil, []Check{CheckImageID}},
		"image meant":         {strict(func(p *Policy) { p.ImageIDs = [][]byte{fakeImage} }), nil, nil},
		"several": {strict(func(p *Policy) { p.MinGuestSVN = 9; p.HostData = [][]byte{other[:32]} }), put(0x30, 1),
			[]Check{CheckGuestSVN, CheckVMPL, CheckHostData}},
	} {
		claims, err := extractor(t, c.policy).Extract(context.Background(), MediaType, resigned(t, a, c.change), a.roots(), a.now)
		require.NoError(t, err, name)
		var got []Check
		for _, f := range claims.Findings {
			got = append(got, Check(f.Check))
			require.NotEmpty(t, f.Want)
			require.NotEmpty(t, f.Got)
		}
		require.Equal(t, c.want, got, name)
	}
}

// TestVLEK: a key of the cloud provider signs only where the policy says so, and
// certifies no chip.
func TestVLEK(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	a.change = put(0x48, 1<<2)
	value := encoded(t, a.report(t, make([]byte, 64)), a.signer.Vlek.Raw, a.signer.Asvk.Raw, a.signer.Ark.Raw)
	c, err := a.extract(t, value)
	require.NoError(t, err)
	require.Equal(t, string(CheckSigningKey), c.Findings[0].Check)
	require.Equal(t, fakeChip, c.Instance)
	p := a.policy()
	p.AllowVLEK = true
	c, err = extractor(t, p).Extract(context.Background(), MediaType, value, a.roots(), a.now)
	require.NoError(t, err)
	require.Empty(t, c.Findings)
}

// TestDebug: debugging is stated, for the common policy to judge.
func TestDebug(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	for debug, want := range map[bool]evidence.DebugState{true: evidence.DebugEnabled, false: evidence.DebugDisabledSinceBoot} {
		a.debug = debug
		c, err := a.extract(t, encoded(t, a.report(t, make([]byte, 64)), a.chain()...))
		require.NoError(t, err)
		require.Equal(t, want, c.Debug)
		require.Equal(t, "1.55.21", c.Software[0].Version)
	}
}
