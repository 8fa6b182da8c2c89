package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var (
	errKind  = errors.New("shopping list is not usable")
	errOther = errors.New("another file is not usable")
)

func newFile(name string) *File { return &File{Name: name, Noun: "shopping list", Kind: errKind} }

// forms are texts, each with all that is wrong with it; "" where it is good.
var forms = []struct{ file, text, want string }{
	{"x", "version: 1\n", ""},
	{"x", "a: [1, {b: c}]\n\"d e\": |\n  f\n", ""},
	{"x", "---\na: 1\n...\n", ""},
	{"x", nested(12), ""},
	{"x", nested(13), "x:1:49: " + strings.Repeat("a.", 11) + "a: it is nested more than 12 deep; no field of a shopping list is"},
	{"x", "", `x: it is empty; start it with "version: 1"`},
	{"x", "# only a comment\n", `x: it is empty; start it with "version: 1"`},
	{"x", "---\n", `x:2:1: it is nothing, not a shopping list; start it with "version: 1"`},
	{"x", "{}", `x:1:1: it is a mapping, not a shopping list; start it with "version: 1"`},
	{"x", "7", `x:1:1: it is a number to YAML, not a shopping list; start it with "version: 1"`},
	{"x", "2026-11-22", `x:1:1: it is a date to YAML, not a shopping list; start it with "version: 1"`},
	{"x", "[a]", `x:1:1: it is a list, not a shopping list; start it with "version: 1"`},
	{"x", "true", `x:1:1: it is true or false, not a shopping list; start it with "version: 1"`},
	{"x", "a: \xff", "x: it is not UTF-8 text; save it as UTF-8"},
	{"x", "a: \x01", "x: it is not YAML: control characters are not allowed; check indentation, colons and quotes there"},
	{"x", "a: 1\nb: c: d\n", "x:2:1: it is not YAML: mapping values are not allowed in this context; check indentation, colons and quotes there"},
	{"x", "a: 1\n---\nb: 1\n", "x:2:1: a second document begins here; write one shopping list in each file"},
	{"x", "a: 1\n---\n\tb: [", "x:3:1: it is not YAML: found character that cannot start any token; check indentation, colons and quotes there"},
	{"x", "a: &x 1\nb: *x\n", "x:1:4: a: it has an anchor; remove it, and repeat the value where it is needed\nx:2:4: b: it is an alias; repeat the value"},
	{"x", "&x a: 1\n*x : 2\n", "x:1:1: it has an anchor; remove it, and repeat the value where it is needed\nx:2:1: it is an alias; repeat the value\nx:2:1: it is not the name of a field; write NAME: VALUE"},
	{"x", "a: !b c\n", `x:1:4: a: it has the tag "!b"; remove the tag`},
	{"x", "<<: {a: b}\n", "x:1:1: it is not the name of a field; write NAME: VALUE"},
	{"x", "?", `x:1:2: [""]: of its name: it has no value; write text`},
	{"x", "[a]: b\n", "x:1:1: it is not the name of a field; write NAME: VALUE"},
	{"x", "a:\n  b: 1\n  'b': 2\n", "x:3:3: a.b: it stands here twice, first in line 2; keep one"},
	{"x", "a: 1\n1: 2\n0x1: 2\n", "x:2:1: [\"1\"]: of its name: it is a number to YAML; write it in quotes: \"1\"\nx:3:1: [\"0x1\"]: of its name: it is a number to YAML; write it in quotes: \"0x1\""},
	{"x", "\"a\\u0001\": [&b c]\n", `x:1:13: ["a\x01"][0]: it has an anchor; remove it, and repeat the value where it is needed`},
	{"x.json", `{"a": 1}`, ""},
	{"x.JSON", "{\"a\": 1,\n \"b\": ü}", "x.JSON:2:7: it is not JSON: invalid character 'Ã' looking for beginning of value; correct it, or name the file .yaml"},
	{"x.json", `{"a": 1`, "x.json:1:7: it is not JSON: unexpected end of JSON input; correct it, or name the file .yaml"},
	{"x.json", `{"a": 1, "\u0061": 2}`, "x.json:1:10: a: it stands here twice, first in line 1; keep one"},
}

