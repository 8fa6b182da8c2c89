package corim_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/verifier/corim"
)

// A CoRIM that the Veraison library made and signed maps to exact values, with every
// algorithm.
func TestVeraison(t *testing.T) {
	t.Parallel()
	p256, p384, p521, ed := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521()), edKey(t)
	for name, c := range map[string]struct {
		alg cose.Algorithm
		key crypto.Signer
	}{
		"ES256": {cose.AlgorithmES256, p256}, "ES384": {cose.AlgorithmES384, p384},
		"ES512": {cose.AlgorithmES512, p521}, "EdDSA": {cose.AlgorithmEdDSA, ed},
	} {
		raw := signed(t, veraison(t), c.alg, c.key)
		o := options(p256.Public(), p384.Public(), p521.Public(), ed.Public())
		o.Names = map[string]string{"1": "bootloader"}
		r, err := corim.Parse(raw, o)
		require.NoError(t, err, name)
		require.Equal(t, map[string][][]byte{
			"bootloader": {digest("boot"), bytes.Repeat([]byte{9}, 48)},
			"rtmr0":      {bytes.Repeat([]byte{7}, 48)},
			"4":          {digest("pcr")},
		}, r.Measurements)
		require.Equal(t, map[string]string{"bootloader": "7"}, r.MinVersions)
		require.Equal(t, [][]byte{append([]byte{1}, digest("device")[:16]...)}, r.Instances)
		require.Equal(t, [][]byte{[]byte("ACME")}, r.Vendors)
		require.Equal(t, [][]byte{[]byte("Milan")}, r.HardwareModels)
		require.True(t, r.DebugOff)
		require.True(t, r.NotAfter.Equal(now.Add(24*time.Hour)), "the signature ends before the CoRIM")
		id := keyID(t, c.key.Public())
		require.Equal(t, corim.Provenance{
			ID: "corim-of-veraison", Tags: []string{"firmware-2026@1"}, Profiles: []string{profile},
			Signer: "ACME signer", KeyID: id,
		}, r.Provenance)
		require.Equal(t, fmt.Sprintf(`CoRIM "corim-of-veraison" (firmware-2026@1), signed by "ACME signer" with key %x`, id), r.Provenance.String())
		require.Contains(t, r.Provenance.LogValue().String(), hex.EncodeToString(id))
		require.Len(t, r.Rules, 1)
		require.Equal(t, `CoRIM "corim-of-veraison": valid`, r.Rules[0].Name)
	}
}

// Unsigned, nobody vouches: only with the option that says so.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	raw, err := veraison(t).ToCBOR()
	require.NoError(t, err)
	_, err = corim.Parse(raw, options(edKey(t).Public()))
	require.ErrorIs(t, err, corim.ErrUnsigned)
	o := options()
	o.AcceptUnsignedFromAnyone = true
	for _, prefix := range [][]byte{{}, {0xd9, 0x01, 0xf5}, {0xd9, 0x01, 0xf4, 0xd9, 0x01, 0xf5}} {
		r, err := corim.Parse(append(prefix, raw...), o)
		require.NoError(t, err)
		require.Equal(t, [][]byte{digest("boot"), bytes.Repeat([]byte{9}, 48)}, r.Measurements["1"])
		require.Nil(t, r.Provenance.KeyID)
		require.Equal(t, `CoRIM "corim-of-veraison" (firmware-2026@1), unsigned`, r.Provenance.String())
		require.True(t, r.NotAfter.Equal(now.Add(48*time.Hour)))
	}
	_, err = corim.Parse(newDraft().sign(t, cose.AlgorithmEdDSA, edKey(t)), o)
	require.ErrorIs(t, err, corim.ErrSigner, "a signature that nobody checks")
	_, err = corim.Parse(nil, o)
	require.ErrorIs(t, err, corim.ErrFormat)
	_, err = corim.Parse(nil, options(edKey(t).Public()))
	require.ErrorIs(t, err, corim.ErrUnsigned)
}

