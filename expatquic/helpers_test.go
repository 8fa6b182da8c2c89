package expatquic

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const toyMediaType = "application/vnd.expat-go.toy"

// toy is an Attester and Verifier whose evidence is the binding itself and whether its
// side has turned bad, without a signature: it shows what the connection does, not
// what a TEE does.
type toy struct {
	bad      atomic.Bool           // of an Attester
	attest   func(context.Context) // called by an Attester first
	appraise func() error          // nil: all is good
	lifetime time.Duration
	entered  chan struct{} // told of each appraisal, which then waits for release
	release  chan struct{}
}

func (t *toy) MediaTypes() []string { return []string{toyMediaType} }

func (t *toy) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if t.attest != nil {
		t.attest(ctx)
	}
	state := byte(0)
	if t.bad.Load() {
		state = 1
	}
	return cmw.NewRecord(accept[0], slices.Concat(b.Binder(), b.KeyHash(), []byte{state}), cmw.Evidence)
}

var errBadState = errors.New("the device has turned bad")

func (t *toy) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if t.entered != nil {
		t.entered <- struct{}{}
		select {
		case <-t.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	v, n := m.Value(), len(b.Binder())
	if len(v) != 2*n+1 || !b.MatchBinder(v[:n]) || !b.MatchKeyHash(v[n:2*n]) {
		return nil, attestation.Reject(errors.New("binding differs"))
	}
	if v[2*n] != 0 {
		return nil, attestation.Reject(errBadState)
	}
	if t.appraise != nil {
		if err := t.appraise(); err != nil {
			return nil, attestation.Reject(err)
		}
	}
	o := attestation.ResultOptions{
		Verifier: "toy", Lifetime: t.lifetime,
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy"}},
	}
	if o.Lifetime == 0 {
		o.Lifetime = attestation.ConnectionLifetime
	}
	return attestation.NewResult(b, o)
}

// world is a CA with one server and one client identity.
type world struct {
	ca             *testca.CA
	server, client tls.Certificate
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := testca.New("test", time.Now())
	require.NoError(t, err)
	leaf := func(name string) tls.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		cert, err := ca.Leaf(key, time.Now(), name)
		require.NoError(t, err)
		return cert
	}
	return &world{ca: ca, server: leaf("server.test"), client: leaf("client.test")}
}

// The three directions of attestation.
const (
	serverAttests = "server"
	clientAttests = "client"
	mutual        = "mutual"
)

// configs returns a client's and a server's Config for a direction.
func (w *world) configs(direction string) (client, server *expat.Config) {
	client = &expat.Config{TLS: &tls.Config{RootCAs: w.ca.Pool(), ServerName: "server.test", NextProtos: []string{"toy"}}, Timeout: 10 * time.Second}
	server = &expat.Config{TLS: &tls.Config{Certificates: []tls.Certificate{w.server}, ClientCAs: w.ca.Pool(), NextProtos: []string{"toy"}}, Timeout: 10 * time.Second}
	if direction != clientAttests {
		server.Attester, client.Verifier = &toy{}, &toy{}
	}
	if direction != serverAttests {
		client.Attester, server.Verifier = &toy{}, &toy{}
		client.TLS.Certificates = []tls.Certificate{w.client}
	}
	return client, server
}

// fast finds lost peers soon.
func fast() *quic.Config {
	return &quic.Config{EnableDatagrams: true, MaxIdleTimeout: 20 * time.Second}
}

// site is a listener, what it accepted and what it refused.
type site struct {
	*Listener
	refused chan error
}

func listen(t testing.TB, server *expat.Config, conf *quic.Config) *site {
	t.Helper()
	s := &site{refused: make(chan error, 16)}
	server.Refused = func(_ net.Addr, err error) { s.refused <- err }
	var err error
	s.Listener, err = Listen("127.0.0.1:0", server, conf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// accept accepts in the background.
func (s *site) accept() <-chan *Conn {
	ch := make(chan *Conn, 1)
	go func() {
		if c, err := s.Accept(); err == nil {
			ch <- c
		}
	}()
	return ch
}

// within bounds a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wait takes what a channel has within a time that is no part of what is tested.
func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// connect returns both ends of a good connection.
func connect(t testing.TB, client, server *expat.Config) (c, s *Conn) {
	t.Helper()
	at := listen(t, server, fast())
	accepted := at.accept()
	c, err := Dial(within(t), at.Addr().String(), client, fast())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, wait(t, accepted)
}

// requireFailure checks everything that an Error tells.
func requireFailure(t testing.TB, err error, stage expat.Stage, alert expat.Alert, side expat.Side, reason error) {
	t.Helper()
	var e *expat.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, [3]any{stage, alert, side}, [3]any{e.Stage, e.Alert, e.Side}, "%v", err)
	require.ErrorIs(t, err, reason)
}

// requireClosed checks that a QUIC connection was closed for an alert.
func requireClosed(t testing.TB, qc *quic.Conn, remote bool, alert expat.Alert) {
	t.Helper()
	wait(t, qc.Context().Done())
	err := context.Cause(qc.Context())
	var app *quic.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, remote, app.Remote, "%v", err)
	require.Equal(t, ErrorCode(alert), app.ErrorCode, "%v", err)
}
