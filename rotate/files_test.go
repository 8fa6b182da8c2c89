package rotate_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/rotate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serverName = "server.test"

// place is a directory with a chain and a key, and who issues more of them.
type place struct {
	testing.TB
	ca         *testca.CA
	chain, key string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	ca, err := testca.New("rotate", time.Now())
	require.NoError(t, err)
	dir := t.TempDir()
	return &place{t, ca, filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func (p *place) issue(key crypto.Signer, at time.Time) tls.Certificate {
	p.Helper()
	cert, err := p.ca.Leaf(key, at, serverName)
	require.NoError(p, err)
	return cert
}

func chainPEM(cert tls.Certificate) []byte {
	var b bytes.Buffer
	for _, der := range cert.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.Bytes()
}

func keyPEM(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// write replaces a file in one step.
func (p *place) write(name string, b []byte) {
	p.Helper()
	require.NoError(p, os.WriteFile(name+".new", b, 0o600))
	require.NoError(p, os.Rename(name+".new", name))
}

func (p *place) put(cert tls.Certificate) {
	p.Helper()
	p.write(p.chain, chainPEM(cert))
	p.write(p.key, keyPEM(p, cert.PrivateKey))
}

// heard is what a Watcher told.
type heard struct {
	mu      sync.Mutex
	changes []rotate.Change
	errs    []error
	clock   time.Time
}

func (h *heard) options() rotate.Options {
	h.clock = time.Now()
	return rotate.Options{
		Every:   time.Hour, // the tests look
		Changed: func(c rotate.Change) { h.mu.Lock(); h.changes = append(h.changes, c); h.mu.Unlock() },
		Failed:  func(err error) { h.mu.Lock(); h.errs = append(h.errs, err); h.mu.Unlock() },
		Now:     func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.clock },
	}
}

func (h *heard) set(at time.Time) { h.mu.Lock(); h.clock = at; h.mu.Unlock() }

func (p *place) watch(o rotate.Options) *rotate.Watcher {
	p.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w, err := rotate.Files(ctx, p.chain, p.key, o)
	p.Cleanup(func() {
		cancel()
		if w != nil {
			w.Wait()
		}
	})
	require.NoError(p, err)
	return w
}

// A renewed certificate is used as soon as both files are there, and told once.
func TestRenewal(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := p.issue(newKey(t), time.Now())
	p.put(first)
	h := new(heard)
	w := p.watch(h.options())
	require.Equal(t, first.Certificate, w.Certificate().Certificate)
	w.Look()

	second := p.issue(first.PrivateKey.(crypto.Signer), time.Now())
	p.put(second)
	w.Look()
	w.Look()
	require.Equal(t, second.Certificate, w.Certificate().Certificate)

	third := p.issue(newKey(t), time.Now())
	p.write(p.chain, chainPEM(third)) // the key follows
	w.Look()
	w.Look()
	require.Equal(t, second.Certificate, w.Certificate().Certificate)
	require.Len(t, h.errs, 1, "once")
	require.ErrorIs(t, h.errs[0], rotate.ErrPair)
	p.write(p.key, keyPEM(t, third.PrivateKey))
	w.Look()
	require.Equal(t, third.Certificate, w.Certificate().Certificate)

	require.Len(t, h.changes, 2)
	require.Equal(t, [2]bool{true, false}, [2]bool{h.changes[0].SameKey, h.changes[1].SameKey})
	require.Equal(t, first.Certificate, h.changes[0].Old.Certificate)
	require.Equal(t, second.Certificate, h.changes[0].New.Certificate)
	require.Len(t, h.errs, 1)
}

// What cannot be used is told once, and the certificate before stays.
func TestBadContent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(p *place, good tls.Certificate)
		want  error
	}{
		"garbage":          {func(p *place, _ tls.Certificate) { p.write(p.chain, []byte("garbage")) }, rotate.ErrPair},
		"empty":            {func(p *place, _ tls.Certificate) { p.write(p.key, nil) }, rotate.ErrPair},
		"half":             {func(p *place, good tls.Certificate) { b := chainPEM(good); p.write(p.chain, b[:len(b)/4]) }, rotate.ErrPair},
		"key of another":   {func(p *place, _ tls.Certificate) { p.write(p.key, keyPEM(p, newKey(p))) }, rotate.ErrPair},
		"chain of another": {func(p *place, _ tls.Certificate) { p.write(p.chain, chainPEM(p.issue(newKey(p), time.Now()))) }, rotate.ErrPair},
		"expired":          {func(p *place, _ tls.Certificate) { p.put(p.issue(newKey(p), time.Now().Add(-1000*time.Hour))) }, rotate.ErrNotValidNow},
		"of the future":    {func(p *place, _ tls.Certificate) { p.put(p.issue(newKey(p), time.Now().Add(1000*time.Hour))) }, rotate.ErrNotValidNow},
		"chain vanished":   {func(p *place, _ tls.Certificate) { _ = os.Remove(p.chain) }, rotate.ErrRead},
		"key vanished":     {func(p *place, _ tls.Certificate) { _ = os.Remove(p.key) }, rotate.ErrRead},
		"too large":        {func(p *place, _ tls.Certificate) { p.write(p.chain, make([]byte, rotate.MaxFileSize+1)) }, rotate.ErrRead},
		"a directory":      {func(p *place, _ tls.Certificate) { _ = os.Remove(p.key); _ = os.Mkdir(p.key, 0o700) }, rotate.ErrRead},
		"one byte too much": {func(p *place, good tls.Certificate) {
			p.write(p.chain, append(chainPEM(good), make([]byte, rotate.MaxFileSize)...))
		}, rotate.ErrRead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			good := p.issue(newKey(t), time.Now())
			p.put(good)
			h := new(heard)
			w := p.watch(h.options())
			c.spoil(p, good)
			for range 3 {
				w.Look()
			}
			require.Len(t, h.errs, 1)
			require.ErrorIs(t, h.errs[0], c.want)
			require.NotContains(t, h.errs[0].Error(), "PRIVATE")
			require.Empty(t, h.changes)
			require.Equal(t, good.Certificate, w.Certificate().Certificate)

			// At the start there is nothing to keep.
			_, err := rotate.Files(t.Context(), p.chain, p.key, rotate.Options{})
			require.ErrorIs(t, err, c.want)

			// The files are as before: nothing to tell. Then a new pair is used.
			_ = os.Remove(p.key)
			p.put(good)
			w.Look()
			require.Empty(t, h.changes)
			next := p.issue(newKey(t), time.Now())
			p.put(next)
			w.Look()
			require.Equal(t, next.Certificate, w.Certificate().Certificate)
			require.Len(t, h.errs, 1)
		})
	}
	p := newPlace(t)
	p.put(p.issue(newKey(t), time.Now()))
	_, err := rotate.Files(t.Context(), p.chain, p.key, rotate.Options{Every: -1})
	require.EqualError(t, err, "rotate: Every must not be negative")
}

