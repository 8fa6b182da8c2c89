package cmw_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/expat-go/expat/cmw"
	"github.com/stretchr/testify/require"
)

func newRecord(t *testing.T, mediaType, value string, ind cmw.Indicator) *cmw.Message {
	t.Helper()
	m, err := cmw.NewRecord(mediaType, []byte(value), ind)
	require.NoError(t, err)
	return m
}

func newCollection(t *testing.T, ctype string, items ...cmw.Item) *cmw.Message {
	t.Helper()
	m, err := cmw.NewCollection(ctype, items)
	require.NoError(t, err)
	return m
}

func TestNewRecord(t *testing.T) {
	t.Parallel()
	value := []byte{1, 2}
	m, err := cmw.NewRecord("application/eat+cwt", value, cmw.Evidence)
	require.NoError(t, err)
	value[0] = 9
	m.Value()[0] = 9
	require.Equal(t, []byte{1, 2}, m.Value(), "the message shares no memory with its caller")
	require.Equal(t, cmw.KindRecord, m.Kind())
	require.Equal(t, "application/eat+cwt", m.MediaType())
	require.Equal(t, cmw.Evidence, m.Indicator())
	_, ok := m.ContentFormat()
	require.False(t, ok, "a record is written with its media type")
	require.Empty(t, m.CollectionType())
	require.Nil(t, m.Items())
	require.Equal(t, "83736170706c69636174696f6e2f6561742b63777442010204", mustCBOR(t, m))
	j, err := m.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, `["application/eat+cwt","AQI",4]`, string(j))

	for name, c := range map[string]struct {
		mediaType string
		value     []byte
		ind       cmw.Indicator
		want      error
	}{
		"no media type":   {"", value, 0, cmw.ErrMediaType},
		"bad media type":  {"eat", value, 0, cmw.ErrMediaType},
		"no value":        {"a/b", nil, 0, cmw.ErrEmptyValue},
		"value too large": {"a/b", make([]byte, cmw.MaxSize+1), 0, cmw.ErrTooLarge},
		"indicator 32":    {"a/b", value, 32, cmw.ErrIndicator},
	} {
		m, err := cmw.NewRecord(c.mediaType, c.value, c.ind)
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, m, name)
	}
	_, err = cmw.NewRecord("a/b", value, 31)
	require.NoError(t, err)
	_, err = cmw.NewRecord("a/b", make([]byte, cmw.MaxSize), 0)
	require.NoError(t, err)
}

func TestNewTag(t *testing.T) {
	t.Parallel()
	m, err := cmw.NewTag("Application/EAT+cwt", []byte{1})
	require.NoError(t, err)
	require.Equal(t, cmw.KindTag, m.Kind())
	require.Equal(t, "application/eat+cwt", m.MediaType())
	cf, ok := m.ContentFormat()
	require.True(t, ok)
	require.EqualValues(t, 263, cf)
	require.Equal(t, "da637402094101", mustCBOR(t, m))
	_, err = m.MarshalJSON()
	require.ErrorIs(t, err, cmw.ErrNotJSON)

	for name, c := range map[string]struct {
		mediaType string
		value     []byte
		want      error
	}{
		"no content format":               {"application/vnd.expat-go.tpm2+cbor", []byte{1}, cmw.ErrContentFormat},
		"profile without content format":  {`application/eat+cwt; eat_profile="a:b"`, []byte{1}, cmw.ErrContentFormat},
		"empty media type":                {"", []byte{1}, cmw.ErrContentFormat},
		"tag of two meanings, 1668547092": {"application/cmw+json", []byte{1}, cmw.ErrAmbiguousTag},
		"tag of two meanings, 1668547093": {"application/cmw+cose", []byte{1}, cmw.ErrAmbiguousTag},
		"no value":                        {"application/eat+cwt", nil, cmw.ErrEmptyValue},
		"value too large":                 {"application/eat+cwt", make([]byte, cmw.MaxSize+1), cmw.ErrTooLarge},
	} {
		m, err := cmw.NewTag(c.mediaType, c.value)
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, m, name)
	}
}

