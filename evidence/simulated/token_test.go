package simulated

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/eat"

	"github.com/expat-go/expat/evidence"
)

// TestGoldenClaims fixes the encoding of a claims set (RFC 9711; C-4, D-1, H-2).
func TestGoldenClaims(t *testing.T) {
	t.Parallel()
	debug := eat.Debug(eat.DebugDisabled)
	measured, err := encodeMeasurements([]evidence.Measurement{
		{Name: "k", Version: "1", Algorithm: "sha-256", Digest: testDigest},
		{Name: "a", Algorithm: "sha-256", Digest: testDigest},
	})
	require.NoError(t, err)
	c := claims{
		UEID: append([]byte{1}, make([]byte, 16)...), OEMID: make([]byte, 16), Debug: &debug, Profile: profile,
		SoftwareName: "fw", Version: &eat.Version{Version: "2"}, Measurements: measured,
		KeyHash: bytes.Repeat([]byte{7}, 32), Provenance: keyBornInside,
	}
	require.NoError(t, c.Nonce.Add(bytes.Repeat([]byte{9}, 32)))
	digest := "8201" + "5820" + strings.Repeat("5a", 32)
	want := "aa" + // map of 10
		"0a" + "5820" + strings.Repeat("09", 32) + // eat_nonce
		"190100" + "51" + "01" + strings.Repeat("00", 16) + // ueid
		"190102" + "50" + strings.Repeat("00", 16) + // oemid
		"190107" + "01" + // dbgstat
		"190109" + "7834" + hex.EncodeToString([]byte(profile)) + // eat_profile
		"19010e" + "62" + "6677" + // swname
		"19010f" + "81" + "61" + "32" + // swversion
		"190111" + "82" + // measurements
		"82" + "190127" + "582d" + "a2" + "01" + "82" + "61" + "6b" + "81" + "61" + "31" + "02" + digest +
		"82" + "190127" + "582a" + "a2" + "01" + "81" + "61" + "61" + "02" + digest +
		"3a000124f8" + "5820" + strings.Repeat("07", 32) + // key hash
		"3a000124f9" + "01" // key provenance
	require.Equal(t, want, hex.EncodeToString(marshal(t, &c)))
}

