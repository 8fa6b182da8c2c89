package policy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is a policy file while it is read.
type file struct {
	name     string
	dir      string // relative names are relative to it
	options  *Options
	sections []*Section
	errs     []*Error
	sources  []source
}

// source is a file that was read, or could not be.
type source struct {
	path   string
	digest [sha256.Size]byte // of its content, or of the error
	failed bool
}

// at reports what is wrong at a node, nil for the whole file.
func (f *file) at(n *yaml.Node, path, problem, remedy string) *Error {
	e := &Error{File: f.name, Path: path, Problem: problem, Remedy: remedy}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	f.errs = append(f.errs, e)
	return e
}

// whole reports what is wrong with the file as such.
func (f *file) whole(err error, problem, remedy string) {
	f.at(nil, "", problem, remedy).Err = err
}

func (f *file) section(n *yaml.Node, path string) *Section {
	s := &Section{file: f, node: n, path: path}
	f.sections = append(f.sections, s)
	return s
}

// unknown reports the fields that nobody asked for.
func (f *file) unknown() {
	for _, s := range f.sections {
		if s.node == nil {
			continue
		}
		for i := 0; i+1 < len(s.node.Content); i += 2 {
			key := s.node.Content[i]
			if slices.Contains(s.known, key.Value) {
				continue
			}
			remedy := "the fields here are " + strings.Join(sorted(s.known), ", ")
			if near := nearest(key.Value, s.known); near != "" {
				remedy = fmt.Sprintf("did you mean %s?", near)
			}
			f.at(key, fieldPath(s.path, key.Value), "there is no such field", remedy)
		}
	}
}

func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}

// read returns the content of a file that the policy names.
func (f *file) read(name string) ([]byte, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	b, err := readFile(path)
	f.sources = append(f.sources, newSource(path, b, err))
	return b, err
}

func newSource(path string, content []byte, err error) source {
	if err != nil {
		return source{path: path, digest: sha256.Sum256([]byte(err.Error())), failed: true}
	}
	return source{path: path, digest: sha256.Sum256(content)}
}

// readFile reads a regular file of at most MaxSize bytes.
func readFile(path string) ([]byte, error) {
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

// Read returns the content of a file, at most [MaxSize] bytes, whose name is the
// text of a field, relative to the policy file; nil where the field is not there or
// the file cannot be read, which is reported. Reloading watches the file too.
func (s *Section) Read(name string) []byte {
	path := s.Text(name)
	if path == "" {
		return nil
	}
	return s.read(name, path)
}

// ReadIn reads a file of a directory whose name is the text of a field.
func (s *Section) ReadIn(name, file string) []byte {
	dir := s.Text(name)
	if dir == "" {
		return nil
	}
	return s.read(name, filepath.Join(dir, file))
}

func (s *Section) read(name, path string) []byte {
	b, err := s.file.read(path)
	switch {
	case err != nil:
		s.fail(name, "the file cannot be read: "+err.Error(), "name a file, from the directory of the policy", err)
		return nil
	case len(b) == 0:
		s.Fail(name, "the file is empty", "name a file with content")
		return nil
	}
	return b
}

// Context is that of [Parse] or [Load].
func (s *Section) Context() context.Context { return s.file.options.ctx }

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
	if abs(len(a)-len(b)) > limit || len(a) > 64 {
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

func abs(n int) int { return max(n, -n) }
