// Package strictyaml reads the files that people write, policies and configurations, as
// YAML or the JSON that is a subset of it:
//
//	data:     file ──> Read (size) ──> File.Parse (form) ──> nodes ──> fields, read by who knows them
//
// What means several things to several readers is an error: anchors, aliases, tags,
// fields given twice, names that are no text, a second document. Errors come all at
// once, each with line and column, what is wrong and what to write instead.
package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxSize is the largest file in bytes.
	MaxSize = 1 << 20
	// maxDepth is how deep lists and mappings may be nested.
	maxDepth = 12
)

// Read reads a regular file of at most [MaxSize] bytes.
func Read(path string) ([]byte, error) {
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
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err == nil && len(b) > MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, MaxSize)
	}
	return b, err
}

// File is a file while it is read.
type File struct {
	Name   string // as errors call it
	Noun   string // what such a file is, as in "policy"
	Kind   error  // every error of such a file wraps it
	Errors Errors // as they were found; see [File.Err]
}

// At reports what is wrong at a node, nil for the whole file.
func (f *File) At(n *yaml.Node, path, problem, remedy string) *Error {
	e := &Error{File: f.Name, Path: path, Problem: problem, Remedy: remedy, kind: f.Kind}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	f.Errors = append(f.Errors, e)
	return e
}

// Whole reports what is wrong with the file as such.
func (f *File) Whole(err error, problem, remedy string) { f.At(nil, "", problem, remedy).Err = err }

// Unreadable reports that the file could not be read, and returns [File.Err].
func (f *File) Unreadable(err error) error {
	f.Whole(err, "the file cannot be read: "+err.Error(), "name a "+f.Noun+" file")
	return f.Err()
}

// Parse reads the one document of a file, a mapping with fields, or reports why it
// cannot and returns nil. What it returns holds neither anchors, aliases nor tags, is
// nested at most 12 deep, and has no field twice; the names of fields are text.
func (f *File) Parse(data []byte) *yaml.Node {
	switch {
	case len(data) > MaxSize:
		f.Whole(nil, fmt.Sprintf("it has more than %d bytes", MaxSize), "move what is large to files that it names")
		return nil
	case !utf8.Valid(data):
		f.Whole(nil, "it is not UTF-8 text", "save it as UTF-8")
		return nil
	case strings.EqualFold(filepath.Ext(f.Name), ".json") && !f.checkJSON(data):
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := decode(d)
	switch {
	case errors.Is(err, io.EOF):
		f.Whole(nil, "it is empty", `start it with "version: 1"`)
		return nil
	case err != nil:
		f.syntax(err)
		return nil
	}
	if next, err := decode(d); err == nil {
		f.At(next, "", "a second document begins here", "write one "+f.Noun+" in each file")
	} else if !errors.Is(err, io.EOF) {
		f.syntax(err)
	}
	root := doc.Content[0]
	if f.check(root, "", 1); len(f.Errors) > 0 {
		return nil
	}
	if root.Kind != yaml.MappingNode || len(root.Content) == 0 {
		f.At(root, "", "it is "+KindName(root)+", not a "+f.Noun, `start it with "version: 1"`)
		return nil
	}
	return root
}

// decode is the one place where the library reads a document. A panic of it becomes
// an error.
func decode(d *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, fmt.Errorf("yaml: it cannot be read (%T)", p)
		}
	}()
	doc = new(yaml.Node)
	if err := d.Decode(doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("yaml: it holds no document")
	}
	return doc, nil
}

// checkJSON holds a file that calls itself JSON to be JSON.
func (f *File) checkJSON(data []byte) bool {
	var v any
	err := json.Unmarshal(data, &v)
	if err == nil {
		return true
	}
	offset := int64(len(data))
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		offset = min(max(syntax.Offset-1, 0), offset)
	}
	before := data[:offset]
	at := &yaml.Node{Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1}
	f.At(at, "", "it is not JSON: "+err.Error(), "correct it, or name the file .yaml")
	return false
}

// libraryError is how the library states where text is not YAML.
var libraryError = regexp.MustCompile(`^yaml: (?:line (\d+): )?((?s).*)$`)

// syntax reports text that is not YAML. The library tells the line alone.
func (f *File) syntax(err error) {
	text, line := err.Error(), 0
	if m := libraryError.FindStringSubmatch(text); m != nil {
		text = m[2]
		line, _ = strconv.Atoi(m[1]) // "" is 0: the library named no line
	}
	f.At(&yaml.Node{Line: line, Column: min(line, 1)}, "", "it is not YAML: "+text, "check indentation, colons and quotes there")
}

// check refuses what no file has a use for, and what means several things to several
// readers.
func (f *File) check(n *yaml.Node, path string, depth int) {
	switch {
	case depth > maxDepth:
		f.At(n, path, fmt.Sprintf("it is nested more than %d deep", maxDepth), "no field of a "+f.Noun+" is")
		return
	case n.Kind == yaml.AliasNode:
		f.At(n, path, "it is an alias", "repeat the value")
		return
	case n.Anchor != "":
		f.At(n, path, "it has an anchor", "remove it, and repeat the value where it is needed")
	case n.Style&yaml.TaggedStyle != 0:
		f.At(n, path, fmt.Sprintf("it has the tag %.32q", n.Tag), "remove the tag")
	}
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			f.check(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	first := make(map[string]int)
	for key, value := range Fields(n) {
		f.check(key, path, depth)
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			f.At(key, path, "it is not the name of a field", "write NAME: VALUE")
			continue
		}
		at := Path(path, key.Value)
		if key.Tag != "!!str" { // 1 and 0x1 are one name to others
			_, problem, remedy := Text(key)
			f.At(key, at, "of its name: "+problem, remedy)
		}
		if line, twice := first[key.Value]; twice {
			f.At(key, at, fmt.Sprintf("it stands here twice, first in line %d", line), "keep one")
		}
		first[key.Value] = key.Line
		f.check(value, at, depth+1)
	}
}
