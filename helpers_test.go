package expat

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/internal/tlspair"
)

const toyMediaType = "application/vnd.expat-go.toy"

// toy is an Attester and Verifier whose evidence is the binding itself, without
// a signature: it shows what the connection does, not what a TEE does.
type toy struct {
	attest   func(context.Context, attestation.Binding) (*cmw.Message, error)
	appraise func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error)
	types    []string
	lifetime time.Duration
}

func (t *toy) MediaTypes() []string {
	if t.types != nil {
		return t.types
	}
	return []string{toyMediaType}
}

func (t *toy) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if t.attest != nil {
		return t.attest(ctx, b)
	}
	return toyEvidence(b, accept[0])
}

func toyEvidence(b attestation.Binding, mediaType string) (*cmw.Message, error) {
	return cmw.NewRecord(mediaType, append(append([]byte{}, b.Binder()...), b.KeyHash()...), cmw.Evidence)
}

func (t *toy) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if t.appraise != nil {
		return t.appraise(ctx, b, m)
	}
	v, n := m.Value(), len(b.Binder())
	if len(v) != 2*n || !b.MatchBinder(v[:n]) || !b.MatchKeyHash(v[n:]) {
		return nil, attestation.Reject(errors.New("binding differs"))
	}
	return toyResult(b, t.lifetime)
}

func toyResult(b attestation.Binding, lifetime time.Duration) (*attestation.Result, error) {
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "toy", Lifetime: or(lifetime, attestation.ConnectionLifetime),
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy"}},
	})
}

// world is a CA with one server and one client identity.
type world struct {
	ca             *testca.CA
	server, client tls.Certificate
}

const serverName = "server.test"

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := testca.New("test", time.Now())
	require.NoError(t, err)
	return &world{ca: ca, server: leaf(t, ca, serverName), client: leaf(t, ca, "client.test")}
}

func leaf(t testing.TB, ca *testca.CA, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := ca.Leaf(key, time.Now(), name)
	require.NoError(t, err)
	return cert
}

// The three directions of attestation.
const (
	serverAttests = "server"
	clientAttests = "client"
	mutual        = "mutual"
)

// configs returns a client's and a server's Config for a direction.
func (w *world) configs(direction string) (client, server *Config) {
	client = &Config{TLS: &tls.Config{RootCAs: w.ca.Pool(), ServerName: serverName}, Timeout: 10 * time.Second}
	server = &Config{TLS: &tls.Config{Certificates: []tls.Certificate{w.server}, ClientCAs: w.ca.Pool()}, Timeout: 10 * time.Second}
	if direction != clientAttests {
		server.Attester, client.Verifier = &toy{}, &toy{}
	}
	if direction != serverAttests {
		client.Attester, server.Verifier = &toy{}, &toy{}
		client.TLS.Certificates = []tls.Certificate{w.client}
	}
	return client, server
}

// connect runs both handshakes over TCP on loopback.
func connect(t testing.TB, client, server *Config) (c, s *Conn, clientErr, serverErr error) {
	t.Helper()
	cn, sn := tlspair.Pipe(t)
	return handshakes(t, Client(cn, client), Server(sn, server))
}

func handshakes(t testing.TB, c, s *Conn) (*Conn, *Conn, error, error) {
	t.Helper()
	ch := make(chan error, 1)
	go func() { ch <- s.Handshake() }()
	clientErr := c.Handshake()
	serverErr := <-ch
	return c, s, clientErr, serverErr
}

// requireFailure checks everything that an Error tells.
func requireFailure(t testing.TB, err error, stage Stage, alert Alert, side Side, reason error) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, [3]any{stage, alert, side}, [3]any{e.Stage, e.Alert, e.Side}, "%v", err)
	require.ErrorIs(t, err, reason)
}

// requireDead checks that a connection delivers nothing and is closed.
func requireDead(t testing.TB, c *Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 16))
	require.Zero(t, n)
	var e *Error
	require.ErrorAs(t, err, &e)
	n, err = c.Write([]byte("application data"))
	require.Zero(t, n)
	require.ErrorAs(t, err, &e)
	require.Nil(t, c.Peer())
	require.Nil(t, c.PeerCertificates())
	_, err = c.net.Write([]byte{0})
	require.True(t, errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe), "%v", err)
}