func TestNewCollection(t *testing.T) {
	t.Parallel()
	rec := newRecord(t, "a/b", "a", 0)
	items := []cmw.Item{{Label: cmw.TextLabel("tpm"), Message: rec}, {Label: cmw.IntLabel(-7), Message: rec}}
	m := newCollection(t, "2.16.840", items...)
	items[0].Label = cmw.TextLabel("changed")
	m.Items()[0].Label = cmw.TextLabel("changed")
	require.Equal(t, []cmw.Item{
		{Label: cmw.TextLabel("tpm"), Message: rec}, {Label: cmw.IntLabel(-7), Message: rec},
	}, m.Items())
	require.Equal(t, cmw.KindCollection, m.Kind())
	require.Equal(t, "2.16.840", m.CollectionType())
	require.Empty(t, m.MediaType())
	require.Nil(t, m.Value())
	require.Zero(t, m.Indicator())
	require.Equal(t, "a3"+"26"+recAB+"6374706d"+recAB+cmwct+"68322e31362e383430", mustCBOR(t, m))
	_, err := m.MarshalJSON()
	require.ErrorIs(t, err, cmw.ErrNotJSON, "integer label")

	full := make([]cmw.Item, cmw.MaxLeaves+1)
	for i := range full {
		full[i] = cmw.Item{Label: cmw.IntLabel(int64(i)), Message: rec}
	}
	_, err = cmw.NewCollection("", full[:cmw.MaxLeaves])
	require.NoError(t, err)
	deep := rec
	for range cmw.MaxDepth - 1 {
		deep = newCollection(t, "", cmw.Item{Label: cmw.IntLabel(1), Message: deep})
	}

	item := func(l cmw.Label, m *cmw.Message) []cmw.Item { return []cmw.Item{{Label: l, Message: m}} }
	for name, c := range map[string]struct {
		ctype string
		items []cmw.Item
		want  error
	}{
		"relative type":   {"a", items, cmw.ErrCollectionType},
		"empty":           {"", nil, cmw.ErrEmptyCollection},
		"zero label":      {"", item(cmw.Label{}, rec), cmw.ErrLabel},
		"blank label":     {"", item(cmw.TextLabel(" "), rec), cmw.ErrLabel},
		"label not UTF-8": {"", item(cmw.TextLabel("\xff"), rec), cmw.ErrLabel},
		"reserved label":  {"", item(cmw.TextLabel("__cmwc_t"), rec), cmw.ErrLabel},
		"duplicate label": {"", append(item(cmw.IntLabel(1), rec), item(cmw.IntLabel(1), rec)...), cmw.ErrDuplicateLabel},
		"nil message":     {"", item(cmw.IntLabel(1), nil), cmw.ErrInvalidMessage},
		"zero message":    {"", item(cmw.IntLabel(1), new(cmw.Message)), cmw.ErrInvalidMessage},
		"too deep":        {"", item(cmw.IntLabel(1), deep), cmw.ErrTooDeep},
		"too many leaves": {"", full, cmw.ErrTooManyLeaves},
	} {
		m, err := cmw.NewCollection(c.ctype, c.items)
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, m, name)
	}
}

func TestCollectionType(t *testing.T) {
	t.Parallel()
	rec := newRecord(t, "a/b", "a", 0)
	for ctype, valid := range map[string]bool{
		"tag:example.com,2024:a":        true,
		"https://example.com/p?q=%20":   true,
		"urn:uuid:0-1":                  true,
		"http://[::1]:8080/":            true,
		"1.3.6.1.5.5.7.1.35":            true,
		"2":                             true,
		"2.0.1":                         true,
		"3.1":                           false,
		"1.01":                          false,
		"1.":                            false,
		".1.2":                          false,
		"a":                             false,
		"a:":                            false,
		"/a":                            false,
		"//host/a":                      false,
		"http://host:port/":             false,
		"https://example.com/#fragment": false,
		"tag:a b":                       false,
		"tag:a%2":                       false,
		"tag:é":                         false,
		" tag:a":                        false,
		"tag:a\n":                       false,
	} {
		_, err := cmw.NewCollection(ctype, []cmw.Item{{Label: cmw.IntLabel(1), Message: rec}})
		if valid {
			require.NoError(t, err, ctype)
		} else {
			require.ErrorIs(t, err, cmw.ErrCollectionType, ctype)
		}
	}
}