// TestClaims changes one claim and signs again, so that only the claim is wrong.
func TestClaims(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	fields := func() map[int]any {
		var m map[int]any
		require.NoError(t, cbor.Unmarshal(marshal(t, f.claims(t)), &m))
		return m
	}
	n32, ueid := bytes.Repeat([]byte{9}, 32), f.device.Instance()
	component := func(v any) []any { return []any{295, marshal(t, v)} }
	hash := func(alg int, size int) []any { return []any{alg, make([]byte, size)} }
	for name, c := range map[string]struct {
		claim int
		value any // nil: the claim is left out
		want  string
	}{
		"eat_nonce missing":        {10, nil, "eat_nonce is missing or not 8 to 64 bytes"},
		"eat_nonce null":           {10, cbor.RawMessage{0xf6}, "eat_nonce is missing or not 8 to 64 bytes"},
		"eat_nonce 7 bytes":        {10, n32[:7], "eat_nonce is missing or not 8 to 64 bytes"},
		"eat_nonce 65 bytes":       {10, make([]byte, 65), "eat_nonce is missing or not 8 to 64 bytes"},
		"eat_nonce two values":     {10, []any{n32, f.binding.Binder()}, "eat_nonce has more than one value"},
		"eat_nonce array of one":   {10, []any{n32}, "not in deterministic encoding, or an item of the wrong type"},
		"eat_nonce empty array":    {10, []any{}, "eat_nonce is missing or not 8 to 64 bytes"},
		"eat_nonce text":           {10, "nonce of the wrong type", "not CBOR of the expected structure"},
		"eat_nonce numbers":        {10, []int{1, 2, 3, 4, 5, 6, 7, 8}, ""},
		"ueid missing":             {256, nil, "not in deterministic encoding, or an item of the wrong type"},
		"ueid empty":               {256, []byte{}, "ueid is not a RAND, EUI or IMEI of its length"},
		"ueid 16 bytes":            {256, ueid[:16], "ueid is not a RAND, EUI or IMEI of its length"},
		"ueid type 0":              {256, make([]byte, 17), "ueid is not a RAND, EUI or IMEI of its length"},
		"ueid EUI of 5":            {256, []byte{2, 1, 2, 3, 4, 5}, "ueid is not a RAND, EUI or IMEI of its length"},
		"oemid missing":            {258, nil, "not in deterministic encoding, or an item of the wrong type"},
		"oemid 15 bytes":           {258, make([]byte, 15), "oemid is not 16 bytes"},
		"oemid as PEN":             {258, 57264, "not CBOR of the expected structure"},
		"hwmodel empty":            {259, []byte{}, "not in deterministic encoding, or an item of the wrong type"},
		"hwmodel null":             {259, cbor.RawMessage{0xf6}, "not in deterministic encoding, or an item of the wrong type"},
		"hwmodel 33 bytes":         {259, make([]byte, 33), "hwmodel is not 1 to 32 bytes"},
		"dbgstat 5":                {263, 5, "dbgstat is not 0 to 4"},
		"dbgstat negative":         {263, -1, "not CBOR of the expected structure"},
		"dbgstat bool":             {263, true, "not CBOR of the expected structure"},
		"eat_profile missing":      {265, nil, "not in deterministic encoding, or an item of the wrong type"},
		"eat_profile other":        {265, "https://example.com/profile", "eat_profile is another"},
		"eat_profile longer":       {265, profile + "/", "eat_profile is another"},
		"eat_profile tagged":       {265, cbor.Tag{Number: 32, Content: profile}, "not CBOR of the expected structure"},
		"swname missing":           {270, nil, "swname or swversion is too long, has a scheme, or lacks the other"},
		"swname long":              {270, strings.Repeat("n", 257), "swname or swversion is too long, has a scheme, or lacks the other"},
		"swname not UTF-8":         {270, cbor.RawMessage{0x61, 0xff}, "not CBOR of the expected structure"},
		"swversion long":           {271, []any{strings.Repeat("1", 257)}, "swname or swversion is too long, has a scheme, or lacks the other"},
		"swversion empty":          {271, []any{""}, "swname or swversion is too long, has a scheme, or lacks the other"},
		"swversion scheme":         {271, []any{"1", 1}, "swname or swversion is too long, has a scheme, or lacks the other"},
		"swversion text":           {271, "1.0", "not CBOR of the expected structure"},
		"measurements empty":       {273, []any{}, "not in deterministic encoding, or an item of the wrong type"},
		"measurements 65":          {273, make([]any, 65), "not CBOR of the expected structure"},
		"measurement CoSWID":       {273, []any{[]any{258, []byte{0xa0}}}, "a measurement is no measured component"},
		"component unnamed":        {273, []any{component(map[int]any{1: []any{""}, 2: hash(1, 32)})}, "the name or version of a measured component is empty or too long"},
		"component long name":      {273, []any{component(map[int]any{1: []any{strings.Repeat("n", 257)}, 2: hash(1, 32)})}, "the name or version of a measured component is empty or too long"},
		"component short digest":   {273, []any{component(map[int]any{1: []any{"a"}, 2: hash(1, 31)})}, "a digest is of an unknown algorithm or of the wrong length"},
		"component truncated hash": {273, []any{component(map[int]any{1: []any{"a"}, 2: hash(6, 4)})}, "a digest is of an unknown algorithm or of the wrong length"},
		"component signer":         {273, []any{component(map[int]any{1: []any{"a"}, 2: hash(1, 32), 3: []any{}})}, "measured component: a key that the profile does not have"},
		"component id empty":       {273, []any{component(map[int]any{1: []any{}, 2: hash(1, 32)})}, "measured component: not CBOR of the expected structure"},
		"component version null":   {273, []any{component(map[int]any{1: []any{"a", nil}, 2: hash(1, 32)})}, "measured component: not CBOR of the expected structure"},
		"component version number": {273, []any{component(map[int]any{1: []any{"a", []any{1}}, 2: hash(1, 32)})}, "measured component: not CBOR of the expected structure"},
		"component scheme":         {273, []any{component(map[int]any{1: []any{"a", []any{"1", 1}}, 2: hash(1, 32)})}, "measured component: not in deterministic encoding, or an item of the wrong type"},
		"component name number":    {273, []any{component(map[int]any{1: []any{1}, 2: hash(1, 32)})}, "measured component: not CBOR of the expected structure"},
		"component twice": {273, []any{
			component(map[int]any{1: []any{"a"}, 2: hash(1, 32)}), component(map[int]any{1: []any{"a"}, 2: hash(7, 48)}),
		}, "two measured components have one name"},
		"component trailing bytes":    {273, []any{[]any{295, append(marshal(t, map[int]any{1: []any{"a"}, 2: hash(1, 32)}), 0)}}, "measured component: not CBOR of the expected structure"},
		"key hash missing (D-1)":      {-75001, nil, "not in deterministic encoding, or an item of the wrong type"},
		"key hash 31 bytes":           {-75001, make([]byte, 31), "key hash is not 32 or 48 bytes"},
		"key hash numbers":            {-75001, make([]int, 32), "not in deterministic encoding, or an item of the wrong type"},
		"key provenance missing":      {-75002, nil, "not in deterministic encoding, or an item of the wrong type"},
		"key provenance 0":            {-75002, 0, "key provenance is not 1, 2 or 4"},
		"key provenance 3":            {-75002, 3, "key provenance is not 1, 2 or 4"},
		"key provenance 5":            {-75002, 5, "key provenance is not 1, 2 or 4"},
		"key provenance float":        {-75002, 1.0, "not CBOR of the expected structure"},
		"unknown claim":               {-75003, 1, "a key that the profile does not have"},
		"submods":                     {266, map[string]any{}, "a key that the profile does not have"},
		"cnf":                         {8, map[int]any{}, "a key that the profile does not have"},
		"exp":                         {4, 1, "a key that the profile does not have"},
		"deeply nested unknown claim": {5000, cbor.RawMessage("\x81\x81\x81\x81\x81\x81\x81\x00"), "not CBOR of the expected structure"},
	} {
		m := fields()
		delete(m, c.claim)
		if c.value != nil {
			m[c.claim] = c.value
		}
		_, err := f.extract(f.resigned(t, marshal(t, m)))
		require.ErrorIs(t, err, evidence.ErrFormat, name)
		step(t, err, evidence.ErrFormat, "claims")
		if c.want != "" {
			require.ErrorContains(t, err, ": claims: "+c.want, name)
		}
	}
	_, err := f.extract(f.resigned(t, marshal(t, fields())))
	require.NoError(t, err)
}

