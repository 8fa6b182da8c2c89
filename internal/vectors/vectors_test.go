package vectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	published "github.com/expat-go/expat/testdata/vectors"
)

// Every case comes out as its file says. It runs alone, because it is timed.
func TestPublishedVectors(t *testing.T) {
	start := time.Now()
	r := Check(published.Files)
	require.NoError(t, r.Err())
	require.Less(t, time.Since(start), 10*time.Second)
	least := map[string]Tally{
		"exporter": {Valid: 25}, "request": {Valid: 15, Invalid: 40}, "authenticator": {Valid: 30, Invalid: 140},
		"binding": {Valid: 12, Invalid: 30}, "cmw_attestation": {Valid: 10, Invalid: 30}, "cmw": {Valid: 50, Invalid: 100},
		"simulated_evidence": {Valid: 14, Invalid: 85}, "frames": {Valid: 17, Invalid: 50}, "transcript": {Valid: 20, Invalid: 50},
	}
	total := 0
	for _, tally := range r.Tallies {
		require.GreaterOrEqual(t, tally.Valid, least[tally.Group].Valid, tally.Group)
		require.GreaterOrEqual(t, tally.Invalid, least[tally.Group].Invalid, tally.Group)
		total += tally.Valid + tally.Invalid
	}
	require.Len(t, r.Tallies, len(least))
	require.Equal(t, total, r.Cases())
}

// The generator makes the published files, byte for byte, and does so twice.
func TestGenerateIsDeterministic(t *testing.T) {
	t.Parallel()
	first, err := Generate()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, WriteFiles(dir))
	names, err := fs.Glob(published.Files, "*.json")
	require.NoError(t, err)
	require.Len(t, first, len(names))
	for _, name := range names {
		want, err := fs.ReadFile(published.Files, name)
		require.NoError(t, err)
		second, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(first[name], second), "%s differs from one run to the next", name)
		require.True(t, bytes.Equal(want, first[name]), "%s is not what the generator makes: run expat vectors generate testdata/vectors", name)
	}
	require.Error(t, WriteFiles(filepath.Join(dir, keysName)))
}

// Every reason of every group is the reason of a case.
func TestReasonsAreCovered(t *testing.T) {
	t.Parallel()
	for _, g := range groups {
		f := readFile(t, g.name)
		used := make(map[string]bool)
		for _, c := range f.Cases {
			used[c.Reason] = true
		}
		for _, reason := range f.Reasons {
			require.True(t, used[reason], "%s: no case has reason %q", g.name, reason)
		}
	}
}

// The README is the format: it names every group, reason, member and identity.
func TestREADMENamesEverything(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../testdata/vectors/README.md")
	require.NoError(t, err)
	words := make(map[string]bool)
	for _, w := range regexp.MustCompile(`[a-z0-9_][a-z0-9_-]*`).FindAllString(string(readme), -1) {
		words[w] = true
	}
	for _, g := range groups {
		require.True(t, words[g.name], g.name)
		for _, reason := range g.reasons {
			require.True(t, words[reason], "%s: reason %q", g.name, reason)
		}
		for _, c := range readFile(t, g.name).Cases {
			for _, part := range []json.RawMessage{c.Input, c.Expected} {
				members(t, part, func(name string) { require.True(t, words[name], "%s: member %q", g.name, name) })
			}
		}
	}
}

// members calls f with the name of every member in a JSON value.
func members(t *testing.T, data []byte, f func(string)) {
	if len(data) == 0 {
		return
	}
	v, err := generic(data)
	require.NoError(t, err)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				f(name)
				walk(member)
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(v)
}

