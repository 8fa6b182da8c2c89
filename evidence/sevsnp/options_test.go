package sevsnp

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/stretchr/testify/require"
)

// TestOptions: nothing that is left out switches a check off.
func TestOptions(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	good := Options{Policy: a.policy(), AcceptRevoked: true}
	vcek := *a.signer.Vcek
	vcek.Extensions = nil
	list := a.list(t, a.signer.Ark, a.signer.Keys.Ark, big.NewInt(1))
	critical, entry := *list, *list
	critical.Extensions = append(critical.Extensions[:1:1], a.signer.Ark.Extensions[0])
	critical.Extensions[1].Critical = true
	entry.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), Extensions: critical.Extensions[1:]}}
	for want, change := range map[string]func(*Options){
		"set either Policy.MinTCB or":            func(o *Options) { o.Policy.MinTCB = nil },
		"or Policy.AcceptVulnerableFirmware":     func(o *Options) { o.Policy.AcceptVulnerableFirmware = true },
		`MinTCB names "Turin"`:                   func(o *Options) { o.Policy.MinTCB = map[string]TCB{"Turin": 1} },
		"VMPL is not 0 to 3":                     func(o *Options) { o.Policy.VMPL = 4 },
		`"host data" is empty`:                   func(o *Options) { o.Policy.HostData = [][]byte{} },
		`"host data" has a value of 0 bytes`:     func(o *Options) { o.Policy.HostData = [][]byte{nil} },
		`"id key" has a value of 47 bytes`:       func(o *Options) { o.Policy.IDKeyDigests = [][]byte{make([]byte, 47)} },
		"RevocationLists or AcceptRevoked":       func(o *Options) { o.AcceptRevoked = false },
		"set either RevocationLists":             func(o *Options) { o.RevocationLists = []*x509.RevocationList{list} },
		"RevocationLists[0] is nil":              func(o *Options) { o.AcceptRevoked, o.RevocationLists = false, []*x509.RevocationList{nil} },
		"RevocationLists[0] has the critical":    func(o *Options) { o.AcceptRevoked, o.RevocationLists = false, []*x509.RevocationList{&critical} },
		"has an entry with the critical":         func(o *Options) { o.AcceptRevoked, o.RevocationLists = false, []*x509.RevocationList{&entry} },
		"Certificates[0] is nil":                 func(o *Options) { o.Certificates = []*x509.Certificate{nil} },
		"Certificates[0] is nil, or a VCEK or V": func(o *Options) { o.Certificates = []*x509.Certificate{&vcek} },
	} {
		o := good
		o.Policy = o.Policy.clone()
		change(&o)
		x, err := New(o)
		require.Nil(t, x, want)
		require.ErrorIs(t, err, ErrOptions, want)
		require.ErrorContains(t, err, want)
	}
	_, err := New(Options{})
	require.ErrorContains(t, err, "MinTCB")
	require.ErrorContains(t, err, "RevocationLists")
	// The policy is copied.
	p := a.policy()
	p.HostData = [][]byte{bytes.Clone(fakeHost)}
	x := extractor(t, p)
	p.HostData[0][0] ^= 1
	p.MinTCB["Milan"] = ^TCB(0)
	c, err := x.Extract(context.Background(), MediaType, encoded(t, a.report(t, make([]byte, 64)), a.chain()...), a.roots(), a.now)
	require.NoError(t, err)
	require.Empty(t, c.Findings)
	require.Equal(t, "bootloader 3, tee 1, snp 8, microcode 115", fakeTCB.String())
}

// TestGuard: a panic of the library is an error.
func TestGuard(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, guard(func() error { panic("secret") }), ErrLibrary)
	// What the library's own table parser does with four bytes too many.
	table := make([]byte, 2*entrySize)
	table[0] = 1
	binary.LittleEndian.PutUint32(table[16:], 0xffffffff)
	binary.LittleEndian.PutUint32(table[20:], 0x10)
	require.ErrorIs(t, guard(func() error { return new(abi.CertTable).Unmarshal(table) }), ErrLibrary)
	_, err := parseTable(table)
	require.ErrorIs(t, err, ErrCertificates)
	// A report that is shorter than the library thinks, past the size checks.
	_, err = parseReport(testdata.AttestationBytes[:0x40])
	require.Error(t, err)
	require.Error(t, noNetworkError())
}

func noNetworkError() error { _, err := noNetwork{}.Get("https://kdsintf.amd.com"); return err }
