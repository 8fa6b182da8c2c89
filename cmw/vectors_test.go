package cmw_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/expat-go/expat/cmw"
	"github.com/stretchr/testify/require"
)

const (
	exampleType = "application/vnd.example.rats-conceptual-msg"
	corimType   = "application/signed-corim+cbor"
)

// A vector is a message and its meaning. The wire values named "RFC 9999" are the examples
// of its specification (ietf-rats-wg/draft-ietf-rats-msg-wrap, cddl/*.diag and *.json);
// those named "veraison" are test data of veraison/cmw (Apache-2.0).
type vector struct {
	name   string
	wire   string // JSON, or hex of CBOR
	kind   cmw.Kind
	leaves []cmw.Leaf
	ctype  string
	sorted bool // the wire is what this package writes
}

func path(labels ...cmw.Label) []cmw.Label { return labels }

var (
	value2347 = []byte{0x23, 0x47, 0xda, 0x55}
	deadbeef  = []byte{0xde, 0xad, 0xbe, 0xef}
)

var vectors = []vector{
	{
		name: "RFC 9999 JSON record", wire: `["application/vnd.example.rats-conceptual-msg","I0faVQ"]`,
		kind: cmw.KindRecord, sorted: true,
		leaves: []cmw.Leaf{{MediaType: exampleType, Value: value2347}},
	},
	{
		name: "RFC 9999 CBOR record, documentation Content-Format 64999", wire: "8219fde7442347da55",
		kind: cmw.KindRecord, sorted: true,
		leaves: []cmw.Leaf{{Value: value2347}},
	},
	{
		name: "RFC 9999 CBOR record, media type",
		wire: "82782b6170706c69636174696f6e2f766e642e6578616d706c652e726174732d636f6e6365707475616c2d6d7367442347da55",
		kind: cmw.KindRecord, sorted: true,
		leaves: []cmw.Leaf{{MediaType: exampleType, Value: value2347}},
	},
	{
		name: "RFC 9999 tag 1668612070", wire: "da6374ffe6442347da55",
		kind: cmw.KindTag, sorted: true,
		leaves: []cmw.Leaf{{Value: value2347}},
	},
	{
		name: "RFC 9999 tag 1668612069 over CBOR", wire: "da6374ffe54ba10a48a7c76d8424a96fb4",
		kind: cmw.KindTag, sorted: true,
		leaves: []cmw.Leaf{{Value: unhex("a10a48a7c76d8424a96fb4")}},
	},
	{
		name: "RFC 9999 CBOR record, indicator 3",
		wire: "83746170706c69636174696f6e2f72696d2b636f73654ad28440a044d901f5a04003",
		kind: cmw.KindRecord, sorted: true,
		leaves: []cmw.Leaf{{
			MediaType: "application/rim+cose", Value: unhex("d28440a044d901f5a040"),
			Indicator: cmw.ReferenceValues | cmw.Endorsements,
		}},
	},
	{
		name: "RFC 9999 CBOR collection",
		wire: "a4685f5f636d77635f7478277461673a6578616d706c652e636f6d2c323032343a636f6d706f736974652d6174746573746572" +
			"008319fde7442347da550401da6374ffe6442347da550283736170706c69636174696f6e2f6561742b6a7774432e2e2e08",
		kind:  cmw.KindCollection,
		ctype: "tag:example.com,2024:composite-attester",
		leaves: []cmw.Leaf{
			{Path: path(cmw.IntLabel(0)), Value: value2347, Indicator: cmw.Evidence},
			{Path: path(cmw.IntLabel(1)), Value: value2347},
			{Path: path(cmw.IntLabel(2)), MediaType: "application/eat+jwt", Value: []byte("..."), Indicator: cmw.AttestationResults},
		},
	},
	{
		name: "RFC 9999 JSON collection",
		wire: `{"__cmwc_t":"tag:example.com,2024:another-composite-attester",` +
			`"attester A":["application/eat-ucs+json","e30K",4],"attester B":["application/eat-ucs+cbor","oA",4]}`,
		kind: cmw.KindCollection, sorted: true,
		ctype: "tag:example.com,2024:another-composite-attester",
		leaves: []cmw.Leaf{
			{Path: path(cmw.TextLabel("attester A")), MediaType: "application/eat-ucs+json", Value: []byte("{}\n"), Indicator: cmw.Evidence},
			{Path: path(cmw.TextLabel("attester B")), MediaType: "application/eat-ucs+cbor", Value: []byte{0xa0}, Indicator: cmw.Evidence},
		},
	},
	{
		name: "veraison collection-cbor-ok",
		wire: "a30183781d6170706c69636174696f6e2f7369676e65642d636f72696d2b63626f7247d28443a10126a10302da63747632442347da55617382197531442347da55",
		kind: cmw.KindCollection, sorted: true,
		leaves: []cmw.Leaf{
			{Path: path(cmw.IntLabel(1)), MediaType: corimType, Value: unhex("d28443a10126a1"), Indicator: 3},
			{Path: path(cmw.IntLabel(2)), Value: value2347},
			{Path: path(cmw.TextLabel("s")), Value: value2347},
		},
	},
	{
		name: "veraison collection-cbor-ok-2", wire: "a10182716170706c69636174696f6e2f766e642e3144deadbeef",
		kind: cmw.KindCollection, sorted: true,
		leaves: []cmw.Leaf{{Path: path(cmw.IntLabel(1)), MediaType: "application/vnd.1", Value: deadbeef}},
	},
	{
		name: "veraison collection-cbor-mixed-keys", wire: "a266737472696e67820041ff190400da6374010141aa",
		kind: cmw.KindCollection,
		leaves: []cmw.Leaf{
			{Path: path(cmw.TextLabel("string")), Value: []byte{0xff}},
			{Path: path(cmw.IntLabel(1024)), Value: []byte{0xaa}},
		},
	},
	{
		name: "veraison collection-ok", wire: `{"a":["application/vnd.a","YQ"],"b":["application/vnd.b","Yg"]}`,
		kind: cmw.KindCollection, sorted: true,
		leaves: []cmw.Leaf{
			{Path: path(cmw.TextLabel("a")), MediaType: "application/vnd.a", Value: []byte("a")},
			{Path: path(cmw.TextLabel("b")), MediaType: "application/vnd.b", Value: []byte("b")},
		},
	},
	{
		name: "veraison record, Content-Format 30001", wire: "8219753144deadbeef",
		kind: cmw.KindRecord, sorted: true, leaves: []cmw.Leaf{{Value: deadbeef}},
	},
	{
		name: "veraison tag of Content-Format 30001", wire: "da6374763244deadbeef",
		kind: cmw.KindTag, sorted: true, leaves: []cmw.Leaf{{Value: deadbeef}},
	},
	{
		name: "veraison example, indicator 3",
		wire: "83781d6170706c69636174696f6e2f7369676e65642d636f72696d2b63626f724dd901f6d28440a044d901f5a04003",
		kind: cmw.KindRecord, sorted: true,
		leaves: []cmw.Leaf{{MediaType: corimType, Value: unhex("d901f6d28440a044d901f5a040"), Indicator: 3}},
	},
	{
		name: "veraison bit 4, an Appraisal Policy in RFC 9999", wire: `["application/corim+signed","3q2-7w",19]`,
		kind: cmw.KindRecord, sorted: true,
		leaves: []cmw.Leaf{{
			MediaType: "application/corim+signed", Value: deadbeef,
			Indicator: cmw.ReferenceValues | cmw.Endorsements | cmw.AppraisalPolicy,
		}},
	},
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// wireBytes reads the notation of the tests: JSON as it is, CBOR in hex.
func wireBytes(s string) []byte {
	if strings.ContainsAny(s, `[{" `) {
		return []byte(s)
	}
	return unhex(s)
}

func isJSON(b []byte) bool { return b[0] == '[' || b[0] == '{' }

// encodeLike encodes m in the serialization that wire has.
func encodeLike(m *cmw.Message, wire []byte) ([]byte, error) {
	if isJSON(wire) {
		return m.MarshalJSON()
	}
	return m.MarshalCBOR()
}

// G-1 to G-6, G-9.
func TestDecodeVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			wire := wireBytes(v.wire)
			m, err := cmw.Decode(wire)
			require.NoError(t, err)
			require.Equal(t, v.kind, m.Kind())
			require.Equal(t, v.leaves, m.Leaves())
			require.Equal(t, v.ctype, m.CollectionType())

			again, err := encodeLike(m, wire)
			require.NoError(t, err)
			if v.sorted {
				require.Equal(t, wire, again)
			}
			back, err := cmw.Decode(again)
			require.NoError(t, err)
			require.True(t, m.Equal(back))
		})
	}
}

