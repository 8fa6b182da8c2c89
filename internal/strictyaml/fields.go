package strictyaml

import (
	"fmt"
	"iter"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fields are the names and values of a mapping, in the order of the file; nil has none.
func Fields(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// KindName says what a node is.
func KindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Tag == "!!str":
		return "text"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!timestamp":
		return "a date to YAML"
	}
	return "a number to YAML"
}

// Text reads a scalar as text, which is not empty, or says what is wrong with it. YAML
// takes 1.10 for the number 1.1, so that what is not text must be quoted.
func Text(n *yaml.Node) (value, problem, remedy string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", "it is " + KindName(n), "write text"
	case n.Tag == "!!null":
		return "", "it has no value", "write text"
	case n.Tag != "!!str":
		return "", "it is " + KindName(n), fmt.Sprintf("write it in quotes: %.80q", n.Value)
	case n.Value == "":
		return "", "it is empty", "write text, or leave it out"
	case strings.ContainsFunc(n.Value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
		return "", "it holds a control character", "remove it"
	}
	return n.Value, "", ""
}

// Flag reads true or false, or says what is wrong.
func Flag(n *yaml.Node) (value bool, problem, remedy string) {
	if n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
		return false, fmt.Sprintf("it is %.40q", n.Value), "write true or false"
	}
	return n.Value == "true", "", ""
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,9})$`)

// Number reads a decimal number of lowest to highest.
func Number(n *yaml.Node, lowest, highest uint32) (uint32, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || !decimal.MatchString(n.Value) {
		return 0, false
	}
	v, err := strconv.ParseUint(n.Value, 10, 64)
	return uint32(min(v, math.MaxUint32)), err == nil && v >= uint64(lowest) && v <= uint64(highest)
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// Plain tells whether a name stands in paths as it is.
func Plain(name string) bool { return plainName.MatchString(name) }

// Path is that of a field of the section at path, "" for the file.
func Path(path, name string) string {
	switch {
	case !Plain(name):
		return fmt.Sprintf("%s[%.64q]", path, name)
	case path == "":
		return name
	}
	return path + "." + name
}

// Unknown reports the fields of the section n at path that are not among known.
func (f *File) Unknown(n *yaml.Node, path string, known []string) {
	for key := range Fields(n) {
		if slices.Contains(known, key.Value) {
			continue
		}
		remedy := "the fields here are " + strings.Join(sorted(known), ", ")
		if near := nearest(key.Value, known); near != "" {
			remedy = fmt.Sprintf("did you mean %s?", near)
		}
		f.At(key, Path(path, key.Value), "there is no such field", remedy)
	}
}

func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}

// nearest is the name that is meant, "" if none is near.
func nearest(name string, names []string) string {
	best, distance := "", 1+len(name)/3
	for _, n := range sorted(names) {
		if d := edits(strings.ToLower(name), n, distance); d <= distance && (best == "" || d < distance) {
			best, distance = n, d
		}
	}
	return best
}

// edits is how many letters must be changed, added or left out to make b of a, or
// more than limit.
func edits(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) > limit || len(a) > 64 {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
