package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxSize is the largest policy file, and the largest file it names, in bytes.
	MaxSize = 1 << 20
	// maxDepth is how deep lists and mappings may be nested.
	maxDepth = 12
)

// libraryError is how the library states where text is not YAML.
var libraryError = regexp.MustCompile(`^yaml: (?:line (\d+): )?((?s).*)$`)

// parseYAML reads the one document of a file. The result holds neither anchors,
// aliases nor tags, is nested at most maxDepth deep, and has no field twice; the names
// of fields are text.
func (f *file) parseYAML(data []byte) *yaml.Node {
	switch {
	case len(data) > MaxSize:
		f.whole(nil, fmt.Sprintf("it has more than %d bytes", MaxSize), "name large lists as reference_values in files of their own")
		return nil
	case !utf8.Valid(data):
		f.whole(nil, "it is not UTF-8 text", "save it as UTF-8")
		return nil
	case strings.EqualFold(filepath.Ext(f.name), ".json") && !f.checkJSON(data):
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := decode(d)
	switch {
	case errors.Is(err, io.EOF):
		f.whole(nil, "it is empty", `start it with "version: 1"`)
		return nil
	case err != nil:
		f.syntax(err)
		return nil
	}
	if next, err := decode(d); err == nil {
		f.at(next, "", "a second document begins here", "write one policy in each file")
	} else if !errors.Is(err, io.EOF) {
		f.syntax(err)
	}
	root := doc.Content[0]
	if f.checkNode(root, "", 1); len(f.errs) > 0 {
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
func (f *file) checkJSON(data []byte) bool {
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
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	f.errs = append(f.errs, &Error{File: f.name, Line: line, Column: column, Problem: "it is not JSON: " + err.Error(), Remedy: "correct it, or name the file .yaml"})
	return false
}

// syntax reports text that is not YAML. The library tells the line alone.
func (f *file) syntax(err error) {
	e := &Error{File: f.name, Problem: "it is not YAML: " + err.Error(), Remedy: "check indentation, colons and quotes there"}
	if m := libraryError.FindStringSubmatch(err.Error()); m != nil {
		e.Problem = "it is not YAML: " + m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			e.Line, e.Column = line, 1
		}
	}
	f.errs = append(f.errs, e)
}

// checkNode refuses what a policy has no use for, and what means several things to
// several readers.
func (f *file) checkNode(n *yaml.Node, path string, depth int) {
	switch {
	case depth > maxDepth:
		f.at(n, path, fmt.Sprintf("it is nested more than %d deep", maxDepth), "no field of a policy is")
		return
	case n.Kind == yaml.AliasNode:
		f.at(n, path, "it is an alias", "repeat the value")
		return
	case n.Anchor != "":
		f.at(n, path, "it has an anchor", "remove it, and repeat the value where it is needed")
	case n.Style&yaml.TaggedStyle != 0:
		f.at(n, path, fmt.Sprintf("it has the tag %.32q", n.Tag), "remove the tag")
	}
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			f.checkNode(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	first := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f.checkNode(key, path, depth+1)
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			f.at(key, path, "it is not the name of a field", "write NAME: VALUE")
			continue
		}
		at := fieldPath(path, key.Value)
		if key.Tag != "!!str" && key.Value != "" { // 1 and 0x1 are one name to others
			_, problem, remedy := text(key)
			f.at(key, at, "of its name: "+problem, remedy)
		}
		if line, twice := first[key.Value]; twice {
			f.at(key, at, fmt.Sprintf("it stands here twice, first in line %d", line), "keep one")
		}
		first[key.Value] = key.Line
		f.checkNode(value, at, depth+1)
	}
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

func fieldPath(path, name string) string {
	switch {
	case !plainName.MatchString(name):
		return fmt.Sprintf("%s[%.64q]", path, name)
	case path == "":
		return name
	}
	return path + "." + name
}
