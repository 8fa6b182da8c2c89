package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/internal/strictyaml"
)

// ErrFile: a configuration file cannot be used. Every error of [Load] and [Parse]
// wraps it.
var ErrFile = errors.New("configuration file is not usable")

// Errors lists the errors of a file in an error that [Load] or [Parse] returned, in the
// order of the file.
func Errors(err error) []*strictyaml.Error { return strictyaml.List(err, ErrFile) }

// reader is a configuration file while it is read.
type reader struct {
	strictyaml.File
	nodes map[string]*yaml.Node // by path
}

func newReader(path string) *reader {
	return &reader{strictyaml.File{Name: path, Noun: "configuration", Kind: ErrFile}, make(map[string]*yaml.Node)}
}

// Load is [Parse] of what read reads from path.
func Load(path string, read func(path string) ([]byte, error)) (*File, error) {
	data, err := read(path)
	if err != nil {
		return nil, newReader(path).Unreadable(err)
	}
	return Parse(path, data)
}

// Parse reads a configuration that was read from path, with names of files made
// absolute and defaults filled in. It does not read the files that it names.
func Parse(path string, data []byte) (*File, error) {
	r, f := newReader(path), new(File)
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, r.Unreadable(err)
	}
	if root := r.File.Parse(data); root != nil {
		r.value(root, "", "", reflect.ValueOf(f).Elem())
	}
	if len(r.Errors) == 0 {
		f.complete(dir)
		r.check(f)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// fail reports what is wrong at a path, or at what holds it where it is missing.
func (r *reader) fail(path, problem, remedy string) {
	at := path
	for at != "" && r.nodes[at] == nil {
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	r.At(r.nodes[at], path, problem, remedy)
}

var durationType = reflect.TypeFor[time.Duration]()

// value reads a node into v; enum lists the words that it can be.
func (r *reader) value(n *yaml.Node, path, enum string, v reflect.Value) {
	r.nodes[path] = n
	var problem, remedy string
	switch {
	case v.Type() == durationType:
		problem, remedy = duration(n, v)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, path, enum, v.Elem())
	case v.Kind() == reflect.Struct:
		problem, remedy = r.mapping(n, path, v)
	case v.Kind() == reflect.Slice:
		problem, remedy = r.list(n, path, v)
	case v.Kind() == reflect.String:
		problem, remedy = text(n, enum, v)
	case v.Kind() == reflect.Bool:
		var on bool
		on, problem, remedy = strictyaml.Flag(n)
		v.SetBool(on)
	default:
		number, ok := strictyaml.Number(n, 0, math.MaxInt32)
		if !ok {
			problem, remedy = fmt.Sprintf("it is %.40q", n.Value), "write a number such as 100"
		}
		v.SetInt(int64(number))
	}
	if problem != "" {
		r.At(n, path, problem, remedy)
	}
}

func text(n *yaml.Node, enum string, v reflect.Value) (problem, remedy string) {
	value, problem, remedy := strictyaml.Text(n)
	words := strings.Split(enum, ",")
	switch {
	case problem != "":
	case strings.ContainsAny(value, "\n\t"):
		return "it holds a control character", "remove it"
	case enum != "" && !slices.Contains(words, value):
		return fmt.Sprintf("it is %.40q", value), "write " + strings.Join(words, " or ")
	}
	v.SetString(value)
	return problem, remedy
}

func duration(n *yaml.Node, v reflect.Value) (problem, remedy string) {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || err != nil || d <= 0 {
		return fmt.Sprintf("%.40q is no time above zero", n.Value), "write one such as 500ms, 30s or 5m"
	}
	v.SetInt(int64(d))
	return "", ""
}

func (r *reader) list(n *yaml.Node, path string, v reflect.Value) (problem, remedy string) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return "it is no list with items", "write one item a line, each after a dash"
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		r.value(item, fmt.Sprintf("%s[%d]", path, i), "", v.Index(i))
	}
	return "", ""
}

// mapping reads the fields of a section.
func (r *reader) mapping(n *yaml.Node, path string, v reflect.Value) (problem, remedy string) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return "it is no section with fields", "write NAME: VALUE"
	}
	var names []string
	for i := range v.NumField() {
		names = append(names, v.Type().Field(i).Tag.Get("yaml"))
	}
	r.Unknown(n, path, names)
	for key, value := range strictyaml.Fields(n) {
		if i := slices.Index(names, key.Value); i >= 0 {
			r.value(value, strictyaml.Path(path, key.Value), v.Type().Field(i).Tag.Get("enum"), v.Field(i))
		}
	}
	return "", ""
}
