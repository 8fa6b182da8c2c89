package authenticator

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// signerFunc signs with a function under the public key of newKey.
type signerFunc func(digest []byte, opts crypto.SignerOpts) ([]byte, error)

func (signerFunc) Public() crypto.PublicKey { return newKey().Public() }

func (f signerFunc) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return f(digest, opts)
}

// keys that answer with something else than a signature.
func TestSignerAnswers(t *testing.T) {
	t.Parallel()
	broken := errors.New("token removed")
	for _, tc := range []struct {
		name      string
		signature []byte
		err       error
		local     error // from Authenticate
		remote    error // from Validate
	}{
		{name: "error", err: broken, local: ErrSigner},
		{name: "nothing", local: ErrSigner},
		{name: "more than fits", signature: make([]byte, 65536), local: ErrSigner},
		{name: "as much as fits", signature: make([]byte, 65535), remote: ErrSignature},
		{name: "garbage", signature: []byte("no signature at all"), remote: ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			id := identity(t, withKey(signerFunc(func([]byte, crypto.SignerOpts) ([]byte, error) { return tc.signature, tc.err })))
			r, received := ask(t, p.client, p.server, RequestOptions{})
			b, err := p.server.Authenticate(context.Background(), received, id)
			if tc.local != nil {
				requireError(t, err, tc.local, OpAuthenticate, FaultLocal)
				require.Nil(t, b)
				if tc.err != nil {
					require.ErrorIs(t, err, tc.err)
				}
				return
			}
			require.NoError(t, err)
			peer, err := p.client.Validate(r, b, anyChain)
			requireError(t, err, tc.remote, OpValidate, FaultPeer)
			require.Nil(t, peer)
		})
	}
}

// The key is asked with the digest and options that crypto.Signer defines.
func TestSignerOptions(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	key := signerFunc(func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		if len(digest) != 32 || opts.HashFunc() != crypto.SHA256 {
			return nil, errors.New("wrong digest or options")
		}
		return newKey().Sign(rand.Reader, digest, opts)
	})
	r, b := exchange(t, p.client, p.server, RequestOptions{}, identity(t, withKey(key)))
	_, err := p.client.Validate(r, b, serverChain())
	require.NoError(t, err)
}

// A key that never answers holds nobody up beyond the context, and its goroutine
// ends when it does: TestMain looks for those left over.
func TestSignerHangs(t *testing.T) {
	t.Parallel()
	cause := errors.New("deadline of the exchange")
	called, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	id := identity(t, withKey(signerFunc(func([]byte, crypto.SignerOpts) ([]byte, error) {
		close(called)
		<-release
		return nil, errors.New("too late")
	})))
	p := exporterPair(t)
	_, received := ask(t, p.client, p.server, RequestOptions{})
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		<-called
		cancel(cause)
	}()
	b, err := p.server.Authenticate(ctx, received, id)
	requireError(t, err, ErrSigner, OpAuthenticate, FaultLocal)
	require.ErrorIs(t, err, cause)
	require.Nil(t, b)
}

// A context that has ended asks no key, of whatever kind.
func TestSignerNotAskedAfterTheEnd(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	asked := signerFunc(func([]byte, crypto.SignerOpts) ([]byte, error) { panic("asked") })
	for _, key := range []crypto.Signer{newKey(), asked} {
		_, received := ask(t, p.client, p.server, RequestOptions{})
		_, err := p.server.Authenticate(ctx, received, identity(t, withKey(key)))
		requireError(t, err, ErrSigner, OpAuthenticate, FaultLocal)
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err := p.server.AuthenticateSpontaneous(ctx, hello(), identity(t, withKey(asked)))
	requireError(t, err, ErrSigner, OpAuthenticate, FaultLocal)
}
