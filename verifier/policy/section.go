package policy

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/internal/strictyaml"
)

// Section is a mapping of a policy file. Its methods read fields and report what is
// wrong with them; a field that is not there has the zero value. Every method names
// the field as one that the section may have, and what no method asked for is
// reported as unknown: ask for every field, whatever the others say.
type Section struct {
	file  *file
	node  *yaml.Node // nil: the section is not there
	path  string
	known []string
}

// Path is that of the section in the file, as in environments[0].tpm.
func (s *Section) Path() string { return s.path }

// Has tells whether the file has the field.
func (s *Section) Has(name string) bool { _, v := s.find(name); return v != nil }

// Fail reports that a field is not usable, at its value, or at the section where the
// field is missing; remedy says what to write instead.
func (s *Section) Fail(name, problem, remedy string) { s.fail(name, problem, remedy, nil) }

func (s *Section) fail(name, problem, remedy string, err error) {
	_, at := s.find(name)
	path := strictyaml.Path(s.path, name)
	switch {
	case name == "":
		at, path = s.node, s.path
	case at == nil:
		at = s.node
	}
	s.file.At(at, path, problem, remedy).Err = err
}

// failItem reports one item of a list.
func (s *Section) failItem(name string, item *yaml.Node, i int, problem, remedy string) {
	s.file.At(item, fmt.Sprintf("%s[%d]", strictyaml.Path(s.path, name), i), problem, remedy)
}

func (s *Section) find(name string) (key, value *yaml.Node) {
	for key, value := range strictyaml.Fields(s.node) {
		if key.Value == name {
			return key, value
		}
	}
	return nil, nil
}

// take returns the value of a field, nil if there is none, or another kind of
// value than wanted, which is reported.
func (s *Section) take(name string, kind yaml.Kind, want string) *yaml.Node {
	s.known = append(s.known, name)
	_, v := s.find(name)
	switch {
	case v == nil:
		return nil
	case v.Tag == "!!null":
		s.Fail(name, "it has no value", "write "+want+", or leave the field out")
		return nil
	case v.Kind != kind:
		s.Fail(name, "it is "+strictyaml.KindName(v), "write "+want)
		return nil
	case kind != yaml.ScalarNode && len(v.Content) == 0:
		s.Fail(name, "it is empty", "write "+want+", or leave the field out")
		return nil
	}
	return v
}

// Text reads a field of text, which must not be empty.
func (s *Section) Text(name string) string {
	n := s.take(name, yaml.ScalarNode, "text")
	if n == nil {
		return ""
	}
	value, problem, remedy := strictyaml.Text(n)
	if problem != "" {
		s.Fail(name, problem, remedy)
	}
	return value
}

// Flag reads true or false; false if it is not there.
func (s *Section) Flag(name string) bool {
	n := s.take(name, yaml.ScalarNode, "true or false")
	if n == nil {
		return false
	}
	on, problem, remedy := strictyaml.Flag(n)
	if problem != "" {
		s.Fail(name, problem, remedy)
	}
	return on
}

// Number reads a number of 0 to highest; 0 if it is not there.
func (s *Section) Number(name string, highest uint32) uint32 {
	want := fmt.Sprintf("a number of 0 to %d", highest)
	n := s.take(name, yaml.ScalarNode, want)
	if n == nil {
		return 0
	}
	v, ok := strictyaml.Number(n, 0, highest)
	if !ok {
		s.Fail(name, fmt.Sprintf("it is %.40q", n.Value), "write "+want)
	}
	return v
}

// Numbers reads a list of numbers of 0 to highest, each once.
func (s *Section) Numbers(name string, highest uint32) []int {
	want := fmt.Sprintf("numbers of 0 to %d, each once", highest)
	n := s.take(name, yaml.SequenceNode, "a list of "+want)
	if n == nil {
		return nil
	}
	var out []int
	for i, item := range n.Content {
		v, ok := strictyaml.Number(item, 0, highest)
		if !ok || slices.Contains(out, int(v)) {
			s.failItem(name, item, i, fmt.Sprintf("it is %.40q", item.Value), "write "+want)
			continue
		}
		out = append(out, int(v))
	}
	return out
}

