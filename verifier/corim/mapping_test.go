package corim_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/verifier/corim"
)

func unsigned() corim.Options {
	o := options()
	o.AcceptUnsignedFromAnyone = true
	return o
}

func tag(number uint64, content any) cbor.Tag { return cbor.Tag{Number: number, Content: content} }

var uuid, _ = hex.DecodeString("31fb5abf023e4992aa4e95f9c1503bfa")

// What a policy cannot express, or what is malformed, is refused; one change each.
func TestRefused(t *testing.T) {
	t.Parallel()
	good := []any{1, digest("good")}
	for name, c := range map[string]struct {
		change func(d *draft)
		want   error
	}{
		"good": {func(*draft) {}, nil},
		// corim-map
		"no profile":            {func(d *draft) { delete(d.manifest, 3) }, corim.ErrProfile},
		"another profile":       {func(d *draft) { d.manifest[3] = "https://other.example" }, corim.ErrProfile},
		"a second profile":      {func(d *draft) { d.manifest[3] = []any{profile, "https://other.example"} }, corim.ErrProfile},
		"OID profile":           {func(d *draft) { d.manifest[3] = tag(111, []byte{0x2a, 0x03, 0x04}) }, corim.ErrProfile},
		"list of profiles":      {func(d *draft) { d.manifest[3] = []any{profile} }, nil},
		"profile without tag":   {func(d *draft) { d.manifest[3] = profile }, nil},
		"profile is a number":   {func(d *draft) { d.manifest[3] = 1 }, corim.ErrFormat},
		"empty list":            {func(d *draft) { d.manifest[3] = []any{} }, corim.ErrFormat},
		"profile of other tag":  {func(d *draft) { d.manifest[3] = tag(33, profile) }, corim.ErrFormat},
		"expired":               {func(d *draft) { d.manifest[4] = m{1: at(now.Add(-time.Second))} }, corim.ErrExpired},
		"ends now":              {func(d *draft) { d.manifest[4] = m{1: at(now)} }, nil},
		"not yet valid":         {func(d *draft) { d.manifest[4] = m{0: at(now.Add(time.Second)), 1: at(now.Add(time.Hour))} }, corim.ErrNotYetValid},
		"no id":                 {func(d *draft) { delete(d.manifest, 0) }, corim.ErrFormat},
		"empty id":              {func(d *draft) { d.manifest[0] = "" }, corim.ErrFormat},
		"long id":               {func(d *draft) { d.manifest[0] = strings.Repeat("x", 257) }, corim.ErrFormat},
		"longest id":            {func(d *draft) { d.manifest[0] = strings.Repeat("x", 256) }, nil},
		"id is a number":        {func(d *draft) { d.manifest[0] = 1 }, corim.ErrFormat},
		"no tags":               {func(d *draft) { d.manifest[1] = []any{} }, corim.ErrFormat},
		"dependent RIMs":        {func(d *draft) { d.manifest[2] = []any{m{0: tag(32, "https://x")}} }, corim.ErrUnsupported},
		"unknown field":         {func(d *draft) { d.manifest[6] = 1 }, corim.ErrUnsupported},
		"entities":              {func(d *draft) { d.manifest[5] = []any{m{0: "ACME", 2: []any{1}}} }, nil},
		"a CoSWID":              {func(d *draft) { d.manifest[1] = []any{tag(505, []byte{0xa0})} }, corim.ErrUnsupported},
		"an unknown tag":        {func(d *draft) { d.manifest[1] = []any{tag(999, []byte{0xa0})} }, corim.ErrUnsupported},
		"a tag that is none":    {func(d *draft) { d.manifest[1] = []any{1} }, corim.ErrFormat},
		"bytes that are no tag": {func(d *draft) { d.manifest[1] = []any{[]byte{0xa0}} }, corim.ErrFormat},
		"empty bytes":           {func(d *draft) { d.manifest[1] = []any{[]byte{}} }, corim.ErrFormat},
		"CoMID not in bytes":    {func(d *draft) { d.manifest[1] = []any{tag(506, m{})} }, corim.ErrFormat},
		// CoMID
		"no tag-id":        {func(d *draft) { d.comid[1] = m{1: 0} }, corim.ErrFormat},
		"linked tags":      {func(d *draft) { d.comid[3] = []any{m{0: "x", 1: 1}} }, corim.ErrUnsupported},
		"unknown in CoMID": {func(d *draft) { d.comid[5] = 1 }, corim.ErrUnsupported},
		"no triples":       {func(d *draft) { d.comid[4] = m{} }, corim.ErrNoValues},
		"empty triples":    {func(d *draft) { d.comid[4] = m{0: []any{}} }, corim.ErrNoValues},
		"null triples":     {func(d *draft) { d.comid[4] = m{0: nil} }, corim.ErrFormat},
		"triple too short": {func(d *draft) { d.triple = []any{d.environment} }, corim.ErrFormat},
		"no measurements":  {func(d *draft) { d.measurements = []any{} }, corim.ErrFormat},
		// environment
		"empty environment":    {func(d *draft) { d.class = nil }, corim.ErrFormat},
		"group":                {func(d *draft) { d.environment[2] = tag(37, uuid) }, corim.ErrUnsupported},
		"layer":                {func(d *draft) { d.class[3] = 1 }, corim.ErrUnsupported},
		"index":                {func(d *draft) { d.class[4] = 1 }, corim.ErrUnsupported},
		"class id":             {func(d *draft) { d.class[0] = tag(37, uuid) }, corim.ErrUnsupported},
		"empty vendor":         {func(d *draft) { d.class[1] = "" }, corim.ErrFormat},
		"unknown in class":     {func(d *draft) { d.class[5] = 1 }, corim.ErrUnsupported},
		"instance by key":      {func(d *draft) { d.environment[1] = tag(557, []any{1, digest("key")}) }, corim.ErrFormat},
		"instance of svn type": {func(d *draft) { d.environment[1] = tag(552, 1) }, corim.ErrFormat},
		"instance untagged":    {func(d *draft) { d.environment[1] = []byte{1} }, corim.ErrFormat},
		"empty instance":       {func(d *draft) { d.environment[1] = tag(560, []byte{}) }, corim.ErrFormat},
		// measurement
		"no key":              {func(d *draft) { delete(d.measurement, 0) }, corim.ErrUnsupported},
		"empty key":           {func(d *draft) { d.measurement[0] = "" }, corim.ErrFormat},
		"long key":            {func(d *draft) { d.measurement[0] = strings.Repeat("x", 257) }, corim.ErrFormat},
		"key is bytes":        {func(d *draft) { d.measurement[0] = []byte("x") }, corim.ErrFormat},
		"PSA key":             {func(d *draft) { d.measurement[0] = tag(601, m{1: "BL", 5: digest("signer")}) }, corim.ErrUnsupported},
		"authorized by":       {func(d *draft) { d.measurement[2] = []any{tag(554, "k")} }, corim.ErrUnsupported},
		"no values":           {func(d *draft) { d.values = m{} }, corim.ErrFormat},
		"unknown measurement": {func(d *draft) { d.values[99] = 1 }, corim.ErrUnsupported},
		"raw value":           {func(d *draft) { d.values[4] = tag(560, []byte{1}) }, corim.ErrUnsupported},
		"masked raw value":    {func(d *draft) { d.values = m{4: tag(560, []byte{1}), 5: []byte{1}} }, corim.ErrUnsupported},
		"serial number":       {func(d *draft) { d.values[8] = "1" }, corim.ErrUnsupported},
		"crypto keys":         {func(d *draft) { d.values[13] = []any{tag(554, "k")} }, corim.ErrUnsupported},
		"range":               {func(d *draft) { d.values[15] = tag(564, []any{1, 2}) }, corim.ErrUnsupported},
		// digests
		"empty digests":     {func(d *draft) { d.values[2] = []any{} }, corim.ErrFormat},
		"SHA-1":             {func(d *draft) { d.values[2] = []any{[]any{0, make([]byte, 20)}} }, corim.ErrDigest},
		"SHA-1 by name":     {func(d *draft) { d.values[2] = []any{[]any{"sha-1", make([]byte, 20)}} }, corim.ErrDigest},
		"truncated SHA-256": {func(d *draft) { d.values[2] = []any{[]any{2, make([]byte, 16)}} }, corim.ErrDigest},
		"SHA3-224":          {func(d *draft) { d.values[2] = []any{[]any{9, make([]byte, 28)}} }, corim.ErrDigest},
		"31 bytes":          {func(d *draft) { d.values[2] = []any{[]any{1, make([]byte, 31)}} }, corim.ErrDigest},
		"33 bytes":          {func(d *draft) { d.values[2] = []any{[]any{1, make([]byte, 33)}} }, corim.ErrDigest},
		"SHA-256 as 384":    {func(d *draft) { d.values[2] = []any{[]any{7, make([]byte, 32)}} }, corim.ErrDigest},
		"twice SHA-256":     {func(d *draft) { d.values[2] = []any{good, []any{1, digest("other")}} }, corim.ErrDigest},
		"a bad one besides": {func(d *draft) { d.values[2] = []any{good, []any{0, make([]byte, 20)}} }, corim.ErrDigest},
		"a digest of three": {func(d *draft) { d.values[2] = []any{append(good, 1)} }, corim.ErrDigest},
		"digests no list":   {func(d *draft) { d.values[2] = digest("good") }, corim.ErrFormat},
		// versions
		"version with suffix":   {func(d *draft) { d.values[0] = m{0: "1.2-rc1", 1: 1} }, corim.ErrUnsupported},
		"alphanumeric version":  {func(d *draft) { d.values[0] = m{0: "1.2", 1: 3} }, corim.ErrUnsupported},
		"scheme by name":        {func(d *draft) { d.values[0] = m{0: "1.2", 1: "semver"} }, corim.ErrUnsupported},
		"unknown in version":    {func(d *draft) { d.values[0] = m{0: "1.2", 2: 1} }, corim.ErrUnsupported},
		"svn of ten digits":     {func(d *draft) { d.values[1] = 1000000000 }, corim.ErrUnsupported},
		"svn of nine digits":    {func(d *draft) { d.values[1] = 999999999 }, nil},
		"negative svn":          {func(d *draft) { d.values[1] = -1 }, corim.ErrFormat},
		"svn that is an int":    {func(d *draft) { d.values[1] = tag(551, 3) }, corim.ErrFormat},
		"svn of other type":     {func(d *draft) { d.values[1] = tag(37, uuid) }, corim.ErrFormat},
		"version and svn":       {func(d *draft) { d.values[0], d.values[1] = m{0: "1"}, 1 }, corim.ErrConflict},
		"version is text":       {func(d *draft) { d.values[0] = "1" }, corim.ErrFormat},
		"debug on":              {func(d *draft) { d.values[3] = m{3: true} }, corim.ErrUnsupported},
		"another flag":          {func(d *draft) { d.values[3] = m{3: false, 1: true} }, corim.ErrUnsupported},
		"no flags":              {func(d *draft) { d.values[3] = m{} }, corim.ErrUnsupported},
		"flag is a number":      {func(d *draft) { d.values[3] = m{3: 0} }, corim.ErrFormat},
		"flags alone":           {func(d *draft) { d.values = m{3: m{3: false}} }, corim.ErrUnsupported},
		"no registers":          {func(d *draft) { d.values[14] = m{} }, corim.ErrFormat},
		"registers no map":      {func(d *draft) { d.values[14] = 1 }, corim.ErrFormat},
		"register of index -1":  {func(d *draft) { d.values[14] = m{-1: []any{good}} }, corim.ErrFormat},
		"register without name": {func(d *draft) { d.values[14] = map[string]any{"": []any{good}} }, corim.ErrFormat},
		"register short":        {func(d *draft) { d.values[14] = m{1: []any{[]any{1, make([]byte, 8)}}} }, corim.ErrDigest},
		"register 1 and \"1\"":  {func(d *draft) { d.values[14] = map[any]any{1: []any{good}, "1": []any{good}} }, corim.ErrConflict},
		"a key twice in a state": {func(d *draft) {
			d.measurements = []any{m{0: "a", 1: m{2: []any{good}}}, m{0: "a", 1: m{2: []any{good}}}}
		}, corim.ErrConflict},
		"key 1 and \"1\"": {func(d *draft) { d.measurements = []any{m{0: 1, 1: m{2: []any{good}}}, m{0: "1", 1: m{1: 1}}} }, corim.ErrConflict},
	} {
		d := newDraft()
		c.change(d)
		_, err := corim.Parse(d.payload(t), unsigned())
		require.ErrorIs(t, err, c.want, name)
		if c.want == nil {
			require.NoError(t, err, name)
		}
	}
}

