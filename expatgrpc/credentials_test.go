package expatgrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

func TestNewCredentialsRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*expat.Config){
		"no TLS":          func(c *expat.Config) { c.TLS = nil },
		"other protocol":  func(c *expat.Config) { c.TLS.NextProtos = []string{"http/1.1"} },
		"second protocol": func(c *expat.Config) { c.TLS.NextProtos = []string{"h2", "http/1.1"} },
	} {
		cfg, _ := configs()
		change(cfg)
		_, err := NewCredentials(cfg)
		require.ErrorIs(t, err, ErrConfig, name)
		require.NotErrorIs(t, err, expat.ErrConfig, name)
	}
	_, err := NewCredentials(nil)
	require.ErrorIs(t, err, ErrConfig)
	for name, change := range map[string]func(*expat.Config){
		"nothing attested": func(c *expat.Config) { c.Attester, c.Verifier = nil, nil },
		"verifies nothing": func(c *expat.Config) { c.TLS.InsecureSkipVerify = true },
		"negative limit":   func(c *expat.Config) { c.MaxExchanges = -1 },
	} {
		cfg, _ := configs()
		change(cfg)
		_, err := NewCredentials(cfg)
		require.ErrorIs(t, err, ErrConfig, name)
		require.ErrorIs(t, err, expat.ErrConfig, name)
	}
	cfg, _ := configs()
	cfg.TLS.NextProtos = []string{"h2"}
	_, err = NewCredentials(cfg)
	require.NoError(t, err)
}

// Both sides know who the other is, in calls and in streams, and gRPC knows that the
// connection is secure.
func TestMutual(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	_, addr := serve(t, sc, nil, open().ServerOptions()...)
	ch := dial(t, cc, addr, grpc.WithPerRPCCredentials(RequireServer(is("bob"))))
	answer, server, err := call(t, ch)
	require.NoError(t, err)
	require.Equal(t, "hello alice", answer)
	require.Equal(t, "bob", server)

	s := begin(t, t.Context(), ch)
	for range 3 {
		answer, err = exchange(s, "again")
		require.NoError(t, err)
		require.Equal(t, "again alice", answer)
	}
	require.Equal(t, "bob", nameOf(FromContext(s.Context())))
	require.NoError(t, s.CloseSend())
	require.Equal(t, io.EOF, s.RecvMsg(new(wrapperspb.StringValue)))

	p, _ := peer.FromContext(s.Context())
	info := p.AuthInfo.(AuthInfo)
	require.Equal(t, "expat", info.AuthType())
	require.NoError(t, credentials.CheckSecurityLevel(info, credentials.PrivacyAndIntegrity))
	require.Equal(t, "h2", info.Conn().ConnectionState().NegotiatedProtocol)
	require.Equal(t, sc.TLS.Certificates[0].Leaf.Raw, info.Conn().PeerCertificates()[0].Raw)
	_, _, err = call(t, ch, grpc.CallAuthority("127.0.0.1"))
	requireCode(t, err, codes.Unavailable)
}

// One side attests and the other does not: only one of them has a verdict.
func TestOneDirection(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	cc.Attester, sc.Verifier = nil, nil
	_, addr := serve(t, sc, nil)
	answer, server, err := call(t, dial(t, cc, addr))
	require.NoError(t, err)
	require.Equal(t, "hello ", answer, "the server asked for nothing")
	require.Equal(t, "bob", server)

	_, addr = serve(t, sc, nil, open().ServerOptions()...)
	_, _, err = call(t, dial(t, cc, addr))
	requireCode(t, err, codes.PermissionDenied)

	cc, sc = configs()
	cc.Verifier, sc.Attester = nil, nil
	_, addr = serve(t, sc, nil, open().ServerOptions()...)
	answer, server, err = call(t, dial(t, cc, addr))
	require.NoError(t, err)
	require.Equal(t, "hello alice", answer)
	require.Empty(t, server)
	_, _, err = call(t, dial(t, cc, addr), grpc.PerRPCCredentials(RequireServer()))
	requireCode(t, err, codes.PermissionDenied)
	require.ErrorIs(t, err, ErrNotAttested)
}