// nested is a mapping with a value at a depth.
func nested(depth int) string {
	return strings.Repeat("{a: ", depth-1) + "1" + strings.Repeat("}", depth-1)
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range forms {
		f := newFile(c.file)
		root := f.Parse([]byte(c.text))
		if c.want == "" {
			require.NoError(t, f.Err(), c.text)
			require.NotNil(t, root)
			continue
		}
		require.Nil(t, root)
		require.EqualError(t, f.Err(), c.want)
		require.ErrorIs(t, f.Err(), errKind)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	fits := "a: 1\n#" + strings.Repeat("x", MaxSize-6)
	f := newFile("x")
	require.NotNil(t, f.Parse([]byte(fits)))
	require.Nil(t, f.Parse([]byte(fits+"x")))
	require.EqualError(t, f.Err(), "x: it has more than 1048576 bytes; move what is large to files that it names")
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Read(dir)
	require.EqualError(t, err, dir+" is no regular file")
	name := filepath.Join(dir, "x")
	_, err = Read(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	f := newFile(name)
	require.ErrorIs(t, f.Unreadable(err), fs.ErrNotExist)
	require.ErrorIs(t, f.Err(), errKind)
	require.ErrorContains(t, f.Err(), name+": the file cannot be read: stat ")
	require.ErrorContains(t, f.Err(), "; name a shopping list file")
	for size, want := range map[int]string{MaxSize: "", MaxSize + 1: name + " has more than 1048576 bytes"} {
		require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("#"), size), 0o600))
		b, err := Read(name)
		if want == "" {
			require.NoError(t, err)
			require.Len(t, b, size)
			continue
		}
		require.EqualError(t, err, want)
		require.Nil(t, b)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	for count, lines := range map[int]int{100: 100, 101: 101, 500: 101} {
		f := newFile("x")
		for i := range count {
			f.At(&yaml.Node{Line: count - i, Column: 1}, "", "it is wrong", "")
		}
		all := List(fmt.Errorf("because: %w", f.Err()), errKind)
		require.Len(t, all, lines)
		require.Equal(t, 1, all[0].Line, "they are in order")
		require.Equal(t, count > 100, errors.Is(f.Err(), ErrTooMany))
		require.Equal(t, f.Err(), f.Err())
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	f := newFile("x")
	require.NoError(t, f.Err())
	f.Whole(errOther, "it is wrong", "correct it")
	require.Len(t, List(f.Err(), errKind), 1)
	require.Nil(t, List(f.Err(), fs.ErrNotExist))
	require.Nil(t, List(errOther, errKind))
	require.Nil(t, List(nil, errKind))
	require.Equal(t, f.Err(), First(f.Err(), "check"))
	require.Equal(t, errOther, First(errOther, "check"))
	require.ErrorIs(t, f.Err(), errOther)
	f.At(&yaml.Node{Line: 1, Column: 2}, "a", "it is wrong too", "")
	require.EqualError(t, First(f.Err(), "check"), "x: it is wrong; correct it (and 1 more: check)")
	require.ErrorIs(t, First(f.Err(), "check"), errKind)
}

// What a scalar is read as, or what is wrong with it.
func TestScalars(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a":       `"a"; it is "a"; false`,
		`"7"`:     `"7"; it is "7"; false`,
		`"a\tb"`:  `"a\tb"; it is "a\tb"; false`,
		`"a\x7f"`: `it holds a control character; it is "a\x7f"; false`,
		"7":       `it is a number to YAML; it is "7"; true`,
		"10":      `it is a number to YAML; it is "10"; true`,
		"1":       `it is a number to YAML; it is "1"; false`,
		"11":      `it is a number to YAML; it is "11"; false`,
		"07":      `it is a number to YAML; it is "07"; false`,
		"0o7":     `it is a number to YAML; it is "0o7"; false`,
		"0x7":     `it is a number to YAML; it is "0x7"; false`,
		"1_0":     `it is a number to YAML; it is "1_0"; false`,
		"+7":      `it is a number to YAML; it is "+7"; false`,
		"7.0":     `it is a number to YAML; it is "7.0"; false`,
		"true":    `it is true or false; true; false`,
		"false":   `it is true or false; false; false`,
		"True":    `it is true or false; it is "True"; false`,
		"yes":     `"yes"; it is "yes"; false`,
		"":        `it has no value; it is ""; false`,
		`""`:      `it is empty; it is ""; false`,
		"[7]":     `it is a list; it is ""; false`,
	} {
		f := newFile("x")
		root := f.Parse([]byte("a: " + text))
		require.NotNil(t, root, text)
		n := root.Content[1]
		value, problem, _ := Text(n)
		if problem == "" {
			problem = fmt.Sprintf("%q", value)
		}
		on, wrong, remedy := Flag(n)
		if wrong == "" {
			wrong = fmt.Sprint(on)
		} else {
			require.Equal(t, "write true or false", remedy)
		}
		_, ok := Number(n, 2, 10)
		require.Equal(t, want, fmt.Sprintf("%s; %s; %v", problem, wrong, ok), text)
	}
	n, ok := Number(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "9999999999"}, 0, 1<<32-1)
	require.False(t, ok, n)
	n, ok = Number(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "4294967295"}, 0, 1<<32-1)
	require.True(t, ok)
	require.Equal(t, uint32(1<<32-1), n)
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	known := []string{"roots", "name", "environments", "name"}
	for name, remedy := range map[string]string{
		"name":                     "",
		"root":                     "did you mean roots?",
		"Name":                     "did you mean name?",
		"nam":                      "did you mean name?",
		"enviroment":               "did you mean environments?",
		"zebra":                    "the fields here are environments, name, roots",
		strings.Repeat("name", 17): "the fields here are environments, name, roots",
	} {
		f := newFile("x")
		f.Unknown(f.Parse([]byte(name+": 1")), "a[0]", known)
		if remedy == "" {
			require.NoError(t, f.Err())
			continue
		}
		require.EqualError(t, f.Err(), "x:1:1: "+Path("a[0]", name)+": there is no such field; "+remedy)
	}
	require.Equal(t, "name", Path("", "name"))
	require.Equal(t, "a.name", Path("a", "name"))
	require.Equal(t, `a["name 1"]`, Path("a", "name 1"))
	require.True(t, Plain(strings.Repeat("a", 64)))
	require.False(t, Plain(strings.Repeat("a", 65)))
	for range Fields(nil) {
		t.Fatal("a section that is not there has no fields")
	}
}

