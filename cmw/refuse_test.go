package cmw_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/expat-go/expat/cmw"
	"github.com/stretchr/testify/require"
)

// A refusal is one input with one fault, the reason and the position that must be reported.
type refusal struct {
	name   string
	wire   string
	want   error
	offset int
}

func testRefusals(t *testing.T, cases []refusal) {
	t.Helper()
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := cmw.Decode(wireBytes(c.wire))
			require.Nil(t, m)
			require.ErrorIs(t, err, c.want)
			var refused *cmw.DecodeError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, c.offset, refused.Offset)
			require.Same(t, c.want, refused.Err, "no cause that could quote the message")
			require.Equal(t, fmt.Sprintf("cmw: decode: at byte %d: %v", c.offset, c.want), err.Error())
		})
	}
}

// Hex of a record {"a/b", 61}, its media type and its value.
const (
	recAB = "82" + mtAB + valA
	mtAB  = "63612f62"
	valA  = "4161"
)

func TestDecodeRefusesStart(t *testing.T) {
	testRefusals(t, []refusal{
		{"nothing", "", cmw.ErrEmpty, 0},
		{"number", "00", cmw.ErrSyntax, 0},
		{"negative number", "20", cmw.ErrSyntax, 0},
		{"byte string", "41ff", cmw.ErrSyntax, 0},
		{"text string", "6161", cmw.ErrSyntax, 0},
		{"array of one", "8100", cmw.ErrSyntax, 0},
		{"array of five", "850000000000", cmw.ErrSyntax, 0},
		{"record in a two-byte array head", "9802" + mtAB + valA, cmw.ErrSyntax, 0},
		{"break", "ff", cmw.ErrSyntax, 0},
		{"reserved map head", "bc", cmw.ErrSyntax, 0},
		{"self-described CBOR", "d9d9f7" + recAB, cmw.ErrTag, 0},
		{"one-byte tag", "c0" + valA, cmw.ErrTag, 0},
		{"eight-byte tag", "db0000000063740209" + valA, cmw.ErrTag, 0},
		{"COSE_Sign1, tagged", "d28443a10126a04161" + "40", cmw.ErrSigned, 0},
		{"COSE_Sign1, untagged", "8443a10126a04161" + "40", cmw.ErrSigned, 0},
		{"JWS compact", "65794a" + "68", cmw.ErrSigned, 0},
		{"JSON string", `"a"`, cmw.ErrSyntax, 0},
		{"white space before JSON", ` ["a/b","YQ"]`, cmw.ErrSyntax, 0},
		{"byte order mark", "efbbbf5b22612f62222c225951225d", cmw.ErrSyntax, 0},
	})
}