// Every kind of triple but reference values is refused.
func TestTriples(t *testing.T) {
	t.Parallel()
	for _, kind := range []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 99} {
		d := newDraft()
		d.payload(t)
		d.triples.(m)[kind] = []any{}
		delete(d.manifest, 1)
		_, err := corim.Parse(d.payload(t), unsigned())
		require.ErrorIs(t, err, corim.ErrUnsupported, "kind %d", kind)
		require.ErrorContains(t, err, `CoMID "comid-1"`)
	}
}

// Keys, registers and identifiers of each type map to the bytes and names that
// Evidence has.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]any{
		"launch": "launch", "17": 17, "31fb5abf-023e-4992-aa4e-95f9c1503bfa": tag(37, uuid), "1.2.3.4": tag(111, []byte{0x2a, 3, 4}),
	} {
		d := newDraft()
		d.measurement[0] = key
		r, err := corim.Parse(d.payload(t), unsigned())
		require.NoError(t, err, name)
		require.Equal(t, map[string][][]byte{name: {digest("good")}}, r.Measurements)
		o := unsigned()
		o.Names = map[string]string{name: "own"}
		r, err = corim.Parse(d.payload(t), o)
		require.NoError(t, err)
		require.Equal(t, map[string][][]byte{"own": {digest("good")}}, r.Measurements)
	}
	d := newDraft()
	delete(d.measurement, 0)
	o := unsigned()
	o.Names = map[string]string{"": "whole"}
	r, err := corim.Parse(d.payload(t), o)
	require.NoError(t, err)
	require.Contains(t, r.Measurements, "whole")

	d = newDraft()
	d.measurement[0], d.values = "pcr:sha256", m{14: map[any]any{0: []any{[]any{1, digest("0")}}, "x": []any{[]any{10, digest("x")}}}}
	r, err = corim.Parse(d.payload(t), unsigned())
	require.NoError(t, err)
	require.Equal(t, map[string][][]byte{"pcr:sha256:0": {digest("0")}, "pcr:sha256:x": {digest("x")}}, r.Measurements)

	two := newDraft()
	two.measurements = []any{m{0: "a", 1: m{2: []any{[]any{1, digest("a")}}}}, m{0: "b", 1: m{2: []any{[]any{1, digest("b")}}}}}
	o.Names = map[string]string{"a": "same", "b": "same"}
	_, err = corim.Parse(two.payload(t), o)
	require.ErrorIs(t, err, corim.ErrConflict)
}