// The server proves the host of the authority, or the name in the Config.
func TestServerName(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	_, addr := serve(t, sc, nil)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	good := func(name string, creds credentials.TransportCredentials, target string, o ...grpc.DialOption) {
		_, _, err := call(t, dialWith(t, creds, target, o...))
		require.NoError(t, err, name)
	}
	bad := func(name string, creds credentials.TransportCredentials, target string, o ...grpc.DialOption) {
		_, _, err := call(t, dialWith(t, creds, target, o...))
		requireCode(t, err, codes.Unavailable)
		require.ErrorContains(t, err, "certificate", name)
	}
	original := must(NewCredentials(cc))
	good("address", original, addr)
	good("target", original, "dns:///localhost:"+port)
	good("WithAuthority", original, addr, grpc.WithAuthority("bob.test:443"))
	bad("WithAuthority", original, addr, grpc.WithAuthority("mallory.test"))

	changed := original.Clone().(*creds)
	require.NoError(t, changed.OverrideServerName("mallory.test"))
	bad("OverrideServerName", changed, addr)
	require.NoError(t, changed.OverrideServerName("bob.test"))
	require.Equal(t, "tls", original.Info().SecurityProtocol)
	require.Empty(t, cc.TLS.NextProtos, "the user's Config is not modified")
	good("OverrideServerName", changed, addr)
	require.Empty(t, original.(*creds).client.TLS.ServerName, "a clone is another one")
	good("unchanged by its clone", original, addr)

	cc.TLS.ServerName = "bob.test"
	good("the Config was copied", original, addr)
	named := must(NewCredentials(cc))
	good("ServerName", named, addr)
	_, err = grpc.NewClient(addr, grpc.WithTransportCredentials(named), grpc.WithAuthority("other.test"))
	require.Error(t, err, "one name or the other")
}

func TestHost(t *testing.T) {
	t.Parallel()
	for authority, want := range map[string]string{
		"a.test": "a.test", "a.test:443": "a.test", "127.0.0.1:1": "127.0.0.1",
		"[::1]:443": "::1", "[::1]": "::1", "::1": "::1", "": "",
	} {
		require.Equal(t, want, host(authority))
	}
}

// I-8: neither side falls back to plain TLS, nor to no TLS, and no handler runs.
func TestNoFallback(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	plain := func(cfg *expat.Config) credentials.TransportCredentials { return credentials.NewTLS(cfg.TLS) }
	refused := make(refusals, 100)
	sc.Refused = refused.note
	_, attested := serve(t, sc, nil)
	_, overTLS := serveWith(t, plain(sc), nil)
	_, bare := serveWith(t, insecure.NewCredentials(), nil)

	for name, ch := range map[string]*grpc.ClientConn{
		"plain TLS to attested": dialWith(t, plain(cc), attested),
		"no TLS to attested":    dialWith(t, insecure.NewCredentials(), attested),
		"attested to plain TLS": dial(t, cc, overTLS),
		"attested to no TLS":    dial(t, cc, bare),
	} {
		_, _, err := call(t, ch)
		require.Error(t, err, name)
		requireCode(t, err, codes.Unavailable)
		_ = ch.Close()
	}
	require.ErrorIs(t, <-refused, expat.ErrNegotiation)

	// What demands a verdict is not content with another kind of security.
	ch := dialWith(t, plain(cc), overTLS)
	_, _, err := call(t, ch)
	require.NoError(t, err)
	_, _, err = call(t, ch, grpc.PerRPCCredentials(RequireServer()))
	requireCode(t, err, codes.PermissionDenied)
	require.ErrorIs(t, err, ErrNotAttested)
	_, _, err = call(t, dialWith(t, insecure.NewCredentials(), bare), grpc.PerRPCCredentials(RequireServer()))
	requireCode(t, err, codes.Unauthenticated)
}

// A server that is refused gets no call; when it is good again gRPC finds out by
// itself.
func TestRefusedServer(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	bob := "bob"
	policy := new(toy)
	policy.refuses.Store(&bob)
	cc.Verifier = policy
	failed := make(chan error, 100)
	cc.Trace = &expat.Trace{Done: func(err error) { failed <- err }}
	_, addr := serve(t, sc, nil)
	ch := dial(t, cc, addr)
	_, server, err := call(t, ch)
	requireCode(t, err, codes.Unavailable)
	require.ErrorContains(t, err, "expat: appraise")
	require.Empty(t, server)
	require.ErrorIs(t, <-failed, attestation.ErrRejected, "the typed error is in the Trace")

	policy.refuses.Store(nil)
	_, server, err = call(t, ch, grpc.WaitForReady(true))
	require.NoError(t, err)
	require.Equal(t, "bob", server)
}

