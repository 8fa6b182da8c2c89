package tpm

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/asn1"
	"encoding/binary"
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

// logEvent is one event of a log under construction.
type logEvent struct {
	pcr  uint32
	typ  eventType
	data []byte
}

func (e logEvent) digest() []byte {
	sum := sha256.Sum256(e.data)
	return sum[:]
}

// logOf is a log with the bank of SHA-256, or with another algorithm beside it.
type logOf struct {
	algorithms [][2]uint16 // identifier and size
	events     []logEvent
}

func testLog() logOf {
	return logOf{algorithms: [][2]uint16{{0x0b, 32}}, events: []logEvent{
		{0, evNoAction, []byte(startupLocalitySign + "\x00")},
		{0, 0x8, []byte("firmware 1.0")},
		{4, 0x4, make([]byte, 4)},
		{4, 0x80000003, []byte("boot loader")},
		{0xffffffff, evNoAction, []byte("note")},
		{7, 0x80000001, []byte("SecureBoot")},
	}}
}

func (l logOf) encode() []byte {
	le := binary.LittleEndian
	id := append([]byte(specIDSignature), 0, 0, 0, 0, 0, 2, 0, 2)
	id = le.AppendUint32(id, uint32(len(l.algorithms)))
	for _, a := range l.algorithms {
		id = le.AppendUint16(le.AppendUint16(id, a[0]), a[1])
	}
	id = append(id, 1, 0xaa) // vendor information
	b := append(le.AppendUint32(le.AppendUint32(nil, 0), uint32(evNoAction)), make([]byte, 20)...)
	b = append(le.AppendUint32(b, uint32(len(id))), id...)
	for _, e := range l.events {
		b = le.AppendUint32(le.AppendUint32(b, e.pcr), uint32(e.typ))
		b = le.AppendUint32(b, uint32(len(l.algorithms)))
		for _, a := range l.algorithms {
			b = le.AppendUint16(b, a[0])
			digest := make([]byte, a[1])
			if a[0] == 0x0b {
				copy(digest, e.digest())
			}
			b = append(b, digest...)
		}
		b = append(le.AppendUint32(b, uint32(len(e.data))), e.data...)
	}
	return b
}

// extend has a TPM measure what the log says.
func extend(t testing.TB, tpm *TPM, l logOf) {
	t.Helper()
	for _, e := range l.events {
		if e.typ == evNoAction {
			continue
		}
		_, err := run(t.Context(), tpm, func(s *session) (*tpm2.PCRExtendResponse, error) {
			return tpm2.PCRExtend{
				PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(e.pcr), Auth: tpm2.PasswordAuth(nil)},
				Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: e.digest()}}},
			}.Execute(s)
		})
		require.NoError(t, err)
	}
}

// replayed is the value that PCRs get from a log.
func (l logOf) replayed(pcr uint32, locality byte) []byte {
	value := make([]byte, 32)
	if pcr == 0 {
		value[31] = locality
	}
	for _, e := range l.events {
		if e.pcr == pcr && e.typ != evNoAction {
			sum := sha256.Sum256(append(value, e.digest()...))
			value = sum[:]
		}
	}
	return value
}

func TestEventLog(t *testing.T) {
	t.Parallel()
	sha384 := [2]uint16{0x0c, 48}
	for name, c := range map[string]struct {
		change  func(*forger, *logOf)
		fromLog []int
		want    error
	}{
		"good":        {func(*forger, *logOf) {}, []int{0, 4}, nil},
		"not asked":   {func(f *forger, _ *logOf) { f.pcrs[0] = make([]byte, 32) }, nil, nil},
		"more banks":  {func(_ *forger, l *logOf) { l.algorithms = append(l.algorithms, sha384, [2]uint16{4, 20}) }, []int{0, 4}, nil},
		"locality 3":  {func(f *forger, l *logOf) { l.events[0].data[16] = 3; f.pcrs[0] = l.replayed(0, 3) }, []int{0}, nil},
		"no log":      {func(_ *forger, l *logOf) { l.algorithms = nil }, []int{0}, ErrEventLog},
		"locality":    {func(_ *forger, l *logOf) { l.events[0].data[16] = 3 }, []int{0}, ErrEventLog},
		"other event": {func(_ *forger, l *logOf) { l.events[3].data = []byte("x") }, []int{4}, ErrEventLog},
		"event gone":  {func(_ *forger, l *logOf) { l.events = l.events[:3] }, []int{4}, ErrEventLog},
		"not quoted":  {func(*forger, *logOf) {}, []int{7}, ErrEventLog},
		"PCR 16":      {func(*forger, *logOf) {}, []int{16}, ErrEventLog},
		"PCR -1":      {func(*forger, *logOf) {}, []int{-1}, ErrEventLog},
		"other bank":  {func(_ *forger, l *logOf) { l.algorithms = [][2]uint16{sha384} }, []int{4}, ErrEventLog},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := newForger(t), testLog()
			f.pcrs = [][]byte{l.replayed(0, 0), l.replayed(4, 0)}
			c.change(f, &l)
			if l.algorithms != nil {
				f.log = l.encode()
			}
			f.state(t)
			claims, err := f.extract(t, c.fromLog...)
			if c.want != nil {
				refused(t, err, evidence.ErrSignature, "event log", c.want)
				return
			}
			require.NoError(t, err)
			events := 0
			for _, m := range claims.Measurements {
				if m.Name == "event:sha256:4:EV_SEPARATOR" || m.Name == "event:sha256:0:EV_S_CRTM_VERSION" {
					events++
				}
			}
			require.Equal(t, len(c.fromLog), events)
		})
	}
	require.Equal(t, "0x00001234", eventType(0x1234).String())
}

// TestEventLogFormat: one change each in the log itself.
func TestEventLogFormat(t *testing.T) {
	t.Parallel()
	good := testLog()
	_, err := parseEventLog(good.encode())
	require.NoError(t, err)
	for i := 1; i < len(good.encode()); i++ {
		l, err := parseEventLog(good.encode()[:i])
		if err == nil { // between two events
			require.Less(t, len(l.events), 4)
		}
	}
	many := good
	for range maxEvents {
		many.events = append(many.events, logEvent{typ: 4})
	}
	for name, l := range map[string]logOf{
		"no algorithm":    {},
		"nine algorithms": {algorithms: [][2]uint16{{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {8, 1}, {9, 1}}},
		"algorithm twice": {algorithms: [][2]uint16{{11, 32}, {11, 32}}},
		"wrong size":      {algorithms: [][2]uint16{{11, 20}}},
		"size 0":          {algorithms: [][2]uint16{{5, 0}}},
		"PCR 24":          {algorithms: good.algorithms, events: []logEvent{{24, 4, nil}}},
		"too many events": many,
	} {
		_, err := parseEventLog(l.encode())
		require.Error(t, err, name)
	}
	for name, at := range map[string]int{"PCR": 0, "type": 4, "signature": 32, "vendor size": 32 + 24 + 4 + 4} {
		changed := good.encode()
		changed[at]++
		_, err := parseEventLog(changed)
		require.ErrorIs(t, err, errLog, name)
	}
	events := len(logOf{algorithms: good.algorithms}.encode())
	for name, at := range map[string]int{"digest count": 8, "digest algorithm": 12} {
		changed := good.encode()
		changed[events+at] = 9
		_, err := parseEventLog(changed)
		require.ErrorIs(t, err, errLog, name)
	}
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