// G-2, G-4, G-5 and the strictness of G-14 for CBOR.
func TestDecodeRefusesCBORLeaves(t *testing.T) {
	testRefusals(t, []refusal{
		{"trailing byte after record", recAB + "00", cmw.ErrTrailing, 0},
		{"trailing byte after tag", "da63740209" + valA + "00", cmw.ErrTrailing, 0},
		{"trailing byte after collection", "a101" + recAB + "f6", cmw.ErrTrailing, 0},
		{"record of one", "9f" + mtAB + "ff", cmw.ErrSyntax, 0},
		{"empty record", "9fff", cmw.ErrSyntax, 0},
		{"record of four", "9f" + mtAB + valA + "0400ff", cmw.ErrSyntax, 0},
		{"record of seventeen", "9f" + strings.Repeat("00", 17) + "ff", cmw.ErrSyntax, 0},
		{"type missing slash", "826161" + valA, cmw.ErrMediaType, 1},
		{"type empty", "8260" + valA, cmw.ErrMediaType, 1},
		{"type not UTF-8", "82" + "64612fff62" + valA, cmw.ErrMediaType, 1},
		{"type in chunks", "82" + "7f" + mtAB + "ff" + valA, cmw.ErrMediaType, 1},
		{"type as bytes", "82" + "43612f62" + valA, cmw.ErrMediaType, 1},
		{"type negative", "8220" + valA, cmw.ErrMediaType, 1},
		{"type null", "82f6" + valA, cmw.ErrMediaType, 1},
		{"type tagged", "82" + "d820" + mtAB + valA, cmw.ErrMediaType, 1},
		{"type a float", "82f93c00" + valA, cmw.ErrMediaType, 1},
		{"Content-Format 65536", "821a00010000" + valA, cmw.ErrMediaType, 1},
		{"value text", "82" + mtAB + "6161", cmw.ErrValue, 5},
		{"value null", "82" + mtAB + "f6", cmw.ErrValue, 5},
		{"value array of bytes", "82" + mtAB + "811861", cmw.ErrValue, 5},
		{"value tagged", "82" + mtAB + "d7" + valA, cmw.ErrValue, 5},
		{"value in chunks", "82" + mtAB + "5f" + valA + "ff", cmw.ErrValue, 5},
		{"value empty", "82" + mtAB + "40", cmw.ErrEmptyValue, 5},
		{"indicator zero", "83" + mtAB + valA + "00", cmw.ErrIndicator, 7},
		{"indicator 32", "83" + mtAB + valA + "1820", cmw.ErrIndicator, 7},
		{"indicator of five bytes", "83" + mtAB + valA + "1b0000010000000004", cmw.ErrIndicator, 7},
		{"indicator negative", "83" + mtAB + valA + "23", cmw.ErrIndicator, 7},
		{"indicator bytes", "83" + mtAB + valA + "4104", cmw.ErrIndicator, 7},
		{"indicator null", "83" + mtAB + valA + "f6", cmw.ErrIndicator, 7},
		{"tag below range", "da63740100" + valA, cmw.ErrTag, 0},
		{"tag above range", "da63750000" + valA, cmw.ErrTag, 0},
		{"tag that is no TN()", "da63740200" + valA, cmw.ErrTag, 0},
		{"tag of cmw+json, Table 4: signed-cbor-cmw", "da63740214" + valA, cmw.ErrAmbiguousTag, 0},
		{"tag of cmw+cose, Table 4: json-collection", "da63740215" + valA, cmw.ErrAmbiguousTag, 0},
		{"tag over text", "da637402096161", cmw.ErrValue, 5},
		{"tag over tag", "da63740209" + "da63740209" + valA, cmw.ErrValue, 5},
		{"tag over chunks", "da63740209" + "5f" + valA + "ff", cmw.ErrValue, 5},
		{"tag over nothing", "da6374020940", cmw.ErrEmptyValue, 5},
		{"reserved additional information", "82" + mtAB + "5c", cmw.ErrSyntax, 0},
	})
}

const cmwct = "685f5f636d77635f74" // "__cmwc_t"

// G-6, G-7.
func TestDecodeRefusesCBORCollections(t *testing.T) {
	testRefusals(t, []refusal{
		{"empty", "a0", cmw.ErrEmptyCollection, 0},
		{"empty, indefinite", "bfff", cmw.ErrEmptyCollection, 0},
		{"type alone", "a1" + cmwct + "65613a622f63", cmw.ErrEmptyCollection, 0},
		{"empty inside", "a101a0", cmw.ErrEmptyCollection, 2},
		{"odd indefinite map", "bf01ff", cmw.ErrSyntax, 0},
		{"duplicate number", "a201" + recAB + "01" + recAB, cmw.ErrDuplicateLabel, 9},
		{"duplicate number, other spelling", "a201" + recAB + "1801" + recAB, cmw.ErrDuplicateLabel, 9},
		{"duplicate text", "a26161" + recAB + "6161" + recAB, cmw.ErrDuplicateLabel, 10},
		{"duplicate text, other spelling", "bf6161" + recAB + "780161" + recAB + "ff", cmw.ErrDuplicateLabel, 10},
		{"duplicate inside", "a100a201" + recAB + "01" + recAB, cmw.ErrDuplicateLabel, 11},
		{"duplicate type", "a3" + cmwct + "63613a62" + cmwct + "63613a62" + "01" + recAB, cmw.ErrDuplicateLabel, 14},
		{"label empty", "a160" + recAB, cmw.ErrLabel, 1},
		{"label blank", "a1622009" + recAB, cmw.ErrLabel, 1},
		{"label not UTF-8", "a161ff" + recAB, cmw.ErrLabel, 1},
		{"label U+FFFD", "a163efbfbd" + recAB, cmw.ErrLabel, 1},
		{"label in chunks", "a17f6161ff" + recAB, cmw.ErrLabel, 1},
		{"label bytes", "a14161" + recAB, cmw.ErrLabel, 1},
		{"label bool", "a1f5" + recAB, cmw.ErrLabel, 1},
		{"label float", "a1f93c00" + recAB, cmw.ErrLabel, 1},
		{"label null", "a1f6" + recAB, cmw.ErrLabel, 1},
		{"label tagged", "a1c26101" + recAB, cmw.ErrSyntax, 0},
		{"label array", "a18101" + recAB, cmw.ErrLabel, 1},
		{"label 2^63", "a11b8000000000000000" + recAB, cmw.ErrLabel, 1},
		{"label -2^63-1", "a13b8000000000000000" + recAB, cmw.ErrLabel, 1},
		{"type is a record", "a2" + cmwct + recAB + "01" + recAB, cmw.ErrCollectionType, 10},
		{"type relative", "a2" + cmwct + "6161" + "01" + recAB, cmw.ErrCollectionType, 10},
		{"type bytes", "a2" + cmwct + "43613a62" + "01" + recAB, cmw.ErrCollectionType, 10},
		{"type in chunks", "a2" + cmwct + "7f63613a62ff" + "01" + recAB, cmw.ErrCollectionType, 10},
		{"type not UTF-8", "a2" + cmwct + "63613aff" + "01" + recAB, cmw.ErrCollectionType, 10},
		{"item a number", "a10101", cmw.ErrSyntax, 2},
		{"item text", "a1016161", cmw.ErrSyntax, 2},
		{"item null", "a101f6", cmw.ErrSyntax, 2},
		{"item JSON in a byte string", "a1015b0000000000000001" + "61", cmw.ErrSyntax, 2},
		{"item signed", "a101d28443a10126a04161" + "40", cmw.ErrSigned, 2},
		{"item foreign tag", "a101d820" + mtAB, cmw.ErrTag, 2},
		{"bad leaf behind a good one", "a201" + recAB + "02" + "82" + mtAB + "40", cmw.ErrEmptyValue, 15},
	})
}

