package simulated

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

func TestDeviceOptions(t *testing.T) {
	t.Parallel()
	vendor, err := NewVendor("test", time.Now())
	require.NoError(t, err)
	measured := func(n int) (out []evidence.Measurement) {
		for i := range n {
			out = append(out, evidence.Measurement{Name: fmt.Sprint(i), Algorithm: "sha-256", Digest: testDigest})
		}
		return out
	}
	for name, c := range map[string]struct {
		options DeviceOptions
		want    string // "": good
	}{
		"nothing":              {DeviceOptions{}, ""},
		"EUI-48":               {DeviceOptions{Instance: []byte{2, 1, 2, 3, 4, 5, 6}}, ""},
		"IMEI":                 {DeviceOptions{Instance: append([]byte{3}, make([]byte, 14)...)}, ""},
		"empty instance":       {DeviceOptions{Instance: []byte{}}, "ueid is not"},
		"unknown type":         {DeviceOptions{Instance: make([]byte, 17)}, "ueid is not"},
		"model of 32":          {DeviceOptions{HardwareModel: make([]byte, 32)}, ""},
		"model of 33":          {DeviceOptions{HardwareModel: make([]byte, 33)}, "hwmodel is not"},
		"version without name": {DeviceOptions{SoftwareVersion: "1"}, "swname or swversion"},
		"name of 256":          {DeviceOptions{SoftwareName: strings.Repeat("n", 256)}, ""},
		"name of 257":          {DeviceOptions{SoftwareName: strings.Repeat("n", 257)}, "swname or swversion"},
		"fully disabled":       {DeviceOptions{Debug: evidence.DebugDisabledFullyAndPermanently}, ""},
		"unknown debug":        {DeviceOptions{Debug: 6}, "dbgstat is not"},
		"64 measurements":      {DeviceOptions{Measurements: measured(64)}, ""},
		"65 measurements":      {DeviceOptions{Measurements: measured(65)}, "65 measurements, at most 64 fit"},
		"same name twice":      {DeviceOptions{Measurements: append(measured(1), measured(1)...)}, "two measured components"},
		"unknown algorithm":    {DeviceOptions{Measurements: []evidence.Measurement{{Name: "a", Algorithm: "md5", Digest: testDigest}}}, `measurement "a": unknown algorithm "md5"`},
		"other length":         {DeviceOptions{Measurements: []evidence.Measurement{{Name: "a", Algorithm: "sha-384", Digest: testDigest}}}, "a digest is of"},
	} {
		d, err := vendor.NewDevice(c.options)
		if c.want != "" {
			require.ErrorIs(t, err, ErrOptions, name)
			require.ErrorContains(t, err, c.want, name)
			continue
		}
		require.NoError(t, err, name)
		key, err := d.GenerateKey(elliptic.P256())
		require.NoError(t, err)
		_, token, err := attest(identity(t, key), NewAttester(d))
		require.NoError(t, err, name)
		got, err := (&fixture{vendor: vendor}).extract(token)
		require.NoError(t, err, name)
		require.Equal(t, c.options.Measurements, got.Measurements)
		require.Equal(t, c.options.Debug, got.Debug)
	}
}

func TestInstance(t *testing.T) {
	t.Parallel()
	vendor, err := NewVendor("test", time.Now())
	require.NoError(t, err)
	a, err := vendor.NewDevice(DeviceOptions{})
	require.NoError(t, err)
	b, err := vendor.NewDevice(DeviceOptions{})
	require.NoError(t, err)
	require.Len(t, a.Instance(), 17)
	require.Equal(t, byte(1), a.Instance()[0])
	require.NotEqual(t, a.Instance(), b.Instance())

	given := append([]byte{1}, make([]byte, 16)...)
	c, err := vendor.NewDevice(DeviceOptions{Instance: given})
	require.NoError(t, err)
	given[5] = 9
	c.Instance()[6] = 9
	require.Equal(t, append([]byte{1}, make([]byte, 16)...), c.Instance())
}

func TestVendorPEM(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text, err := f.vendor.MarshalPEM()
	require.NoError(t, err)
	require.Contains(t, string(text), "a test key: it protects nothing")
	require.NotContains(t, string(text), "PRIVATE KEY")

	again, err := ParseVendor(text)
	require.NoError(t, err)
	require.True(t, again.Root().Equal(f.vendor.Root()))
	sum := sha256.Sum256(f.vendor.Root().RawSubjectPublicKeyInfo)
	require.Equal(t, sum[:16], again.OEMID())
	_, err = (&fixture{vendor: again}).extract(f.token)
	require.NoError(t, err)

	d, err := again.NewDevice(testOptions())
	require.NoError(t, err)
	key, err := d.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	_, token, err := attest(identity(t, key), NewAttester(d))
	require.NoError(t, err)
	_, err = f.extract(token)
	require.NoError(t, err, "a device of the vendor that was read back")
}

func TestParseVendorErrors(t *testing.T) {
	t.Parallel()
	a, err := NewVendor("a", time.Now())
	require.NoError(t, err)
	b, err := NewVendor("b", time.Now())
	require.NoError(t, err)
	blocks := func(v *Vendor) [][]byte {
		text, err := v.MarshalPEM()
		require.NoError(t, err)
		var out [][]byte
		for {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				return out
			}
			out = append(out, pem.EncodeToMemory(block))
		}
	}
	x, y := blocks(a), blocks(b)
	_, ed, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	edKey, err := x509.MarshalPKCS8PrivateKey(ed)
	require.NoError(t, err)
	bad := func(typ string) []byte { return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: []byte{1}}) }
	for name, c := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"nothing":             {nil, "no CERTIFICATE where one belongs"},
		"key first":           {[][]byte{x[2]}, "no CERTIFICATE where one belongs"},
		"key missing":         {[][]byte{x[0], x[1]}, "no EXPAT SIMULATED TEE TEST KEY where one belongs"},
		"root unreadable":     {[][]byte{bad("CERTIFICATE"), x[1], x[2]}, "x509"},
		"key unreadable":      {[][]byte{x[0], x[1], bad(pemKey)}, "asn1"},
		"key of another kind": {[][]byte{x[0], x[1], pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: edKey})}, "not an ECDSA key"},
		"more":                {[][]byte{x[0], x[1], x[2], x[2]}, "more follows the key"},
		"other intermediate":  {[][]byte{x[0], y[1], y[2]}, "x509"},
		"other key":           {[][]byte{x[0], x[1], y[2]}, "the key is not the CA's"},
	} {
		_, err := ParseVendor(bytes.Join(c.parts, nil))
		require.ErrorIs(t, err, ErrVendor, name)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err = ParseVendor(bytes.Join(x, nil))
	require.NoError(t, err)
}
