package policy

import (
	"context"
	"crypto/sha256"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/internal/strictyaml"
)

// file is a policy file while it is read.
type file struct {
	strictyaml.File
	dir      string // relative names are relative to it
	options  *Options
	sections []*Section
	sources  []source
}

// source is a file that was read, or could not be.
type source struct {
	path   string
	digest [sha256.Size]byte // of its content, or of the error
	failed bool
}

func (f *file) section(n *yaml.Node, path string) *Section {
	s := &Section{file: f, node: n, path: path}
	f.sections = append(f.sections, s)
	return s
}

// unknown reports the fields that nobody asked for.
func (f *file) unknown() {
	for _, s := range f.sections {
		f.Unknown(s.node, s.path, s.known)
	}
}

// read returns the content of a file that the policy names.
func (f *file) read(name string) ([]byte, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	b, err := strictyaml.Read(path)
	f.sources = append(f.sources, newSource(path, b, err))
	return b, err
}

func newSource(path string, content []byte, err error) source {
	if err != nil {
		return source{path: path, digest: sha256.Sum256([]byte(err.Error())), failed: true}
	}
	return source{path: path, digest: sha256.Sum256(content)}
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