// A record typed by a known Content-Format keeps it in CBOR and has its media type in JSON.
func TestContentFormatRecord(t *testing.T) {
	t.Parallel()
	eat, err := cmw.Decode(unhex("82190107" + "4101"))
	require.NoError(t, err)
	require.Equal(t, "application/eat+cwt", eat.MediaType())
	j, err := eat.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, `["application/eat+cwt","AQ"]`, string(j))
	require.Equal(t, "821901074101", mustCBOR(t, eat))
	require.False(t, eat.Equal(newRecord(t, "application/eat+cwt", "\x01", 0)), "one has a Content-Format, one has not")
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	var zero cmw.Message
	_, err := zero.MarshalCBOR()
	require.ErrorIs(t, err, cmw.ErrInvalidMessage)
	_, err = zero.MarshalJSON()
	require.ErrorIs(t, err, cmw.ErrInvalidMessage)
	require.Equal(t, "invalid", zero.Kind().String())

	rec := newRecord(t, "a/b", "a", 0)
	tag, err := cmw.NewTag("application/eat+cwt", []byte{1})
	require.NoError(t, err)
	for name, m := range map[string]*cmw.Message{
		"tag inside":          newCollection(t, "", cmw.Item{Label: cmw.TextLabel("a"), Message: rec}, cmw.Item{Label: cmw.TextLabel("b"), Message: tag}),
		"number label inside": newCollection(t, "", cmw.Item{Label: cmw.TextLabel("a"), Message: newCollection(t, "", cmw.Item{Label: cmw.IntLabel(1), Message: rec})}),
	} {
		_, err = m.MarshalJSON()
		require.ErrorIs(t, err, cmw.ErrNotJSON, name)
		_, err = m.MarshalCBOR()
		require.NoError(t, err, name)
	}
}

// A message decoded from JSON can be written in CBOR: the library alone panics here.
func TestJSONToCBOR(t *testing.T) {
	t.Parallel()
	m, err := cmw.Decode([]byte(`{ "b" : [ "a\/b" , "Y\u0051" ] , "a" : ["a/b","YQ",4] }`))
	require.NoError(t, err)
	require.Equal(t, "a2"+"6161"+"83"+mtAB+valA+"04"+"6162"+recAB, mustCBOR(t, m))
	j, err := m.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, `{"a":["a/b","YQ",4],"b":["a/b","YQ"]}`, string(j))
	labels := []string{m.Items()[0].Label.String(), m.Items()[1].Label.String()}
	require.Equal(t, []string{"b", "a"}, labels, "wire order")
}

func TestLeavesPaths(t *testing.T) {
	t.Parallel()
	rec := newRecord(t, "a/b", "a", 0)
	inner := newCollection(t, "", cmw.Item{Label: cmw.IntLabel(1), Message: rec}, cmw.Item{Label: cmw.IntLabel(2), Message: rec})
	m := newCollection(t, "", cmw.Item{Label: cmw.TextLabel("x"), Message: inner}, cmw.Item{Label: cmw.TextLabel("y"), Message: inner})
	var paths [][]cmw.Label
	for _, leaf := range m.Leaves() {
		paths = append(paths, leaf.Path)
	}
	x, y, one, two := cmw.TextLabel("x"), cmw.TextLabel("y"), cmw.IntLabel(1), cmw.IntLabel(2)
	require.Equal(t, [][]cmw.Label{{x, one}, {x, two}, {y, one}, {y, two}}, paths)
	require.Empty(t, rec.Leaves()[0].Path)
}

