package lifetime_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/lifetime"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/internal/tlspair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toy attests with anything, and accepts it for a time.
type toy struct{ lifetime time.Duration }

func (toy) MediaTypes() []string { return []string{"application/toy"} }

func (toy) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	return cmw.NewRecord("application/toy", []byte("toy"), cmw.Evidence)
}

func (t toy) Appraise(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "toy", Lifetime: t.lifetime,
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy"}},
	})
}

// pair returns the two ends of a connection on which a verdict on the server holds
// for a time. The client has a clock.
func pair(t *testing.T, holds time.Duration, now func() time.Time) (client, server lifetime.Conn) {
	t.Helper()
	ca, err := testca.New("lifetime", time.Now())
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := ca.Leaf(key, time.Now(), "server.test")
	require.NoError(t, err)
	cn, sn := tlspair.Pipe(t)
	c := expat.Client(cn, &expat.Config{TLS: &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test", Time: now}, Verifier: toy{holds}})
	s := expat.Server(sn, &expat.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Attester: toy{}})
	shook := make(chan error, 1)
	go func() { shook <- s.Handshake() }()
	require.NoError(t, errors.Join(c.Handshake(), <-shook))
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return lifetime.Conn{Conn: c}, lifetime.Conn{Conn: s}
}

// Both sides learn that a verdict has run out, whichever sees it first.
func TestExpires(t *testing.T) {
	t.Parallel()
	client, server := pair(t, time.Second, time.Now)
	require.False(t, client.Expired())
	for _, c := range []lifetime.Conn{client, server} {
		_, err := c.Read(make([]byte, 1))
		var e *expat.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, expat.ErrExpired)
		require.Equal(t, expat.StageLifetime, e.Stage)
		require.True(t, c.Expired())
		for err = nil; err == nil; time.Sleep(time.Millisecond) { // the peer may have seen it a moment before
			_, err = c.Write([]byte("x"))
		}
		require.ErrorIs(t, err, expat.ErrExpired)
	}
}

// So does the side whose clock is set, long before the other clock says so.
func TestExpiresByTheWall(t *testing.T) {
	t.Parallel()
	var set atomic.Int64
	client, _ := pair(t, time.Hour, func() time.Time { return time.Now().Add(time.Duration(set.Load())) })
	require.False(t, client.Expired())
	set.Store(int64(time.Hour))
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, expat.ErrExpired)
	require.True(t, client.Expired())
}

// An orderly end is one as long as the verdict holds.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, holds := range []time.Duration{time.Hour, attestation.ConnectionLifetime} {
		client, server := pair(t, holds, time.Now)
		_, err := client.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, client.CloseWrite())
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "x", string(got))
		require.False(t, client.Expired())
	}
}
