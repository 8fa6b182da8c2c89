package wire

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

var goldenHello = HelloMap{
	WillRequest: true, CanAttest: true, MediaTypes: []string{"a/b", "c/d"},
	Models: BackgroundCheck | Passport, MaxAuthenticator: 262144,
}

// Deterministic CBOR: keys ascend, integers are shortest.
const goldenHelloHex = "a7 0001 01f5 02f5 0382 63612f62 63632f64 0403 05f4 061a00040000"

func TestHelloGolden(t *testing.T) {
	t.Parallel()
	for want, h := range map[string]HelloMap{
		goldenHelloHex:                         goldenHello,
		"a6 0001 01f4 02f5 0400 05f4 0600":     {CanAttest: true},
		"a6 0001 01f4 02f4 0402 05f5 06190100": {Models: Passport, Mux: true, MaxAuthenticator: 256},
	} {
		b, err := h.Encode()
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(want, " ", ""), hex.EncodeToString(b))
		got, err := ParseHello(b)
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

func TestResultGolden(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]ResultMap{
		"a1 0000":              {},
		"a1 0007":              {Code: 7},
		"a2 0000 0119 0e10":    {Lifetime: time.Hour},
		"a2 0019ffff 0101":     {Code: 65535, Lifetime: time.Second},
		"a2 0000 011a80000000": {Lifetime: maxLifetime * time.Second},
	} {
		b, err := r.Encode()
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(want, " ", ""), hex.EncodeToString(b))
		got, err := ParseResult(b)
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
	b, err := ResultMap{Lifetime: 1999 * time.Millisecond}.Encode()
	require.NoError(t, err)
	require.Equal(t, "a200000101", hex.EncodeToString(b), "a part of a second is left off: never longer than meant")
}

func TestHelloAccepts(t *testing.T) {
	t.Parallel()
	minimal := HelloMap{MaxAuthenticator: DefaultMaxAuthenticator}
	for name, c := range map[string]struct {
		in   string
		want HelloMap
	}{
		"only the required keys":    {"a3 0001 01f4 02f4", minimal},
		"any order":                 {"a3 02f4 0001 01f4", minimal},
		"unknown uint key":          {"a4 0001 01f4 02f4 0700", minimal},
		"unknown key far away":      {"a4 0001 01f4 02f4 1affffffff 83010203", minimal},
		"unknown negative key":      {"a4 0001 01f4 02f4 20f6", minimal},
		"unknown text key":          {"a4 0001 01f4 02f4 6130 fb3ff0000000000000", minimal},
		"unknown null":              {"a4 0001 01f4 02f4 07f6", minimal},
		"unknown nested to 4":       {"a4 0001 01f4 02f4 07 81818100", minimal},
		"float zero is not key 0":   {"a4 0001 01f4 02f4 f90000 07", minimal},
		"no limit is told":          {"a3 0001 01f4 02f5", HelloMap{CanAttest: true, MaxAuthenticator: DefaultMaxAuthenticator}},
		"a limit of zero":           {"a4 0001 01f4 02f4 0600", HelloMap{}},
		"limit of a mebibyte":       {"a4 0001 01f4 02f4 061a00100000", HelloMap{MaxAuthenticator: MaxMaxAuthenticator}},
		"limit cut to a mebibyte":   {"a4 0001 01f4 02f4 061a00100001", HelloMap{MaxAuthenticator: MaxMaxAuthenticator}},
		"limit of 2^63-1":           {"a4 0001 01f4 02f4 061b7fffffffffffffff", HelloMap{MaxAuthenticator: MaxMaxAuthenticator}},
		"unknown models bits":       {"a4 0001 01f4 02f4 0418ff", HelloMap{Models: 255, MaxAuthenticator: DefaultMaxAuthenticator}},
		"one media type of 1 byte":  {"a4 0001 01f5 02f4 038161 61", HelloMap{WillRequest: true, MediaTypes: []string{"a"}, MaxAuthenticator: DefaultMaxAuthenticator}},
		"integers that are padded":  {"a3 1800 190001 01f4 02f4", minimal},
		"16 media types":            {"a4 0001 01f5 02f4 0390" + strings.Repeat("6161", 16), HelloMap{WillRequest: true, MediaTypes: strings.Split(strings.Repeat("a", 16), ""), MaxAuthenticator: DefaultMaxAuthenticator}},
		"media type of 255 bytes":   {"a4 0001 01f5 02f4 0381 78ff" + strings.Repeat("61", 255), HelloMap{WillRequest: true, MediaTypes: []string{strings.Repeat("a", 255)}, MaxAuthenticator: DefaultMaxAuthenticator}},
		"64 keys, 61 of them wrong": {"b840 0001 01f4 02f4" + unknown(61), minimal},
	} {
		got, err := ParseHello(unhex(t, c.in))
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

// unknown is n pairs with keys from 100 on.
func unknown(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "18%02x00", 100+i)
	}
	return s.String()
}

func TestHelloRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"nothing":                 "",
		"no map":                  "80",
		"null":                    "f6",
		"text":                    "6161",
		"tagged map":              "d9d9f7 a3 0001 01f4 02f4",
		"empty map":               "a0",
		"half a map":              "a3 0001 01f4 02",
		"indefinite map":          "bf 0001 01f4 02f4 ff",
		"trailing byte":           "a3 0001 01f4 02f4 00",
		"key 0 twice":             "a4 0001 0001 01f4 02f4",
		"key 0 twice, padded":     "a4 0001 180001 01f4 02f4",
		"unknown key twice":       "a5 0001 01f4 02f4 0700 0700",
		"version missing":         "a2 01f4 02f4",
		"will-request missing":    "a2 0001 02f4",
		"can-attest missing":      "a2 0001 01f4",
		"version 0":               "a3 0000 01f4 02f4",
		"version 2":               "a3 0002 01f4 02f4",
		"version null":            "a3 00f6 01f4 02f4",
		"version float":           "a3 00f93c00 01f4 02f4",
		"version negative":        "a3 0020 01f4 02f4",
		"version bool":            "a3 00f5 01f4 02f4",
		"version tagged":          "a3 00c101 01f4 02f4",
		"version bignum":          "a3 00c24101 01f4 02f4",
		"version text":            "a3 006131 01f4 02f4",
		"version 2^63":            "a3 001b8000000000000000 01f4 02f4",
		"will-request null":       "a3 0001 01f6 02f4",
		"will-request undefined":  "a3 0001 01f7 02f4",
		"will-request uint":       "a3 0001 0101 02f4",
		"will-request simple":     "a3 0001 01e0 02f4",
		"can-attest null":         "a3 0001 01f4 02f6",
		"can-attest float":        "a3 0001 01f4 02f90000",
		"media types missing":     "a3 0001 01f5 02f4",
		"media types unasked":     "a4 0001 01f4 02f4 03816161",
		"media types empty":       "a4 0001 01f5 02f4 0380",
		"media types null":        "a4 0001 01f5 02f4 03f6",
		"media types one text":    "a4 0001 01f5 02f4 036161",
		"media types indefinite":  "a4 0001 01f5 02f4 039f6161ff",
		"media types 17":          "a4 0001 01f5 02f4 0391" + strings.Repeat("6161", 17),
		"media type empty":        "a4 0001 01f5 02f4 038160",
		"media type null":         "a4 0001 01f5 02f4 0381f6",
		"media type bytes":        "a4 0001 01f5 02f4 03814161",
		"media type tagged":       "a4 0001 01f5 02f4 0381c06161",
		"media type in chunks":    "a4 0001 01f5 02f4 03817f6161ff",
		"media type not UTF-8":    "a4 0001 01f5 02f4 038161ff",
		"media type of 256 bytes": "a4 0001 01f5 02f4 0381 790100" + strings.Repeat("61", 256),
		"models null":             "a4 0001 01f4 02f4 04f6",
		"models negative":         "a4 0001 01f4 02f4 0420",
		"models float":            "a4 0001 01f4 02f4 04f93c00",
		"models 2^63":             "a4 0001 01f4 02f4 041b8000000000000000",
		"mux null":                "a4 0001 01f4 02f4 05f6",
		"mux uint":                "a4 0001 01f4 02f4 0501",
		"limit null":              "a4 0001 01f4 02f4 06f6",
		"limit negative":          "a4 0001 01f4 02f4 0620",
		"limit float":             "a4 0001 01f4 02f4 06f97c00",
		"limit 2^63":              "a4 0001 01f4 02f4 061b8000000000000000",
		"unknown tagged":          "a4 0001 01f4 02f4 07c000",
		"unknown indefinite":      "a4 0001 01f4 02f4 079fff",
		"unknown nested to 5":     "a4 0001 01f4 02f4 07 8181818100",
		"unknown array of 17":     "a4 0001 01f4 02f4 0791" + strings.Repeat("00", 17),
		"key that is an array":    "a4 0001 01f4 02f4 8000",
		"65 keys":                 "b841 0001 01f4 02f4" + unknown(62),
	} {
		got, err := ParseHello(unhex(t, in))
		require.ErrorIs(t, err, ErrMap, name)
		require.Zero(t, got, name)
	}
	_, err := ParseHello(make([]byte, MaxHello+1))
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestResultRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"nothing":            "",
		"no map":             "00",
		"empty map":          "a0",
		"indefinite map":     "bf0000ff",
		"trailing byte":      "a1000000",
		"code twice":         "a200000001",
		"code missing":       "a10101",
		"code null":          "a100f6",
		"code negative":      "a10020",
		"code float":         "a100f90000",
		"code bool":          "a100f4",
		"code tagged":        "a100c100",
		"code 65536":         "a1001a00010000",
		"lifetime zero":      "a200000100",
		"lifetime null":      "a2000001f6",
		"lifetime negative":  "a200000120",
		"lifetime float":     "a2000001f93c00",
		"lifetime tagged":    "a2000001c101",
		"lifetime bignum":    "a2000001c249010000000000000000",
		"lifetime too broad": "a20000011c",
	} {
		got, err := ParseResult(unhex(t, in))
		require.ErrorIs(t, err, ErrMap, name)
		require.Zero(t, got, name)
	}
	_, err := ParseResult(make([]byte, MaxResult+1))
	require.ErrorIs(t, err, ErrTooLarge)

	longest := ResultMap{Lifetime: maxLifetime * time.Second}
	for _, in := range []string{"a20000011a80000000", "a20000011a80000001", "a20000011bffffffffffffffff"} {
		got, err := ParseResult(unhex(t, in))
		require.NoError(t, err)
		require.Equal(t, longest, got, "cut, no overflow")
	}
	got, err := ParseResult(unhex(t, "a30000010102f6"))
	require.NoError(t, err)
	require.Equal(t, ResultMap{Lifetime: time.Second}, got, "unknown keys are ignored")
}