func TestInstance(t *testing.T) {
	t.Parallel()
	ueid := append([]byte{1}, uuid...)
	for name, c := range map[string]struct {
		value any
		want  []byte
	}{"UEID": {tag(550, ueid), ueid}, "UUID": {tag(37, uuid), uuid}, "bytes": {tag(560, []byte{1, 2}), []byte{1, 2}}} {
		d := newDraft()
		d.environment[1] = c.value
		r, err := corim.Parse(d.payload(t), unsigned())
		require.NoError(t, err, name)
		require.Equal(t, [][]byte{c.want}, r.Instances)
	}
}

// A class identifier selects triples; others are left out, and one for every class is
// refused.
func TestClassID(t *testing.T) {
	t.Parallel()
	for id, value := range map[string]any{
		"uuid:31fb5abf-023e-4992-aa4e-95f9c1503bfa": tag(37, uuid),
		"oid:1.2.3.4": tag(111, []byte{0x2a, 3, 4}),
		"bytes:0102":  tag(560, []byte{1, 2}),
	} {
		d := newDraft()
		mine, other := m{0: value, 1: "ACME"}, m{0: tag(560, []byte{9})}
		d.triples = m{0: []any{
			[]any{m{0: mine}, []any{m{0: "launch", 1: m{2: []any{[]any{1, digest("mine")}}}}}},
			[]any{m{0: other}, []any{m{0: "launch", 1: m{2: []any{[]any{1, digest("other")}}}}}},
		}}
		o := unsigned()
		o.ClassID = id
		r, err := corim.Parse(d.payload(t), o)
		require.NoError(t, err, id)
		require.Equal(t, map[string][][]byte{"launch": {digest("mine")}}, r.Measurements)
		require.Empty(t, r.Rules)
		o.ClassID = "oid:1.2.9"
		_, err = corim.Parse(d.payload(t), o)
		require.ErrorIs(t, err, corim.ErrNoValues)
		_, err = corim.Parse(newDraft().payload(t), o)
		require.ErrorIs(t, err, corim.ErrUnsupported)
	}
	d := newDraft()
	d.class[0] = tag(552, 1)
	o := unsigned()
	o.ClassID = "oid:1.2.9"
	_, err := corim.Parse(d.payload(t), o)
	require.ErrorIs(t, err, corim.ErrFormat)
}