// G-2, G-3, G-4 for JSON.
func TestDecodeRefusesJSONLeaves(t *testing.T) {
	testRefusals(t, []refusal{
		{"trailing white space", `["a/b","YQ"]` + "\n", cmw.ErrTrailing, 12},
		{"trailing record", `["a/b","YQ"]["a/b","YQ"]`, cmw.ErrTrailing, 12},
		{"empty", `[]`, cmw.ErrSyntax, 2},
		{"one field", `["a/b"]`, cmw.ErrSyntax, 7},
		{"four fields", `["a/b","YQ",4,4]`, cmw.ErrSyntax, 15},
		{"trailing comma", `["a/b","YQ",]`, cmw.ErrSyntax, 12},
		{"no comma", `["a/b" "YQ"]`, cmw.ErrSyntax, 7},
		{"wrong bracket", `["a/b","YQ"}`, cmw.ErrSyntax, 11},
		{"comment", `["a/b",/**/"YQ"]`, cmw.ErrSyntax, 7},
		{"type a Content-Format", `[263,"YQ"]`, cmw.ErrMediaType, 4},
		{"type veraison 30001", `[30001,"3q2-7w"]`, cmw.ErrMediaType, 6},
		{"type null", `[null,"YQ"]`, cmw.ErrMediaType, 5},
		{"type true", `[true,"YQ"]`, cmw.ErrMediaType, 5},
		{"type array", `[["a/b"],"YQ"]`, cmw.ErrMediaType, 2},
		{"type empty", `["","YQ"]`, cmw.ErrMediaType, 3},
		{"type no media type", `["not a media type !!","YQ"]`, cmw.ErrMediaType, 22},
		{"type not UTF-8", "[\"a/\xff\",\"YQ\"]", cmw.ErrMediaType, 6},
		{"value null", `["a/b",null]`, cmw.ErrValue, 11},
		{"value true", `["a/b",true]`, cmw.ErrValue, 11},
		{"value number", `["a/b",1234]`, cmw.ErrValue, 11},
		{"value digit", `["a/b",0]`, cmw.ErrValue, 8},
		{"value object", `["a/b",{}]`, cmw.ErrValue, 8},
		{"value array", `["a/b",[]]`, cmw.ErrValue, 8},
		{"value empty", `["a/b",""]`, cmw.ErrEmptyValue, 9},
		{"value padded", `["a/b","YQ=="]`, cmw.ErrValue, 13},
		{"value of one character", `["a/b","Y"]`, cmw.ErrValue, 10},
		{"value standard alphabet", `["a/b","3q2+7w"]`, cmw.ErrValue, 15},
		{"value with trailing bits", `["a/b","YR"]`, cmw.ErrValue, 11},
		{"value with line feed", `["a/b","Y\nQ"]`, cmw.ErrValue, 13},
		{"value with carriage return", `["a/b","YQ\r"]`, cmw.ErrValue, 13},
		{"value with space", `["a/b","Y Q"]`, cmw.ErrValue, 12},
		{"indicator zero", `["a/b","YQ",0]`, cmw.ErrIndicator, 13},
		{"indicator 32", `["a/b","YQ",32]`, cmw.ErrIndicator, 14},
		{"indicator 2^40", `["a/b","YQ",1099511627776]`, cmw.ErrIndicator, 25},
		{"indicator negative", `["a/b","YQ",-4]`, cmw.ErrIndicator, 14},
		{"indicator with fraction", `["a/b","YQ",4.0]`, cmw.ErrIndicator, 15},
		{"indicator with exponent", `["a/b","YQ",4e0]`, cmw.ErrIndicator, 15},
		{"indicator text", `["a/b","YQ","4"]`, cmw.ErrIndicator, 15},
		{"indicator null", `["a/b","YQ",null]`, cmw.ErrIndicator, 16},
	})
}