func readFile(t *testing.T, group string) *File {
	t.Helper()
	data, err := fs.ReadFile(published.Files, group+".json")
	require.NoError(t, err)
	f, err := parseFile(data, group, reasonsOf(group))
	require.NoError(t, err)
	return f
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	compiler := jsonschema.NewCompiler()
	schemas, err := fs.Glob(published.Files, "schema/*.schema.json")
	require.NoError(t, err)
	require.Len(t, schemas, len(groups)+2, "a schema for each group, for keys.json, and what they share")
	base := make(map[string]string)
	for _, name := range schemas {
		v, err := readJSON(name)
		require.NoError(t, err)
		id := v.(map[string]any)["$id"].(string)
		require.NoError(t, compiler.AddResource(id, v))
		base[strings.TrimSuffix(filepath.Base(name), ".schema.json")] = id
	}
	names, err := fs.Glob(published.Files, "*.json")
	require.NoError(t, err)
	for _, name := range names {
		schema, err := compiler.Compile(base[strings.TrimSuffix(name, ".json")])
		require.NoError(t, err, name)
		v, err := readJSON(name)
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v), name)

		v.(map[string]any)["surprise"] = true
		require.Error(t, schema.Validate(v), "%s: an unknown member", name)
		if name == keysName {
			continue
		}
		v, err = readJSON(name)
		require.NoError(t, err)
		c := v.(map[string]any)["cases"].([]any)[0].(map[string]any)
		c["surprise"] = true
		require.Error(t, schema.Validate(v), "%s: an unknown member of a case", name)
		delete(c, "surprise")
		c["reason"] = "surprise"
		require.Error(t, schema.Validate(v), "%s: an unknown reason", name)
		delete(c, "reason")
		c["input"].(map[string]any)["surprise"] = true
		require.Error(t, schema.Validate(v), "%s: an unknown member of an input", name)
		v.(map[string]any)["cases"] = []any{}
		require.Error(t, schema.Validate(v), "%s: no cases", name)
	}
}

func readJSON(name string) (any, error) {
	data, err := fs.ReadFile(published.Files, name)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// copied holds some of the published files, to be changed by a test.
func copied(t *testing.T, names ...string) fstest.MapFS {
	t.Helper()
	out := make(fstest.MapFS)
	for _, name := range names {
		data, err := fs.ReadFile(published.Files, name)
		require.NoError(t, err)
		out[name] = &fstest.MapFile{Data: data}
	}
	return out
}

// What is not the format is reported, and nothing is passed over in silence.
func TestCheckRefusesOtherForms(t *testing.T) {
	t.Parallel()
	withCase := func(c string) string {
		return `{"group":"exporter","version":1,"description":"d","cases":[` + c + `]}`
	}
	for _, tc := range []struct{ name, file, old, to, want string }{
		{"unknown member", "cmw.json", `"version": 1,`, `"version": 1, "surprise": 1,`, `unknown field "surprise"`},
		{"unknown member of a case", "cmw.json", `"id"`, `"surprise": 1, "id"`, `unknown field "surprise"`},
		{"unknown member of an input", "cmw.json", `"input": {`, `"input": {"surprise": 1,`, `unknown field "surprise"`},
		{"unknown member expected", "cmw.json", `"expected": {`, `"expected": {"surprise": 1,`, `no such member`},
		{"missing member", "exporter.json", `"context": "",`, "", "context: missing"},
		{"other group", "cmw.json", `"group": "cmw"`, `"group": "frames"`, `group is "frames"`},
		{"other version", "cmw.json", `"version": 1`, `"version": 2`, "version 2"},
		{"no description", "exporter.json", "Exporter values (RFC 8446, Section 7.5; RFC 5705).", "", "no description"},
		{"other reasons", "cmw.json", `"too-large"`, `"surprise"`, "reasons are"},
		{"no cases", "exporter.json", "", withCase(""), "no cases"},
		{"case twice", "exporter.json", "rfc8448-server-handshake-context", "rfc8448-client-handshake-context", "occurs twice"},
		{"form of id", "exporter.json", "rfc8448-client-handshake-context", "RFC8448", "the id does not match"},
		{"no comment", "request.json", "ClientCertificateRequest with signature_algorithms alone", "", "no comment"},
		{"no input", "exporter.json", "", withCase(`{"id":"a","comment":"c","result":"valid","expected":{}}`), "cases[0].input: missing"},
		{"nothing expected", "exporter.json", "", withCase(`{"id":"a","comment":"c","result":"valid","input":{}}`), "a valid case expects nothing"},
		{"other result", "exporter.json", `"result": "valid"`, `"result": "good"`, `result "good"`},
		{"reason of a valid case", "exporter.json", `"result": "valid"`, `"result": "valid", "reason": "limit"`, "a valid case has a reason"},
		{"reason of no list", "request.json", `"reason": "limit"`, `"reason": "surprise"`, `reason "surprise"`},
		{"upper-case hex", "request.json", `"message": "11`, `"message": "AA11`, "lower case"},
		{"null for bytes", "request.json", `"message": "11`, `"message": null, "x": "11`, "want bytes in hex"},
		{"bytes follow", "exporter.json", "", "append", "bytes follow"},
		{"connection", "exporter.json", `"hash": "sha256"`, `"hash": "sha384"`, "do not fit"},
		{"hash", "exporter.json", `"hash": "sha256"`, `"hash": "md5"`, `hash "md5"`},
		{"side", "request.json", `"receiver": "server"`, `"receiver": "proxy"`, "a side is client or server"},
		{"unknown root", "authenticator.json", `"x509-root"`, `"surprise"`, `no root "surprise"`},
		{"name of a client", "authenticator.json", `"server_name": null`, `"server_name": "a"`, "server_name goes with a server"},
		{"request and hello", "authenticator.json", `"client_hello": null`, `"client_hello": {"signature_schemes": [], "extensions": []}`, "want either"},
		{"unknown profile", "binding.json", `"expat-04"`, `"expat-05"`, `profile "expat-05"`},
		{"unknown identity", "transcript.json", `"identity": "server-p256"`, `"identity": "surprise"`, `no identity "surprise"`},
		{"keys version", keysName, `"version": 1`, `"version": 3`, "want version 1"},
		{"root no certificate", keysName, `"certificate": "30`, `"certificate": "31`, `root "x509-root"`},
		{"identity no key", keysName, `"private_key": "30`, `"private_key": "31`, `identity "server-p256"`},
		{"root twice", keysName, `"x509-other-root"`, `"x509-root"`, "a name occurs twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := copied(t, tc.file, keysName)
			data := f[tc.file].Data
			switch {
			case tc.old != "":
				require.Contains(t, string(data), tc.old)
				data = bytes.Replace(data, []byte(tc.old), []byte(tc.to), 1)
			case tc.to == "append":
				data = append(bytes.Clone(data), '1')
			default:
				data = []byte(tc.to)
			}
			f[tc.file] = &fstest.MapFile{Data: data}
			require.ErrorContains(t, Check(f).Err(), tc.want)
		})
	}
}

