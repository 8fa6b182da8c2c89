package rotate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults and limits of [Options].
const (
	// DefaultEvery is how often the files are looked at.
	DefaultEvery = 10 * time.Second
	// young is how long after its last change a file is read each time: a second
	// change within the granularity of a file system's clock shows in no stamp.
	young = 5 * time.Second
)

// A Change is a certificate that is used from now on.
type Change struct {
	Old, New *tls.Certificate
	// SameKey tells that the key is the one before. Where it is not, peers that ask
	// anew on an open connection refuse it unless they set AllowKeyChange.
	SameKey bool
}

// Options are those of [Files]. The zero value is good.
type Options struct {
	// Every is how often the files are looked at; zero: [DefaultEvery]. Negative
	// values are an error.
	Every time.Duration

	// Changed, if set, is told of each new certificate that is used from then on.
	Changed func(Change)

	// Failed, if set, is told why what the files hold is not used: once for each
	// content, and once each time that a file cannot be read anew. The certificate
	// before stays in use. It is also told, once, when that one runs out. The
	// error wraps [ErrRead], [ErrPair] or [ErrNotValidNow]; it never holds a key.
	// Both callbacks are called one at a time, by [Watcher.Look].
	Failed func(error)

	// Now is the clock that judges whether a certificate is valid; nil: time.Now.
	Now func() time.Time
}

// Watcher serves the certificate that two files hold. Its methods are safe for
// concurrent use.
type Watcher struct {
	chainFile, keyFile string
	o                  Options
	now                atomic.Pointer[tls.Certificate]

	looking  sync.Mutex // guards what follows
	stamps   [2]stamp
	digest   [sha256.Size]byte // of what was judged last
	used     [sha256.Size]byte // of what is in use
	pending  bool              // what was judged last may become valid
	unread   string            // why the files could not be read; "": they could
	ranOut   bool              // told that the certificate in use has run out
	lastRead time.Time

	done chan struct{}
}

// Files loads a certificate chain, leaf first, and its private key from PEM files,
// and looks whether they have changed until ctx ends. What they hold now must be
// good: a chain and a key that belong together, valid now. Later, what is not good
// is not used, and the certificate before stays; so the two files may be replaced
// one after the other, and need not be in one step.
func Files(ctx context.Context, chainFile, keyFile string, o Options) (*Watcher, error) {
	if o.Every < 0 {
		return nil, errors.New("rotate: Every must not be negative")
	}
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Watcher{chainFile: chainFile, keyFile: keyFile, o: o, done: make(chan struct{})}
	c, err := read(chainFile, keyFile, readFile)
	if err != nil {
		return nil, fmt.Errorf("rotate: %w", err)
	}
	cert, err := Pair(c.chain, c.key, o.Now())
	if err != nil {
		return nil, fmt.Errorf("rotate: %s, %s: %w", chainFile, keyFile, err)
	}
	w.now.Store(cert)
	w.stamps, w.digest, w.used, w.lastRead = c.stamps, c.digest, c.digest, time.Now()
	go w.run(ctx)
	return w, nil
}

// Wait returns when the ctx of [Files] has ended and the files are looked at no
// more. The certificate of that moment is served on.
func (w *Watcher) Wait() { <-w.done }

func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	tick := time.NewTicker(w.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.Look()
		}
	}
}

// Look looks at the files now, as it is done every Options.Every: for a signal that
// they have changed, such as SIGHUP.
func (w *Watcher) Look() {
	w.looking.Lock()
	defer w.looking.Unlock()
	w.tellEnd()
	if !w.pending && w.unchanged() {
		return
	}
	w.lastRead = time.Now()
	c, err := read(w.chainFile, w.keyFile, readFile)
	w.stamps = c.stamps
	if err != nil {
		if err.Error() != w.unread {
			w.unread = err.Error()
			w.fail(err)
		}
		return
	}
	w.unread = ""
	if c.digest == w.digest && !w.pending {
		return
	}
	w.take(c)
}

// take judges what was read, and uses it if it is good.
func (w *Watcher) take(c content) {
	told := c.digest == w.digest
	w.digest, w.pending = c.digest, false
	if c.digest == w.used {
		return // it is back to what is in use
	}
	cert, err := Pair(c.chain, c.key, w.o.Now())
	if err != nil {
		w.pending = errors.Is(err, ErrNotValidNow)
		if !told {
			w.fail(fmt.Errorf("%s, %s: %w", w.chainFile, w.keyFile, err))
		}
		return
	}
	old := w.now.Swap(cert)
	w.used, w.ranOut = c.digest, false
	if w.o.Changed != nil {
		w.o.Changed(Change{Old: old, New: cert, SameKey: sameKey(old, cert)})
	}
}

// unchanged tells that the files are those that were read last, by their stamps.
func (w *Watcher) unchanged() bool {
	for i, name := range []string{w.chainFile, w.keyFile} {
		now := stampOf(name)
		if !now.same(w.stamps[i]) || w.lastRead.Sub(now.modified) < young {
			return false
		}
	}
	return true
}

// tellEnd tells once that the certificate in use has run out.
func (w *Watcher) tellEnd() {
	end := w.now.Load().Leaf.NotAfter
	if w.ranOut || !w.o.Now().After(end) {
		return
	}
	w.ranOut = true
	w.fail(fmt.Errorf("%w: the one in use ended at %v", ErrNotValidNow, end.Format(time.RFC3339)))
}

func (w *Watcher) fail(err error) {
	if w.o.Failed != nil {
		w.o.Failed(fmt.Errorf("rotate: %w", err))
	}
}

// Certificate is the one in use. It must not be modified.
func (w *Watcher) Certificate() *tls.Certificate { return w.now.Load() }

// GetIdentities is for Config.GetIdentities of package expat. It never fails: a
// certificate that has run out is for the peer to refuse.
func (w *Watcher) GetIdentities(context.Context) ([]tls.Certificate, error) {
	return []tls.Certificate{*w.now.Load()}, nil
}

// GetCertificate is for the field of that name in [tls.Config]. Connections of
// package expat need it only where GetIdentities is not set.
func (w *Watcher) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return w.now.Load(), nil
}

// GetClientCertificate is for the field of that name in [tls.Config]. The server
// is shown no certificate if it takes none of this one's issuer.
func (w *Watcher) GetClientCertificate(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert := w.now.Load()
	if info.SupportsCertificate(cert) != nil {
		return new(tls.Certificate), nil
	}
	return cert, nil
}