// What cannot be parsed is not sent.
func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 255)
	for name, c := range map[string]struct {
		h    HelloMap
		want error
	}{
		"no media type":     {HelloMap{WillRequest: true}, ErrMap},
		"empty media type":  {HelloMap{WillRequest: true, MediaTypes: []string{""}}, ErrMap},
		"256 bytes":         {HelloMap{WillRequest: true, MediaTypes: []string{long + "a"}}, ErrMap},
		"17 media types":    {HelloMap{WillRequest: true, MediaTypes: strings.Split(strings.Repeat("a", 17), "")}, ErrMap},
		"not UTF-8":         {HelloMap{WillRequest: true, MediaTypes: []string{"\xff"}}, ErrMap},
		"negative limit":    {HelloMap{MaxAuthenticator: -1}, ErrMap},
		"more than 4096":    {HelloMap{WillRequest: true, MediaTypes: strings.Split(strings.Repeat(long+" ", 16)[:16*256-1], " ")}, ErrTooLarge},
		"models too large":  {HelloMap{Models: 1 << 63}, ErrMap},
		"no type among two": {HelloMap{WillRequest: true, MediaTypes: []string{"a", ""}}, ErrMap},
	} {
		_, err := c.h.Encode()
		require.ErrorIs(t, err, c.want, name)
	}
	for _, d := range []time.Duration{-1, -time.Second, -time.Hour, 1, time.Second - 1} {
		_, err := ResultMap{Lifetime: d}.Encode()
		require.ErrorIs(t, err, ErrMap, "%v", d)
	}
}