// Whatever a file holds: errors of its kind, or nodes of the promised form, which every
// other reader of YAML, and of JSON where the file is called so, reads alike.
func FuzzParse(f *testing.F) {
	for _, c := range forms {
		f.Add([]byte(c.text), strings.EqualFold(filepath.Ext(c.file), ".json"))
	}
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		file := newFile("x.yaml")
		if isJSON {
			file.Name = "x.json"
		}
		root := file.Parse(data)
		all := List(file.Err(), errKind)
		if (root == nil) == (len(all) == 0) || len(all) > maxErrors+1 {
			t.Fatalf("%v, %d errors", root, len(all))
		}
		for _, e := range all {
			if e.Problem == "" || e.Remedy == "" || !errors.Is(e, errKind) || len(e.Error()) > 4096 {
				t.Fatal(e)
			}
		}
		if root == nil {
			return
		}
		var v map[string]any
		if err := yaml.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		same(t, root, v, 1)
		if isJSON {
			var v map[string]any
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			same(t, root, v, 1)
		}
	})
}

// same demands that nodes have the promised form, and that of what the library makes of them.
func same(t *testing.T, n *yaml.Node, v any, depth int) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || depth > maxDepth {
		t.Fatalf("%+v at depth %d", n, depth)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		items, ok := v.([]any)
		if !ok || len(items) != len(n.Content) {
			t.Fatalf("%+v is %v", n, v)
		}
		for i, item := range n.Content {
			same(t, item, items[i], depth+1)
		}
	case yaml.MappingNode:
		fields, ok := v.(map[string]any)
		if !ok || 2*len(fields) != len(n.Content) {
			t.Fatalf("%+v is %v", n, v)
		}
		for key, value := range Fields(n) {
			of, there := fields[key.Value]
			if !there {
				t.Fatalf("%q is not in %v", key.Value, fields)
			}
			same(t, value, of, depth+1)
		}
	default:
		if s, is := v.(string); is && n.Tag == "!!str" && s != n.Value {
			t.Fatalf("%q is %q", n.Value, s)
		}
	}
}
