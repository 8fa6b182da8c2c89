package tpm

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/asn1"
	"encoding/pem"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// Evidence that a device of swtpm once gave, with an event log, and the root of its
// CA: it keeps the format from changing unnoticed, and seeds fuzzing where there is
// no TPM. `go test -run Golden -update` makes another.
var (
	//go:embed testdata/evidence.cbor
	goldenEvidence []byte
	//go:embed testdata/root.pem
	goldenRoot []byte

	update = flag.Bool("update", false, "make new golden Evidence with swtpm")
)

func extractGolden(t testing.TB, value []byte, fromLog ...int) (*evidence.Claims, error) {
	t.Helper()
	block, _ := pem.Decode(goldenRoot)
	require.NotNil(t, block)
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return Extractor{FromLog: fromLog}.Extract(context.Background(), MediaType, value, roots, root.NotBefore.Add(time.Hour))
}

func TestGolden(t *testing.T) {
	if *update {
		updateGolden(t)
		return
	}
	t.Parallel()
	c, err := extractGolden(t, goldenEvidence, 4)
	require.NoError(t, err)
	require.Equal(t, testInstance, c.Instance)
	require.Len(t, c.Measurements, len(testPCRs.PCRs)-1+2)
	require.Equal(t, "event:sha256:4:EV_EFI_BOOT_SERVICES_APPLICATION", c.Measurements[len(c.Measurements)-1].Name)
	require.Len(t, c.Binder, 32)
}

func updateGolden(t *testing.T) {
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	log := testLog()
	extend(t, d.tpm, log)
	d.attester.eventLog = func(context.Context) ([]byte, error) { return log.encode(), nil }
	_, value := d.attest(t)
	require.NoError(t, os.WriteFile("testdata/evidence.cbor", value, 0o644))
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.ca.cert.Raw})
	require.NoError(t, os.WriteFile("testdata/root.pem", root, 0o644))
}

// TestEnvelope: one form of the CBOR, and no other.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	good := f.evidence(t)
	r, err := decodeReport(good)
	require.NoError(t, err)
	require.Equal(t, good, marshal(t, r))
	item := func(change func(map[int]any)) []byte {
		m := map[int]any{1: r.AK, 2: r.Parent, 3: r.Chain, 4: r.Key, 5: r.Certify, 6: r.CertifySignature, 7: r.Quote, 8: r.QuoteSignature, 9: r.PCRs}
		change(m)
		return marshal(t, m)
	}
	require.Equal(t, good, item(func(map[int]any) {}))
	for name, b := range map[string][]byte{
		"empty":         {},
		"too large":     make([]byte, maxEvidence+1),
		"array":         {0x80},
		"tag":           append([]byte{0xd8, 0x3d}, good...),
		"unknown key":   item(func(m map[int]any) { m[11] = 1 }),
		"text":          item(func(m map[int]any) { m[1] = string(r.AK) }),
		"null":          item(func(m map[int]any) { m[10] = nil }),
		"empty log":     item(func(m map[int]any) { m[10] = []byte{} }),
		"key missing":   item(func(m map[int]any) { delete(m, 4) }),
		"chain of text": item(func(m map[int]any) { m[3] = []any{"x"} }),
		"25 PCRs":       item(func(m map[int]any) { m[9] = make([][]byte, 25) }),
	} {
		_, err := parse(b)
		var e *evidence.Error
		require.ErrorAs(t, err, &e, name)
		require.ErrorIs(t, err, evidence.ErrFormat, name)
		require.NotContains(t, err.Error(), "the decoder failed", name)
	}
}

func TestPublicAreas(t *testing.T) {
	t.Parallel()
	good := softArea(t, softKey(t).Public(), ECDSAP256, false)
	for name, change := range map[string]func(b []byte){
		"type":               func(b []byte) { b[1] = 0x08 },
		"name algorithm":     func(b []byte) { b[3] = 0x04 },
		"reserved attribute": func(b []byte) { b[7] |= 1 },
		"policy":             func(b []byte) { b[9] = 1 },
		"symmetric":          func(b []byte) { b[11] = 6 },
		"scheme":             func(b []byte) { b[13] = 0x1b },
		"scheme of RSA":      func(b []byte) { b[13] = 0x14 },
		"hash of scheme":     func(b []byte) { b[15] = 0x04 },
		"curve":              func(b []byte) { b[17] = 5 },
		"KDF":                func(b []byte) { b[19] = 7 },
		"not on the curve":   func(b []byte) { b[len(b)-1] ^= 1 },
	} {
		b := tpm2.Marshal(good)
		_, err := parsePublic(b)
		require.NoError(t, err)
		change(b)
		_, err = parsePublic(b)
		require.ErrorIs(t, err, errPublic, name)
	}
	rsaArea := func(bits uint16, exponent uint32, n []byte) []byte {
		area, err := keyTemplate(RSA2048, false)
		require.NoError(t, err)
		parms, err := area.Parameters.RSADetail()
		require.NoError(t, err)
		parms.KeyBits, parms.Exponent = tpm2.TPMKeyBits(bits), exponent
		area.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, parms)
		area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: n})
		return tpm2.Marshal(area)
	}
	modulus := func(bits int) []byte {
		n := make([]byte, bits/8)
		n[0], n[len(n)-1] = 0x80, 1
		return n
	}
	even, low := modulus(2048), modulus(2048)
	even[255], low[0] = 2, 0x7f
	for name, c := range map[string]struct {
		b  []byte
		ok bool
	}{
		"2048":           {rsaArea(2048, 0, modulus(2048)), true},
		"3072":           {rsaArea(3072, 65537, modulus(3072)), true},
		"4096":           {rsaArea(4096, 0, modulus(4096)), true},
		"1024":           {rsaArea(1024, 0, modulus(1024)), false},
		"8192":           {rsaArea(8192, 0, modulus(8192)), false},
		"exponent 3":     {rsaArea(2048, 3, modulus(2048)), false},
		"another length": {rsaArea(2048, 0, modulus(3072)), false},
		"even":           {rsaArea(2048, 0, even), false},
		"2047 bits":      {rsaArea(2048, 0, low), false},
	} {
		_, err := parsePublic(c.b)
		require.Equal(t, c.ok, err == nil, name)
	}
}

func TestDeviceNames(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	rdn, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: oidManufacturer, Value: "id:00001014"}}, {{Type: oidModel, Value: "model"}}, {{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 3}, Value: "id:1"}},
	})
	require.NoError(t, err)
	san := func(names ...asn1.RawValue) []byte {
		b, err := asn1.Marshal(names)
		require.NoError(t, err)
		return b
	}
	dns := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("a")}
	dir := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: rdn}
	reissue(t, f, f.signer, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: OIDSubjectAltName, Value: san(dns, dir)}}
	})
	c, err := f.extract(t)
	require.NoError(t, err)
	require.Equal(t, "id:00001014", string(c.Vendor))
	require.Equal(t, "model", string(c.HardwareModel))
	require.Nil(t, signerName(nil, nil))
	_, known := hashID(crypto.SHA1)
	require.False(t, known)
}