// TestSpelling has the right claims in an encoding that is not deterministic.
func TestSpelling(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := marshal(t, f.claims(t))
	n := len(good)
	pairs := good[0] & 0x1f
	for name, c := range map[string]struct {
		payload []byte
		want    string
	}{
		"eat_nonce twice":   {slices.Concat([]byte{0xa0 | (pairs + 1)}, good[1:36], good[1:]), "a key occurs twice"},
		"provenance twice":  {slices.Concat([]byte{0xa0 | (pairs + 1)}, good[1:], good[n-6:]), "a key occurs twice"},
		"not sorted":        {slices.Concat(good[:1], good[n-6:], good[1:n-6]), "not in deterministic encoding, or an item of the wrong type"},
		"long key":          {slices.Concat(good[:1], []byte{0x18, 10}, good[2:]), "not in deterministic encoding, or an item of the wrong type"},
		"long value":        {slices.Concat(good[:n-1], []byte{0x18, 1}), "not in deterministic encoding, or an item of the wrong type"},
		"long map":          {slices.Concat([]byte{0xb8, pairs}, good[1:]), "not in deterministic encoding, or an item of the wrong type"},
		"indefinite map":    {slices.Concat([]byte{0xbf}, good[1:], []byte{0xff}), "not CBOR of the expected structure"},
		"tagged map":        {slices.Concat([]byte{0xd8, 61}, good), "not CBOR of the expected structure"},
		"bytes after":       {slices.Concat(good, []byte{0}), "not CBOR of the expected structure"},
		"array in place":    {[]byte{0x80}, "not CBOR of the expected structure"},
		"text key":          {slices.Concat([]byte{0xa0 | (pairs + 1)}, good[1:], []byte{0x61, 'a', 0}), "a key that the profile does not have"},
		"nothing but a map": {[]byte{0xa0}, "eat_nonce is missing or not 8 to 64 bytes"},
	} {
		_, err := f.extract(f.resigned(t, c.payload))
		require.ErrorIs(t, err, evidence.ErrFormat, name)
		require.ErrorContains(t, err, ": claims: "+c.want, name)
	}
}
