package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxSize is the largest configuration file in bytes.
const maxSize = 1 << 20

// reader is a configuration file while it is read.
type reader struct {
	name  string
	nodes map[string]*yaml.Node // by path
	errs  Errors
}

// Load reads a configuration file, with names of files made absolute and defaults
// filled in. It does not read the files that it names. The error is [Errors].
func Load(path string) (*File, error) {
	data, err := ReadFile(path)
	if err != nil {
		return nil, Errors{{File: path, Problem: "the file cannot be read: " + err.Error(), Remedy: "name a configuration file", Err: err}}
	}
	return Parse(path, data)
}

// Parse is Load of data that was read from path.
func Parse(path string, data []byte) (*File, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, Errors{{File: path, Problem: err.Error(), Err: err}}
	}
	r := &reader{name: path, nodes: make(map[string]*yaml.Node)}
	f := new(File)
	if root := r.document(data); root != nil {
		r.value(root, "", "", reflect.ValueOf(f).Elem())
	}
	if len(r.errs) == 0 {
		f.complete(dir)
		r.check(f)
	}
	if len(r.errs) > 0 {
		return nil, sorted(r.errs)
	}
	return f, nil
}

// ReadFile reads a regular file of at most 1 MiB.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // opening a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(b) > maxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSize)
	}
	return b, err
}

// fail reports what is wrong at a path, or at what holds it where it is missing.
func (r *reader) fail(path, problem, remedy string) {
	e := &Error{File: r.name, Path: path, Problem: problem, Remedy: remedy}
	for at := path; ; {
		if n := r.nodes[at]; n != nil {
			e.Line, e.Column = n.Line, n.Column
			break
		}
		if at == "" {
			break
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	r.errs = append(r.errs, e)
}

func (r *reader) failAt(n *yaml.Node, path, problem, remedy string) {
	r.errs = append(r.errs, &Error{File: r.name, Line: n.Line, Column: n.Column, Path: path, Problem: problem, Remedy: remedy})
}

var libraryLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?((?s).*)$`)

// document reads the one document of a file.
func (r *reader) document(data []byte) *yaml.Node {
	if !utf8.Valid(data) {
		r.fail("", "it is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		r.fail("", "it is empty", `start it with "version: 1"`)
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	if err := d.Decode(&next); err == nil {
		r.failAt(&next, "", "a second document begins here", "write one in each file")
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	return doc.Content[0]
}

func (r *reader) syntax(err error) {
	m := libraryLine.FindStringSubmatch(err.Error())
	line, text := 0, err.Error()
	if m != nil {
		line, _ = strconv.Atoi(m[1]) // "" is 0: the library named no line
		text = m[2]
	}
	r.errs = append(r.errs, &Error{File: r.name, Line: line, Column: min(line, 1), Problem: "it is not YAML: " + text, Remedy: "check indentation, colons and quotes there"})
}

var durationType = reflect.TypeFor[time.Duration]()

// value reads a node into v; enum lists the words that it can be.
func (r *reader) value(n *yaml.Node, path, enum string, v reflect.Value) {
	r.nodes[path] = n
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		r.failAt(n, path, "it has an anchor, an alias or a tag", "write the value itself")
		return
	}
	switch {
	case v.Type() == durationType:
		r.duration(n, path, v)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, path, enum, v.Elem())
	case v.Kind() == reflect.Struct:
		r.mapping(n, path, v)
	case v.Kind() == reflect.Slice:
		r.list(n, path, v)
	case v.Kind() == reflect.String:
		r.text(n, path, enum, v)
	case v.Kind() == reflect.Bool:
		if n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
			r.failAt(n, path, fmt.Sprintf("it is %.40q", n.Value), "write true or false")
			return
		}
		v.SetBool(n.Value == "true")
	default:
		number, err := strconv.ParseUint(n.Value, 10, 31)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
			r.failAt(n, path, fmt.Sprintf("it is %.40q", n.Value), "write a number such as 100")
			return
		}
		v.SetInt(int64(number))
	}
}

func (r *reader) text(n *yaml.Node, path, enum string, v reflect.Value) {
	words := strings.Split(enum, ",")
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		r.failAt(n, path, "it is no text", "write text, in quotes where it looks like a number")
	case n.Value == "":
		r.failAt(n, path, "it is empty", "write text, or leave the field out")
	case strings.ContainsFunc(n.Value, func(c rune) bool { return c < ' ' || c == 0x7f }):
		r.failAt(n, path, "it holds a control character", "remove it")
	case enum != "" && !slices.Contains(words, n.Value):
		r.failAt(n, path, fmt.Sprintf("it is %.40q", n.Value), "write "+strings.Join(words, " or "))
	default:
		v.SetString(n.Value)
	}
}

func (r *reader) duration(n *yaml.Node, path string, v reflect.Value) {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || err != nil || d <= 0 {
		r.failAt(n, path, fmt.Sprintf("%.40q is no time above zero", n.Value), "write one such as 500ms, 30s or 5m")
		return
	}
	v.SetInt(int64(d))
}

func (r *reader) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.failAt(n, path, "it is no list with items", "write one item a line, each after a dash")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		r.value(item, fmt.Sprintf("%s[%d]", path, i), "", v.Index(i))
	}
}

// mapping reads the fields of a section, each at most once.
func (r *reader) mapping(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.failAt(n, path, "it is no section with fields", "write NAME: VALUE")
		return
	}
	var names []string
	index := make(map[string]int)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		names, index[name] = append(names, name), i
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		field, known := index[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			r.failAt(key, path, fmt.Sprintf("there is no field %.40q", key.Value), "the fields here are "+strings.Join(names, ", "))
		case seen[key.Value]:
			r.failAt(key, at, "it stands here twice", "keep one")
		default:
			seen[key.Value] = true
			r.value(value, at, v.Type().Field(field).Tag.Get("enum"), v.Field(field))
		}
	}
}
