package remote

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
)

// acceptPassports starts a relying party that takes nothing but passports, and returns
// what connects the device to it with them.
func acceptPassports(t *testing.T, s *site) func(a attestation.Attester) (*expat.Conn, error) {
	t.Helper()
	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), &expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{must(s.ca.Leaf(newKey(), time.Now(), "server.test"))}, ClientCAs: s.ca.Pool()},
		Verifier: must(passport.NewVerifier(passport.VerifierOptions{Checker: s.remote.o.Checker})),
	})
	var served sync.WaitGroup
	served.Go(func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			served.Go(func() { _ = c.Close() })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, ln.Close())
		served.Wait()
	})
	return func(a attestation.Attester) (*expat.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return expat.Dial(ctx, "tcp", ln.Addr().String(), &expat.Config{
			TLS:      &tls.Config{RootCAs: s.ca.Pool(), ServerName: "server.test", Certificates: []tls.Certificate{s.device}},
			Attester: a,
		})
	}
}

// A passport end to end: the device sends the service its Evidence for the connection,
// checks the EAR as the relying party will, and shows it.
func TestPassport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dial := acceptPassports(t, s)
	source, err := s.remote.Source(s)
	require.NoError(t, err)
	obtain := func(ctx context.Context, b attestation.Binding) ([]byte, error) {
		token, _, err := source.Obtain(ctx, b)
		return token, err
	}
	checked := must(passport.Checked(obtain, s.remote.o.Checker))
	for name, from := range map[string]passport.Source{"source": source, "checked": checked} {
		conn, err := dial(must(passport.NewPerConnection(from)))
		require.NoError(t, err, name)
		require.NoError(t, conn.Close(), name)
	}
	attester := must(passport.NewPerConnection(checked))

	// Another service's word is not presented.
	stranger := must(ear.NewChecker(ear.CheckerOptions{Keys: must(ear.Static(ear.Key{Public: &newKey().PublicKey})), Issuer: issuerName}))
	_, err = dial(must(passport.NewPerConnection(must(passport.Checked(obtain, stranger)))))
	require.ErrorIs(t, err, passport.ErrSource)
	require.ErrorIs(t, err, ear.ErrSignature)

	// Evidence for another key, or one that answers for another connection.
	_, err = dial(must(passport.NewPerConnection(must(s.remote.Source(liar{})))))
	require.ErrorIs(t, err, passport.ErrSource)
	require.ErrorIs(t, err, attestation.ErrRejected)
	other := must(passport.Checked(func(ctx context.Context, b attestation.Binding) ([]byte, error) {
		return obtain(ctx, must(attestation.AssertedBinding(newBinding().Binder(), b.SPKI())))
	}, s.remote.o.Checker))
	_, err = dial(must(passport.NewPerConnection(other)))
	require.ErrorIs(t, err, ear.ErrNonce)

	// Without the service there is no passport; with it, again.
	s.stop(t)
	_, err = dial(attester)
	require.ErrorIs(t, err, passport.ErrSource)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	s.start(t)
	require.Eventually(t, func() bool {
		conn, err := dial(attester)
		return err == nil && conn.Close() == nil
	}, 10*time.Second, 50*time.Millisecond)
}