func TestEqual(t *testing.T) {
	t.Parallel()
	a, b := cmw.TextLabel("a"), cmw.TextLabel("b")
	rec, other := newRecord(t, "a/b", "a", 0), newRecord(t, "a/b", "b", 0)
	base := newCollection(t, "a:b", cmw.Item{Label: a, Message: rec}, cmw.Item{Label: b, Message: other})
	require.True(t, base.Equal(newCollection(t, "a:b", cmw.Item{Label: b, Message: other}, cmw.Item{Label: a, Message: rec})))
	for name, m := range map[string]*cmw.Message{
		"nil":        nil,
		"kind":       rec,
		"type":       newCollection(t, "a:c", base.Items()...),
		"fewer":      newCollection(t, "a:b", base.Items()[:1]...),
		"label":      newCollection(t, "a:b", cmw.Item{Label: a, Message: rec}, cmw.Item{Label: cmw.IntLabel(1), Message: other}),
		"item value": newCollection(t, "a:b", cmw.Item{Label: a, Message: rec}, cmw.Item{Label: b, Message: rec}),
	} {
		require.False(t, base.Equal(m), name)
	}
	for name, m := range map[string]*cmw.Message{
		"media type": newRecord(t, "a/c", "a", 0),
		"value":      other,
		"indicator":  newRecord(t, "a/b", "a", 1),
	} {
		require.False(t, rec.Equal(m), name)
	}
	require.True(t, (*cmw.Message)(nil).Equal(nil))
	require.False(t, (*cmw.Message)(nil).Equal(rec))
}

func TestLabel(t *testing.T) {
	t.Parallel()
	text, number := cmw.TextLabel("1"), cmw.IntLabel(1)
	require.NotEqual(t, text, number)
	require.Equal(t, text.String(), number.String())
	s, ok := text.Text()
	require.True(t, ok)
	require.Equal(t, "1", s)
	_, ok = text.Int()
	require.False(t, ok)
	n, ok := number.Int()
	require.True(t, ok)
	require.EqualValues(t, 1, n)
	_, ok = number.Text()
	require.False(t, ok)
}

func TestNames(t *testing.T) {
	t.Parallel()
	for ind, name := range map[cmw.Indicator]string{
		0:                      "none",
		cmw.ReferenceValues:    "reference-values",
		cmw.Endorsements:       "endorsements",
		cmw.Evidence:           "evidence",
		cmw.AttestationResults: "attestation-results",
		cmw.AppraisalPolicy:    "appraisal-policy",
		12:                     "evidence|attestation-results",
		96 | cmw.Evidence:      "evidence|0x60",
	} {
		require.Equal(t, name, ind.String())
	}
	require.EqualValues(t, 16, cmw.AppraisalPolicy)
	for kind, name := range map[cmw.Kind]string{
		cmw.KindRecord: "record", cmw.KindTag: "tag", cmw.KindCollection: "collection", 0: "invalid", 4: "invalid",
	} {
		require.Equal(t, name, kind.String())
	}
}

// F-3: what the peer sent is not in the error text.
func TestErrorsDoNotQuote(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{
		`["secret","YQ"]`, `["a/b","secret*"]`, `{"secret":1}`, `{"__cmwc_t":"secret"}`, `["a/b","YQ",secret]`,
		"8266736563726574" + valA, "a1" + "66736563726574" + "01",
	} {
		_, err := cmw.Decode(wireBytes(wire))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}

// F-3: a message that is printed or logged shows no value.
func TestLogsNoValue(t *testing.T) {
	t.Parallel()
	rec := newRecord(t, "a/b", "secret", 0)
	for want, m := range map[string]*cmw.Message{
		`CMW record "a/b", 6 bytes`: rec,
		"CMW collection, 1 leaves":  newCollection(t, "", cmw.Item{Label: cmw.IntLabel(1), Message: rec}),
		"invalid CMW":               {},
	} {
		require.Equal(t, want, fmt.Sprintf("%v", m))
		require.Equal(t, want, fmt.Sprintf("%+v", m))
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("received", "message", m)
		var line struct{ Message string }
		require.NoError(t, json.Unmarshal(log.Bytes(), &line))
		require.Equal(t, want, line.Message)
	}
}

// The decoded message keeps no reference to its input.
func TestDecodeCopies(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		wire := wireBytes(v.wire)
		m, err := cmw.Decode(wire)
		require.NoError(t, err)
		copy(wire, bytes.Repeat([]byte{0xaa}, len(wire)))
		require.Equal(t, v.leaves, m.Leaves(), v.name)
	}
}