// Duration reads a time such as 12h or 90s; 0 if it is not there.
func (s *Section) Duration(name string, lowest time.Duration) time.Duration {
	value := s.Text(name)
	if value == "" {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < lowest {
		s.Fail(name, fmt.Sprintf("%.40q is no time of %v or more", value, lowest), "write a time such as 90s, 15m or 12h")
		return 0
	}
	return d
}

// Texts reads a list of texts, each once.
func (s *Section) Texts(name string) []string {
	n := s.take(name, yaml.SequenceNode, "a list of texts")
	if n == nil {
		return nil
	}
	var out []string
	for i, item := range n.Content {
		value, problem, remedy := strictyaml.Text(item)
		if problem == "" && slices.Contains(out, value) {
			problem, remedy = "it is listed twice", "keep one"
		}
		if problem != "" {
			s.failItem(name, item, i, problem, remedy)
			continue
		}
		out = append(out, value)
	}
	return out
}

// textPrefix marks an identifier that is given as text.
const textPrefix = "text:"

// bytesOf reads bytes in hex, of one of the sizes where any are given. With named,
// text:NAME stands for the bytes of NAME.
func bytesOf(n *yaml.Node, named bool, sizes ...int) (value []byte, problem, remedy string) {
	value, problem, remedy = nil, "", ""
	t, problem, remedy := strictyaml.Text(n)
	if problem != "" {
		return nil, problem, remedy
	}
	if name, ok := strings.CutPrefix(t, textPrefix); ok && named && name != "" {
		return []byte(name), "", ""
	}
	value, err := hex.DecodeString(t)
	switch {
	case err != nil && named:
		return nil, "it is not bytes in hex", fmt.Sprintf("write them in hex, or text as %.80q", textPrefix+t)
	case err != nil:
		return nil, "it is not bytes in hex", "write two digits of 0-9 and a-f for each byte"
	case len(sizes) > 0 && !slices.Contains(sizes, len(value)):
		return nil, fmt.Sprintf("it has %d bytes", len(value)), "write " + sizesText(sizes) + " bytes in hex"
	}
	return value, "", ""
}

func sizesText(sizes []int) string {
	var out []string
	for _, s := range sizes {
		out = append(out, strconv.Itoa(s))
	}
	return strings.Join(out, " or ")
}

// Bytes reads bytes in hex, of one of the sizes; nil if they are not there.
func (s *Section) Bytes(name string, sizes ...int) []byte {
	n := s.take(name, yaml.ScalarNode, "bytes in hex")
	if n == nil {
		return nil
	}
	value, problem, remedy := bytesOf(n, false, sizes...)
	if problem != "" {
		s.Fail(name, problem, remedy)
	}
	return value
}

// ByteLists reads a list of bytes in hex, each once and of one of the sizes.
func (s *Section) ByteLists(name string, sizes ...int) [][]byte {
	return s.byteLists(name, false, sizes...)
}

// Identifiers reads a list of identifiers: bytes in hex, or text:NAME, each once.
func (s *Section) Identifiers(name string) [][]byte { return s.byteLists(name, true) }

func (s *Section) byteLists(name string, named bool, sizes ...int) [][]byte {
	n := s.take(name, yaml.SequenceNode, "a list of bytes in hex")
	if n == nil {
		return nil
	}
	seen := make(map[string]bool)
	var out [][]byte
	for i, item := range n.Content {
		value, problem, remedy := bytesOf(item, named, sizes...)
		if problem == "" && seen[string(value)] {
			problem, remedy = "it is listed twice", "keep one"
		}
		if problem != "" {
			s.failItem(name, item, i, problem, remedy)
			continue
		}
		seen[string(value)] = true
		out = append(out, bytes.Clone(value))
	}
	return out
}

// Section reads a field that is a mapping. What is not there is an empty section,
// which has no fields: see [Section.There].
func (s *Section) Section(name string) *Section {
	return s.file.section(s.take(name, yaml.MappingNode, "a mapping"), strictyaml.Path(s.path, name))
}

// There tells whether the section is in the file.
func (s *Section) There() bool { return s.node != nil }

// Sections reads a list of mappings.
func (s *Section) Sections(name string) []*Section {
	n := s.take(name, yaml.SequenceNode, "a list of mappings")
	if n == nil {
		return nil
	}
	var out []*Section
	for i, item := range n.Content {
		if item.Kind != yaml.MappingNode || len(item.Content) == 0 {
			s.failItem(name, item, i, "it is not a mapping with fields", "write NAME: VALUE")
			continue
		}
		out = append(out, s.file.section(item, fmt.Sprintf("%s[%d]", strictyaml.Path(s.path, name), i)))
	}
	return out
}

// Names are the fields that the section has, in the order of the file, for sections
// whose fields are the user's own names.
func (s *Section) Names() []string {
	var out []string
	for key := range strictyaml.Fields(s.node) {
		out = append(out, key.Value)
	}
	return out
}