// A certificate that is not valid yet is used when it is, without another change.
func TestValidLater(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := p.issue(newKey(t), time.Now())
	p.put(first)
	h := new(heard)
	w := p.watch(h.options())
	later := p.issue(newKey(t), time.Now().Add(10*time.Hour))
	p.put(later)
	w.Look()
	w.Look()
	require.Len(t, h.errs, 1)
	require.Equal(t, first.Certificate, w.Certificate().Certificate)
	h.set(later.Leaf.NotBefore)
	w.Look()
	require.Equal(t, later.Certificate, w.Certificate().Certificate)
	require.Len(t, h.changes, 1)
	require.Len(t, h.errs, 1)
}

// The end of the certificate in use is told once, and it is shown on: whether it
// is good is for the peer to say.
func TestRunsOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := p.issue(newKey(t), time.Now())
	p.put(first)
	h := new(heard)
	w := p.watch(h.options())
	h.set(first.Leaf.NotAfter)
	w.Look()
	require.Empty(t, h.errs)
	h.set(first.Leaf.NotAfter.Add(time.Second))
	w.Look()
	w.Look()
	require.Len(t, h.errs, 1)
	require.ErrorIs(t, h.errs[0], rotate.ErrNotValidNow)
	require.Equal(t, first.Certificate, w.Certificate().Certificate)
}

// Files that are old and unchanged are not read; those that were changed with the
// same size and time a moment ago are.
func TestStamps(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	key := newKey(t)
	first := p.issue(key, time.Now())
	p.put(first)
	old := time.Now().Add(-time.Hour)
	stampAll := func(at time.Time) {
		require.NoError(t, os.Chtimes(p.chain, at, at))
		require.NoError(t, os.Chtimes(p.key, at, at))
	}
	stampAll(old)
	w := p.watch(new(heard).options())
	var second tls.Certificate
	for second = p.issue(key, time.Now()); len(chainPEM(second)) != len(chainPEM(first)); second = p.issue(key, time.Now()) {
	}
	same := func(b []byte, at time.Time) { // in place: the same inode
		require.NoError(t, os.WriteFile(p.chain, b, 0o600))
		require.NoError(t, os.Chtimes(p.chain, at, at))
	}
	same(chainPEM(second), old)
	w.Look()
	require.Equal(t, first.Certificate, w.Certificate().Certificate, "it was not read: it claims to be unchanged")
	now := time.Now()
	same(chainPEM(second), now)
	w.Look()
	require.Equal(t, second.Certificate, w.Certificate().Certificate)
	same(chainPEM(first), now)
	w.Look()
	require.Equal(t, first.Certificate, w.Certificate().Certificate, "it is young")
}

// Without anybody who looks the files are looked at, until ctx ends. No callback is
// needed.
func TestTicks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.put(p.issue(newKey(t), time.Now()))
	ctx, cancel := context.WithCancel(t.Context())
	w, err := rotate.Files(ctx, p.chain, p.key, rotate.Options{Every: time.Millisecond})
	require.NoError(t, err)
	p.write(p.chain, []byte("garbage"))
	next := p.issue(newKey(t), time.Now())
	p.put(next)
	require.Eventually(t, func() bool { return bytes.Equal(w.Certificate().Certificate[0], next.Certificate[0]) }, 10*time.Second, time.Millisecond)
	cancel()
	w.Wait()
	p.put(p.issue(newKey(t), time.Now()))
	time.Sleep(20 * time.Millisecond)
	require.Equal(t, next.Certificate, w.Certificate().Certificate)
}