func TestCheckRefusesOtherFolders(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, Check(fstest.MapFS{}).Err(), "keys: open keys.json")
	f := copied(t, keysName, "exporter.json")
	f["surprise.json"] = f["exporter.json"]
	err := Check(f).Err()
	require.ErrorContains(t, err, "surprise: no such group")
	require.ErrorContains(t, err, "cmw: open cmw.json")
}

// A change of what is expected never goes unnoticed: every value of some valid
// cases of every group, and every reason of some invalid ones.
func TestCheckNoticesEveryChange(t *testing.T) {
	t.Parallel()
	k, err := readKeys(published.Files)
	require.NoError(t, err)
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			f := readFile(t, g.name)
			changed := 0
			for i := 0; i < len(f.Cases); i += 1 + len(f.Cases)/12 {
				c := f.Cases[i]
				require.NoError(t, g.checkCase(k, &c), c.ID)
				if c.Result == resultInvalid {
					for _, reason := range append([]string{""}, f.Reasons...) {
						other := c
						other.Reason = reason
						require.Equal(t, reason != c.Reason, g.checkCase(k, &other) != nil, "%s as %q", c.ID, reason)
						changed++
					}
				}
				for _, expected := range mutations(t, c.Expected) {
					other := c
					other.Expected = expected
					require.Error(t, g.checkCase(k, &other), "%s with %s", c.ID, expected)
					changed++
				}
			}
			require.Positive(t, changed)
		})
	}
}

// mutations are a JSON value with one value in it changed, for each.
func mutations(t *testing.T, data json.RawMessage) []json.RawMessage {
	if len(data) == 0 {
		return nil
	}
	root, err := generic(data)
	require.NoError(t, err)
	var out []json.RawMessage
	emit := func() {
		b, err := json.Marshal(root)
		require.NoError(t, err)
		out = append(out, b)
	}
	var walk func(v any, set func(any))
	walk = func(v any, set func(any)) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				walk(member, func(x any) { v[name] = x })
			}
			v["surprise"] = true
			emit()
			delete(v, "surprise")
		case []any:
			for i, item := range v {
				walk(item, func(x any) { v[i] = x })
			}
			set(append([]any{nil}, v...))
			emit()
			set(v)
		default:
			set(mutated(v))
			emit()
			set(v)
		}
	}
	walk(root, func(x any) { root = x })
	return out
}

// mutated changes a value, a string in its first character.
func mutated(v any) any {
	switch v := v.(type) {
	case string:
		switch {
		case v == "":
			return "00"
		case v[0] == '0':
			return "1" + v[1:]
		}
		return "0" + v[1:]
	case json.Number:
		return json.Number("1" + v.String())
	case bool:
		return !v
	}
	return "00" // null
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := new(Report)
	require.NoError(t, r.Err())
	r.add("cmw", "", errors.New("no cases"))
	r.add("cmw", "tag", errors.New("differs"))
	require.EqualError(t, r.Err(), "cmw: no cases\ncmw/tag: differs")
}
