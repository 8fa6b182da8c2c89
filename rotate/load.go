package rotate

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// MaxFileSize is the largest file read, in bytes.
const MaxFileSize = 1 << 20

// Reasons for which what the files hold is not used. They are found with
// [errors.Is].
var (
	// ErrRead: a file cannot be read, or is larger than [MaxFileSize].
	ErrRead = errors.New("file cannot be read")
	// ErrPair: the files hold no certificate chain and key that belong together.
	ErrPair = errors.New("no certificate chain with its key")
	// ErrNotValidNow: the leaf is not valid yet, or no longer.
	ErrNotValidNow = errors.New("certificate is not valid now")
)

// content is what both files held, and what state they were in.
type content struct {
	chain, key []byte
	stamps     [2]stamp
	digest     [sha256.Size]byte
}

// stamp tells that a file may have changed. Two that are equal say little where a
// file system's clock is coarse, so young files are read again.
type stamp struct {
	modified time.Time
	size     int64
	inode    any // os.FileInfo, for os.SameFile; nil: the file is not there
}

func stampOf(name string) stamp {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}
	}
	return stamp{modified: info.ModTime(), size: info.Size(), inode: info}
}

func (s stamp) same(o stamp) bool {
	a, ok := s.inode.(os.FileInfo)
	b, ok2 := o.inode.(os.FileInfo)
	return ok && ok2 && os.SameFile(a, b) && s.size == o.size && s.modified.Equal(o.modified)
}

// attempts is how often files are read that change while they are read.
const attempts = 3

// read reads both files by means of one, so that they are of one moment where a directory
// that holds both is replaced in one step.
func read(chainFile, keyFile string, one func(name string) ([]byte, error)) (c content, err error) {
	for range attempts {
		c, err = readOnce(chainFile, keyFile, one)
		if err != nil || c.stamps[0].same(stampOf(chainFile)) && c.stamps[1].same(stampOf(keyFile)) {
			break
		}
	}
	return c, err
}

// readOnce takes the stamps first: what changes after them is seen the next time.
func readOnce(chainFile, keyFile string, one func(name string) ([]byte, error)) (content, error) {
	c := content{stamps: [2]stamp{stampOf(chainFile), stampOf(keyFile)}}
	var err error
	if c.chain, err = one(chainFile); err != nil {
		return c, err
	}
	if c.key, err = one(keyFile); err != nil {
		return c, err
	}
	// The length keeps the two apart.
	h := sha256.New()
	fmt.Fprintf(h, "%d\x00", len(c.chain))
	h.Write(c.chain)
	h.Write(c.key)
	h.Sum(c.digest[:0])
	return c, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name) // to open a pipe would wait
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	case len(b) > MaxFileSize:
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrRead, name, MaxFileSize)
	}
	return b, nil
}

// Pair makes a certificate of a chain, leaf first, and its private key in PEM, if it
// can be used at that time. The error wraps [ErrPair] or [ErrNotValidNow].
func Pair(chain, key []byte, now time.Time) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPair, err)
	}
	if now.Before(cert.Leaf.NotBefore) || now.After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("%w: it is from %v to %v", ErrNotValidNow,
			cert.Leaf.NotBefore.Format(time.RFC3339), cert.Leaf.NotAfter.Format(time.RFC3339))
	}
	return &cert, nil
}

// sameKey tells whether two certificates have the same key.
func sameKey(a, b *tls.Certificate) bool {
	return bytes.Equal(a.Leaf.RawSubjectPublicKeyInfo, b.Leaf.RawSubjectPublicKeyInfo)
}
