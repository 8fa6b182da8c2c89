package platform

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
	"github.com/expat-go/expat/verifier/remote"
)

// Show has o show results of the Verifier behind a client in place of its Evidence, for
// each connection or, if cached, one for its key that is renewed. stop, which lets go of
// the client, and o are closed with what is returned, also where that is an error, which
// wraps [ErrElsewhere].
func Show(o *Own, client *remote.Verifier, stop func() error, cached bool) (own *Own, err error) {
	own = &Own{Certificate: o.Certificate, Renew: o.Renew, close: func() error { return errors.Join(stop(), o.Close()) }}
	defer func() {
		if err != nil {
			err = errors.Join(elsewhere(err), own.Close())
			own = nil
		}
	}()
	source, err := client.Source(o.Attester)
	if err != nil {
		return own, err
	}
	if !cached {
		own.Attester, err = passport.NewPerConnection(source)
		return own, err
	}
	k := &byKey{source: source}
	own.Attester, own.close = k, func() error { return errors.Join(k.Close(), stop(), o.Close()) }
	if len(o.Certificate.Certificate) == 0 { // it is in a file, and can be another at any time
		return own, nil
	}
	leaf, err := x509.ParseCertificate(o.Certificate.Certificate[0])
	if err == nil {
		_, err = k.of(leaf.RawSubjectPublicKeyInfo)
	}
	return own, err
}

// keptKeys is for how many keys there are passports: that of connections from now on,
// and the one before, with which open connections may be asked again.
const keptKeys = 2

// byKey is an Attester that has a passport for the key of a connection: the key is
// another when the certificate was renewed.
type byKey struct {
	source passport.Source

	mu     sync.Mutex
	closed bool
	kept   []cachedKey // the newest last
}

type cachedKey struct {
	spki string
	*passport.Cached
}

func (*byKey) MediaTypes() []string { return []string{ear.MediaType} }

func (k *byKey) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	c, err := k.of(b.SPKI())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", attestation.ErrAttester, err)
	}
	return c.Attest(ctx, b, accept)
}

// of is what has the passport for a key.
func (k *byKey) of(spki []byte) (*passport.Cached, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.kept {
		if c.spki == string(spki) {
			return c.Cached, nil
		}
	}
	if k.closed {
		return nil, passport.ErrClosed
	}
	c, err := passport.NewCached(context.Background(), passport.CachedOptions{Source: k.source, SPKI: spki})
	if err != nil {
		return nil, err
	}
	if k.kept = append(k.kept, cachedKey{string(spki), c}); len(k.kept) > keptKeys {
		_ = k.kept[0].Close() // is nil
		k.kept = k.kept[1:]
	}
	return c, nil
}

// Close ends what is obtained beforehand.
func (k *byKey) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, c := range k.kept {
		_ = c.Close() // is nil
	}
	return nil
}