func TestDecodeRefusesJSONCollections(t *testing.T) {
	const rec = `["a/b","YQ"]`
	testRefusals(t, []refusal{
		{"empty", `{}`, cmw.ErrEmptyCollection, 2},
		{"type alone", `{"__cmwc_t":"a:b"}`, cmw.ErrEmptyCollection, 18},
		{"empty inside", `{"a":{}}`, cmw.ErrEmptyCollection, 7},
		{"trailing bracket", `{"a":` + rec + `}}`, cmw.ErrTrailing, 18},
		{"trailing comma", `{"a":` + rec + `,}`, cmw.ErrSyntax, 18},
		{"unquoted label", `{a:` + rec + `}`, cmw.ErrSyntax, 1},
		{"unfinished", `{"a":` + rec, cmw.ErrSyntax, 17},
		{"duplicate", `{"a":` + rec + `,"a":` + rec + `}`, cmw.ErrDuplicateLabel, 21},
		{"duplicate, escaped", `{"a":` + rec + `,"\u0061":` + rec + `}`, cmw.ErrDuplicateLabel, 26},
		{"duplicate inside", `{"b":{"a":` + rec + `,"a":` + rec + `}}`, cmw.ErrDuplicateLabel, 26},
		{"duplicate type", `{"__cmwc_t":"a:b","__cmwc_t":"a:b","a":` + rec + `}`, cmw.ErrDuplicateLabel, 28},
		{"label empty", `{"":` + rec + `}`, cmw.ErrLabel, 3},
		{"label blank", `{"  ":` + rec + `}`, cmw.ErrLabel, 5},
		{"label not UTF-8", "{\"\xff\":" + rec + "}", cmw.ErrLabel, 4},
		{"label unpaired surrogate", `{"\ud800":` + rec + `}`, cmw.ErrLabel, 9},
		{"type is a record", `{"__cmwc_t":` + rec + `}`, cmw.ErrCollectionType, 13},
		{"type relative", `{"__cmwc_t":"a","a":` + rec + `}`, cmw.ErrCollectionType, 15},
		{"type null", `{"__cmwc_t":null,"a":` + rec + `}`, cmw.ErrCollectionType, 16},
		{"item null", `{"a":null}`, cmw.ErrSyntax, 9},
		{"item text", `{"a":"b"}`, cmw.ErrSyntax, 8},
		{"item number", `{"a":1}`, cmw.ErrSyntax, 6},
		{"JWS flattened, payload first", `{"payload":"YQ","protected":"YQ","signature":"YQ"}`, cmw.ErrSigned, 15},
		{"JWS flattened, protected first", `{"protected":"YQ","payload":"YQ","signature":"YQ"}`, cmw.ErrSigned, 17},
		{"JWS flattened, signature first", `{"signature":"YQ","protected":"YQ","payload":"YQ"}`, cmw.ErrSigned, 17},
	})
}

// Inputs that make the libraries panic, or did (regressions of known crashers).
func TestDecodeLibraryCrashers(t *testing.T) {
	testRefusals(t, []refusal{
		{"tag cut at its head", "da", cmw.ErrSyntax, 0},
		{"long tag cut at its head", "db", cmw.ErrTag, 0},
		{"tag cut in its number", "da6374", cmw.ErrSyntax, 0},
		{"JSON value of one byte", `["",0]`, cmw.ErrMediaType, 3},
		{"JSON value of one byte, good type", `["a/b",5]`, cmw.ErrValue, 8},
	})
}

// A negative label makes the library's listing of a collection panic; it is a good label.
func TestDecodeNegativeLabel(t *testing.T) {
	t.Parallel()
	m, err := cmw.Decode(unhex("a22082190107410161618219010741ff"))
	require.NoError(t, err)
	require.Equal(t, []cmw.Leaf{
		{Path: path(cmw.IntLabel(-1)), MediaType: "application/eat+cwt", Value: []byte{1}},
		{Path: path(cmw.TextLabel("a")), MediaType: "application/eat+cwt", Value: []byte{0xff}},
	}, m.Leaves())
}