// Every proper prefix of a message is refused.
func TestDecodePrefixes(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		wire := wireBytes(v.wire)
		for n := range wire {
			m, err := cmw.Decode(wire[:n])
			require.Nil(t, m, v.name)
			want := cmw.ErrSyntax
			if n == 0 {
				want = cmw.ErrEmpty
			}
			require.ErrorIs(t, err, want, "%s cut to %d bytes", v.name, n)
		}
	}
}

// Every spelling of one message is read as that message and written in the same
// deterministic bytes (G-9, G-14).
func TestMarshalCBORDeterministic(t *testing.T) {
	t.Parallel()
	spellings := map[string]string{
		"as written":         "a3" + "018263612f624161" + "208363612f62416204" + "6178da63740209" + "4163",
		"other order":        "a3" + "6178da637402094163" + "208363612f62416204" + "018263612f624161",
		"long map head":      "b803" + "018263612f624161" + "208363612f62416204" + "6178da637402094163",
		"indefinite map":     "bf" + "018263612f624161" + "208363612f62416204" + "6178da637402094163" + "ff",
		"indefinite records": "a3" + "019f63612f624161ff" + "209f63612f62416204ff" + "6178da637402094163",
		"long labels":        "a3" + "1b00000000000000018263612f624161" + "39000083" + "63612f62416204" + "790001" + "78da637402094163",
		"long string heads":  "a3" + "01827803612f625a0000000161" + "208363612f62416204" + "6178da6374020959000163",
		"long indicator":     "a3" + "018263612f624161" + "208363612f6241621b0000000000000004" + "6178da637402094163",
	}
	first, err := cmw.Decode(unhex(spellings["as written"]))
	require.NoError(t, err)
	require.Equal(t, spellings["as written"], mustCBOR(t, first))
	for name, wire := range spellings {
		m, err := cmw.Decode(unhex(wire))
		require.NoError(t, err, name)
		require.True(t, first.Equal(m), name)
		require.Equal(t, spellings["as written"], mustCBOR(t, m), name)
	}
}

func mustCBOR(t *testing.T, m *cmw.Message) string {
	t.Helper()
	b, err := m.MarshalCBOR()
	require.NoError(t, err)
	return hex.EncodeToString(b)
}