// The envelope: who signed what, and how. One change each.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	validFor := func(from, to time.Duration) m {
		return m{0: m{0: "signer"}, 1: m{0: at(now.Add(from)), 1: at(now.Add(to))}}
	}
	for name, c := range map[string]struct {
		change func(d *draft)
		want   error
	}{
		"good":                   {func(*draft) {}, nil},
		"key id":                 {func(d *draft) { d.protected[cose.HeaderLabelKeyID] = []byte("hint") }, nil},
		"other unprotected":      {func(d *draft) { d.unprotected = cose.UnprotectedHeader{int64(99): "x"} }, nil},
		"first second":           {func(d *draft) { d.meta = validFor(0, time.Hour) }, nil},
		"last second":            {func(d *draft) { d.meta = validFor(-time.Hour, 0) }, nil},
		"only an end":            {func(d *draft) { d.meta[1] = m{1: at(now)} }, nil},
		"not yet":                {func(d *draft) { d.meta = validFor(time.Second, time.Hour) }, corim.ErrNotYetValid},
		"expired":                {func(d *draft) { d.meta = validFor(-time.Hour, -time.Second) }, corim.ErrExpired},
		"backwards":              {func(d *draft) { d.meta = validFor(time.Hour, -time.Hour) }, corim.ErrFormat},
		"no end":                 {func(d *draft) { d.meta[1] = m{0: at(now)} }, corim.ErrFormat},
		"time without tag":       {func(d *draft) { d.meta[1] = m{1: now.Unix()} }, corim.ErrFormat},
		"null validity":          {func(d *draft) { d.meta[1] = nil }, corim.ErrFormat},
		"no signer name":         {func(d *draft) { d.meta = m{0: m{0: ""}} }, corim.ErrFormat},
		"unknown meta":           {func(d *draft) { d.meta[2] = 1 }, corim.ErrUnsupported},
		"no meta":                {func(d *draft) { d.protected[int64(8)] = nil }, corim.ErrFormat},
		"meta is text":           {func(d *draft) { d.protected[int64(8)] = "x" }, corim.ErrFormat},
		"CWT claims":             {func(d *draft) { d.protected[int64(15)] = map[any]any{4: 1} }, corim.ErrUnsupported},
		"critical":               {func(d *draft) { d.protected[cose.HeaderLabelCritical] = []any{int64(3)} }, corim.ErrUnsupported},
		"unknown parameter":      {func(d *draft) { d.protected[int64(99)] = 1 }, corim.ErrUnsupported},
		"other content type":     {func(d *draft) { d.protected[cose.HeaderLabelContentType] = "application/cbor" }, corim.ErrFormat},
		"content type is number": {func(d *draft) { d.protected[cose.HeaderLabelContentType] = int64(60) }, corim.ErrFormat},
		"no content type":        {func(d *draft) { d.protected[cose.HeaderLabelContentType] = nil }, corim.ErrFormat},
	} {
		d := newDraft()
		c.change(d)
		raw := d.sign(t, cose.AlgorithmES256, key)
		_, err := corim.Parse(raw, options(other.Public(), key.Public()))
		require.ErrorIs(t, err, c.want, name)
		if c.want != nil {
			var e *corim.Error
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, c.want, e.Reason, name)
			require.NotEmpty(t, e.Step, name)
		}
	}
	raw := newDraft().sign(t, cose.AlgorithmES256, key)
	for _, wrapped := range [][]byte{append([]byte{0xd9, 0x01, 0xf6}, raw...), append([]byte{0xd9, 0x01, 0xf4, 0xd9, 0x01, 0xf6}, raw...)} {
		_, err := corim.Parse(wrapped, options(key.Public()))
		require.NoError(t, err, "the tags of earlier drafts")
	}
	_, err := corim.Parse(raw, options(other.Public()))
	require.ErrorIs(t, err, corim.ErrSignature, "another key")
	_, err = corim.Parse(raw, options(edKey(t).Public(), ecKey(t, elliptic.P384()).Public()))
	require.ErrorIs(t, err, corim.ErrSigner, "no key for the algorithm")
	_, err = corim.Parse(append(raw, 0), options(key.Public()))
	require.ErrorIs(t, err, corim.ErrFormat, "trailing byte")
	for i := range raw {
		_, err := corim.Parse(raw[:i], options(key.Public()))
		require.Error(t, err, "prefix of %d bytes", i)
	}
}

// No byte can be changed: what it says is signed, or it is the signature.
func TestTampered(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	raw := newDraft().sign(t, cose.AlgorithmES256, key)
	place := bytes.Index(raw, digest("good"))
	require.Positive(t, place)
	for _, i := range []int{place, len(raw) - 1} {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		_, err := corim.Parse(changed, options(key.Public()))
		require.ErrorIs(t, err, corim.ErrSignature)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		_, err := corim.Parse(changed, options(key.Public()))
		require.Error(t, err, "byte %d", i)
	}
}