// A client that is refused reaches no handler, and learns no reason.
func TestRefusedClient(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	alice := "alice"
	policy := new(toy)
	policy.refuses.Store(&alice)
	sc.Verifier = policy
	refused := make(refusals, 100)
	sc.Refused = refused.note
	_, addr := serve(t, sc, nil)
	_, _, err := call(t, dial(t, cc, addr))
	requireCode(t, err, codes.Unavailable)
	require.ErrorContains(t, err, "attestation rejected")
	require.NotContains(t, err.Error(), "not a good name")
	err = <-refused
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorContains(t, err, "not a good name")
}

// The handshake ends with the context of the connection attempt, and with the
// Config's Timeout.
func TestHandshakeEnds(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	creds := must(NewCredentials(cc))
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := creds.ClientHandshake(ctx, "bob.test", near)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireTemporary(t, true, err)

	sc.Timeout = 50 * time.Millisecond
	near, far2 := net.Pipe()
	defer far2.Close()
	_, _, err = must(NewCredentials(sc)).ServerHandshake(near)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireTemporary(t, true, err)
}

func requireTemporary(t *testing.T, want bool, err error) {
	t.Helper()
	got, ok := err.(interface{ Temporary() bool })
	require.True(t, ok)
	require.Equal(t, want, got.Temporary(), "%v", err)
}

func TestTemporary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want bool
		err  error
	}{
		{true, &expat.Error{Alert: expat.AlertTimeout, Err: io.ErrNoProgress}},
		{true, &expat.Error{Alert: expat.AlertVerifierUnavailable, Err: attestation.ErrUnavailable}},
		{true, &expat.Error{Err: expat.ErrClosed}},
		{true, &expat.Error{Err: io.EOF}},
		{true, &expat.Error{Err: io.ErrUnexpectedEOF}},
		{true, &expat.Error{Err: &net.OpError{Op: "read", Err: errors.New("reset")}}},
		{true, &expat.Error{Err: &net.OpError{Op: "write", Err: errors.New("reset")}}},
		{false, &expat.Error{Err: &net.OpError{Op: "remote error", Err: tls.AlertError(40)}}},
		{false, &expat.Error{Alert: expat.AlertAttestationRejected, Err: attestation.ErrRejected}},
		{false, &expat.Error{Alert: expat.AlertCertificate, Err: errors.New("unknown authority")}},
		{false, &expat.Error{Alert: expat.AlertProtocol, Err: expat.ErrNegotiation}},
		{false, &expat.Error{Alert: expat.AlertInternal, Err: expat.ErrConfig}},
	} {
		err := error(&handshakeError{c.err})
		requireTemporary(t, c.want, err)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.err.Error(), err.Error())
	}
}

// A client that says nothing after the exchange is dropped when gRPC's own limit
// is over, also on a connection that re-attests.
func TestSilentAfterExchange(t *testing.T) {
	both(t, func(t *testing.T, cc, sc *expat.Config) {
		_, addr := serve(t, sc, nil, grpc.ConnectionTimeout(2*time.Second))
		cc.TLS.NextProtos = []string{"h2"}
		conn, err := expat.Dial(t.Context(), "tcp", addr, cc)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = io.Copy(io.Discard, conn)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the server kept it: %v", err)
		require.NoError(t, conn.Close())

		// One that speaks is not: the limit is lifted.
		_, _, err = call(t, dialAndWait(t, cc, addr, 2500*time.Millisecond))
		require.NoError(t, err)
	})
}

// dialAndWait makes a call, waits, and returns the channel.
func dialAndWait(t *testing.T, cfg *expat.Config, addr string, d time.Duration) *grpc.ClientConn {
	ch := dial(t, cfg, addr)
	s := begin(t, t.Context(), ch)
	_, err := exchange(s, "before")
	require.NoError(t, err)
	time.Sleep(d)
	_, err = exchange(s, "after")
	require.NoError(t, err)
	return ch
}
