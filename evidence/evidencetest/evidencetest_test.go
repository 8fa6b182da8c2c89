package evidencetest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/evidencetest"
)

type attester struct{ err error }

func (attester) MediaTypes() []string { return []string{"text/plain"} }

func (a attester) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	if a.err != nil {
		return nil, a.err
	}
	return cmw.NewRecord("text/plain", []byte("x"), 0)
}

type acceptor struct{ seen attestation.Binding }

func (*acceptor) MediaTypes() []string { return []string{"text/plain"} }

func (a *acceptor) Appraise(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
	a.seen = b
	return nil, attestation.ErrRejected
}

func TestExchange(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		c, err := evidencetest.Connect(h)
		require.NoError(t, err)
		one, two := new(acceptor), new(acceptor)
		_, err = c.Exchange(context.Background(), id, attester{}, one)
		require.ErrorIs(t, err, attestation.ErrRejected)
		_, err = c.Exchange(context.Background(), id, attester{}, two)
		require.ErrorIs(t, err, attestation.ErrRejected)
		require.Len(t, one.seen.Binder(), h.Size())
		require.NotEqual(t, one.seen.Binder(), two.seen.Binder(), "each request has its own binder")
		require.Equal(t, one.seen.KeyHash(), two.seen.KeyHash())

		b, m, err := evidencetest.Attest(context.Background(), h, id, attester{})
		require.NoError(t, err)
		require.True(t, b.Valid())
		require.Equal(t, []byte("x"), m.Leaves()[0].Value)
	}
	_, err = evidencetest.Connect(crypto.SHA512)
	require.Error(t, err)
	broken := errors.New("broken")
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, id, attester{broken})
	require.ErrorIs(t, err, broken)
	require.Nil(t, m)
	require.True(t, b.Valid())
}

func TestAttestNewKey(t *testing.T) {
	t.Parallel()
	b, value, err := evidencetest.AttestNewKey(context.Background(), attester{})
	require.NoError(t, err)
	require.True(t, b.Valid())
	require.Equal(t, []byte("x"), value)
	broken := errors.New("broken")
	_, value, err = evidencetest.AttestNewKey(context.Background(), attester{broken})
	require.ErrorIs(t, err, broken)
	require.Nil(t, value)
}

// The client is told of a server that attests, and of one that cannot.
func TestDial(t *testing.T) {
	t.Parallel()
	seen := new(acceptor)
	_, err := evidencetest.Dial(context.Background(), attester{}, seen)
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.True(t, seen.seen.Valid())
	_, err = evidencetest.Dial(context.Background(), attester{errors.New("broken")}, new(acceptor))
	require.Error(t, err)
	require.NotErrorIs(t, err, attestation.ErrRejected)
}