// The algorithm is one of four, and that of the key.
func TestAlgorithm(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	for name, alg := range map[string]any{
		"PS256": -37, "RS256": -257, "HMAC": 5, "ES256K": -47, "zero": 0, "text": "ES256", "huge": uint64(1) << 63,
	} {
		protected := encode(t, m{1: alg, 3: "application/rim+cbor", 8: encode(t, m{0: m{0: "s"}})})
		raw := encode(t, cbor.Tag{Number: 18, Content: []any{protected, m{}, newDraft().payload(t), make([]byte, 64)}})
		_, err := corim.Parse(raw, options(key.Public()))
		require.ErrorIs(t, err, corim.ErrAlgorithm, name)
	}
	protected := encode(t, m{3: "application/rim+cbor", 8: encode(t, m{0: m{0: "s"}})})
	raw := encode(t, cbor.Tag{Number: 18, Content: []any{protected, m{}, newDraft().payload(t), make([]byte, 64)}})
	_, err := corim.Parse(raw, options(key.Public()))
	require.ErrorIs(t, err, corim.ErrAlgorithm, "none")
	// ES384 with a key of P-256: the library would take it.
	raw = newDraft().sign(t, cose.AlgorithmES384, key)
	_, err = corim.Parse(raw, options(key.Public()))
	require.ErrorIs(t, err, corim.ErrSigner)
	// A detached payload is none.
	raw = encode(t, cbor.Tag{Number: 18, Content: []any{encode(t, m{1: -7}), m{}, nil, make([]byte, 64)}})
	_, err = corim.Parse(raw, options(key.Public()))
	require.ErrorIs(t, err, corim.ErrFormat)
}

// A key that stands twice in a map, at any depth, is refused: readers differ in which
// one they take.
func TestDuplicateKeys(t *testing.T) {
	t.Parallel()
	key := edKey(t)
	d := newDraft()
	good := d.payload(t)
	name := encode(t, "corim-1")
	twice := bytes.Replace(good, append([]byte{0xa3, 0x00}, name...), append(append([]byte{0xa4, 0x00}, name...), append([]byte{0x00}, name...)...), 1)
	require.NotEqual(t, good, twice)
	_, err := corim.Parse(d.signPayload(t, cose.AlgorithmEdDSA, key, twice), options(key.Public()))
	require.ErrorIs(t, err, corim.ErrDuplicateKey, "corim-map")

	for where, raw := range map[string]cbor.RawMessage{
		"flags":                 {0xa1, 0x03, 0xa2, 0x03, 0xf5, 0x03, 0xf4}, // is-debug: true, false
		"not the shortest form": {0xa1, 0x03, 0xa2, 0x03, 0xf5, 0x18, 0x03, 0xf4},
	} {
		d = newDraft()
		d.values, d.measurement[1] = nil, raw
		_, err = corim.Parse(d.sign(t, cose.AlgorithmEdDSA, key), options(key.Public()))
		require.ErrorIs(t, err, corim.ErrDuplicateKey, where)
	}
	protected := []byte{0xa2, 0x01, 0x27, 0x01, 0x26} // alg: EdDSA, ES256
	raw := encode(t, cbor.Tag{Number: 18, Content: []any{protected, m{}, good, make([]byte, 64)}})
	_, err = corim.Parse(raw, options(key.Public()))
	require.ErrorIs(t, err, corim.ErrDuplicateKey, "protected header")
}

// Both sides of the limits.
func TestLimits(t *testing.T) {
	t.Parallel()
	o := options()
	o.AcceptUnsignedFromAnyone = true
	fill := func(size int) []byte {
		d := newDraft()
		d.manifest[5] = []any{m{0: "ACME", 2: []any{1}}}
		base := len(d.payload(t))
		d = newDraft()
		d.manifest[5] = []any{m{0: string(bytes.Repeat([]byte("A"), size-base)), 2: []any{1}}}
		b := d.payload(t)
		if len(b) > size { // a longer head
			d = newDraft()
			d.manifest[5] = []any{m{0: string(bytes.Repeat([]byte("A"), size-base-(len(b)-size))), 2: []any{1}}}
			b = d.payload(t)
		}
		require.Len(t, b, size)
		return b
	}
	_, err := corim.Parse(fill(corim.MaxSize), o)
	require.NoError(t, err)
	_, err = corim.Parse(fill(corim.MaxSize+1), o)
	require.ErrorIs(t, err, corim.ErrFormat)

	nest := func(n int) any {
		var v any = 1
		for range n {
			v = []any{v}
		}
		return v
	}
	for depth, want := range map[int]error{14: nil, 15: nil, 16: corim.ErrFormat, 5000: corim.ErrFormat} {
		d := newDraft()
		d.comid[2] = nest(depth) // entities of the CoMID, in one map
		_, err := corim.Parse(d.payload(t), o)
		require.ErrorIs(t, err, want, "depth %d", depth)
	}
}