// A CoRIM has several CoMIDs; two of one tag-id would replace each other.
func TestSeveralTags(t *testing.T) {
	t.Parallel()
	tags := func(ids ...string) []byte {
		d := newDraft()
		var list []any
		for _, id := range ids {
			part := newDraft()
			part.comid[1], part.measurement[0] = m{0: id}, id
			part.payload(t)
			list = append(list, part.manifest[1].([]any)...)
		}
		d.manifest[1] = list
		return d.payload(t)
	}
	r, err := corim.Parse(tags("a", "b"), unsigned())
	require.NoError(t, err)
	require.Equal(t, map[string][][]byte{"a": {digest("good")}, "b": {digest("good")}}, r.Measurements)
	require.Equal(t, []string{"a@0", "b@0"}, r.Provenance.Tags)
	_, err = corim.Parse(tags("a", "a"), unsigned())
	require.ErrorIs(t, err, corim.ErrConflict)
}

// A mutated CoRIM is refused without a panic, whatever byte changes.
func TestMutations(t *testing.T) {
	t.Parallel()
	raw, err := veraison(t).ToCBOR()
	require.NoError(t, err)
	for i := range raw {
		for _, b := range []byte{0x00, 0x40, 0x60, 0x80, 0xa0, 0xc0, 0xd8, 0xf6, 0xff, raw[i] ^ 1} {
			changed := bytes.Clone(raw)
			changed[i] = b
			if r, err := corim.Parse(changed, unsigned()); err != nil {
				require.Nil(t, r)
			}
		}
	}
}
