package ear

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

type static []Key

// Static is a KeySource of fixed keys, 1 to 16 on P-256 whose IDs differ. The error
// wraps [ErrKeySet].
func Static(keys ...Key) (KeySource, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	return static(slices.Clone(keys)), nil
}

func (s static) Keys(_ context.Context, kid string) ([]Key, error) { return match(s, kid), nil }

type file struct {
	path string

	mu   sync.Mutex
	info os.FileInfo
	keys []Key
	err  error
}

// JWKSFile is a KeySource that reads a JWK Set from a file and reads it again when the
// file has changed: replace it by renaming another over it, so that no half of it is
// ever read. While the file cannot be read or used there are no keys. The error wraps
// [ErrKeySet].
func JWKSFile(path string) (KeySource, error) {
	f := &file{path: path}
	if _, err := f.Keys(context.Background(), ""); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *file) Keys(_ context.Context, kid string) ([]Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		f.info = nil
		return nil, keySet("%w", err)
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait, whatever the context
		f.info = nil
		return nil, keySet("%s is no regular file", f.path)
	}
	if f.info == nil || !os.SameFile(f.info, info) || f.info.Size() != info.Size() || !f.info.ModTime().Equal(info.ModTime()) {
		f.info = info
		f.keys, f.err = readKeys(f.path)
	}
	if f.err != nil {
		return nil, f.err
	}
	return match(f.keys, kid), nil
}

func readKeys(path string) ([]Key, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, keySet("%w", err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxKeySet+1))
	if err != nil {
		return nil, keySet("%w", err)
	}
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}
