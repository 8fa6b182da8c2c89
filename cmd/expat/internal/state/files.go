package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 64 << 10

// dir is a state directory.
type dir string

// read returns the file's bytes, or an error that wraps [fs.ErrNotExist].
func (d dir) read(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return b, err
}

// create writes a file that must not be there yet: the name appears with its whole
// content or not at all, also where two processes do so at once. If it is there
// the error wraps [fs.ErrExist].
func (d dir) create(name string, content []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(string(d), "."+name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Link(f.Name(), filepath.Join(string(d), name))
}

// keep returns what is in a file, after putting there what content makes if there
// is none.
func (d dir) keep(name string, mode fs.FileMode, content func() ([]byte, error)) ([]byte, error) {
	b, err := d.read(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = content(); err != nil {
		return nil, err
	}
	if err := d.create(name, b, mode); !errors.Is(err, fs.ErrExist) {
		return b, err
	}
	return d.read(name) // another process was faster
}
