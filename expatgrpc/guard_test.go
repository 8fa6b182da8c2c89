package expatgrpc

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat/attestation"
)

// denials collects why a guard let nobody through.
type denials struct {
	mu      sync.Mutex
	methods []string
	reasons []error
}

func (d *denials) note(_ context.Context, method string, reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.methods, d.reasons = append(d.methods, method), append(d.reasons, reason)
}

// last returns what was noted last and forgets it.
func (d *denials) last() (method string, reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.reasons); n > 0 {
		method, reason = d.methods[n-1], d.reasons[n-1]
	}
	d.methods, d.reasons = nil, nil
	return method, reason
}

var errDemanded = errors.New("sealed until noon")

func never(*attestation.Result) error { return errDemanded }

func TestGuard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		demands []Demand
		want    error // nil: let through
	}{
		"none":             {nil, nil},
		"tier":             {[]Demand{Tier(attestation.TierAffirming)}, nil},
		"worse tier":       {[]Demand{Tier(attestation.TierWarning)}, nil},
		"tier and claim":   {[]Demand{Tier(attestation.TierAffirming), is("alice")}, nil},
		"other claim":      {[]Demand{is("alice"), is("carol")}, ErrDemand},
		"own demand":       {[]Demand{never}, errDemanded},
		"no such tier":     {[]Demand{Tier(attestation.TierNone)}, ErrDemand},
		"panics":           {[]Demand{func(*attestation.Result) error { panic("no such claim") }}, ErrDemand},
		"nil":              {[]Demand{nil}, ErrConfig},
		"good, and nil":    {[]Demand{is("alice"), nil}, ErrConfig},
		"environment":      {[]Demand{Claim("else", "name", "alice")}, ErrDemand},
		"claim of nothing": {[]Demand{Claim("toy", "name", nil)}, ErrDemand},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, d := Require(Methods{unary: c.demands, stream: c.demands}), new(denials)
			g.Denied = d.note
			cc, sc := configs()
			_, addr := serve(t, sc, nil, g.ServerOptions()...)
			ch := dial(t, cc, addr)
			kinds := map[string]func() error{
				unary:  func() error { _, _, err := call(t, ch); return err },
				stream: func() error { _, err := exchange(begin(t, t.Context(), ch), "hello"); return err },
			}
			for method, try := range kinds {
				err := try()
				at, reason := d.last()
				if c.want == nil {
					require.NoError(t, err)
					require.NoError(t, reason)
					continue
				}
				requireCode(t, err, codes.PermissionDenied)
				require.Equal(t, "permission denied", status.Convert(err).Message(), "the peer learns no reason")
				require.ErrorIs(t, reason, c.want)
				require.Equal(t, method, at)
			}
		})
	}
}

// What is not listed is closed: to attested clients too, and whatever the guard is.
func TestGuardClosed(t *testing.T) {
	t.Parallel()
	demands := []Demand{is("alice")}
	methods := Methods{unary: demands}
	g, d := Require(methods), new(denials)
	g.Denied = d.note
	methods[stream], demands[0] = nil, never // too late
	cc, sc := configs()
	_, addr := serve(t, sc, nil, g.ServerOptions()...)
	ch := dial(t, cc, addr)
	_, _, err := call(t, ch)
	require.NoError(t, err)
	_, err = exchange(begin(t, t.Context(), ch), "hello")
	requireCode(t, err, codes.PermissionDenied)
	at, reason := d.last()
	require.Equal(t, stream, at)
	require.ErrorIs(t, reason, ErrNotListed)

	for _, g := range []*Guard{{}, Require(nil)} {
		_, addr := serve(t, sc, nil, g.ServerOptions()...)
		ch := dial(t, cc, addr)
		_, _, err := call(t, ch)
		requireCode(t, err, codes.PermissionDenied)
		_, err = exchange(begin(t, t.Context(), ch), "hello")
		requireCode(t, err, codes.PermissionDenied)
	}
}

// A guard is no use to a call that came another way, over TLS for instance.
func TestGuardWithoutAttestation(t *testing.T) {
	t.Parallel()
	g, d := open(), new(denials)
	g.Denied = d.note
	cc, sc := configs()
	_, addr := serveWith(t, credentials.NewTLS(sc.TLS), nil, g.ServerOptions()...)
	ch := dialWith(t, credentials.NewTLS(cc.TLS), addr)
	_, _, err := call(t, ch)
	requireCode(t, err, codes.PermissionDenied)
	_, reason := d.last()
	require.ErrorIs(t, reason, ErrNotAttested)
	_, err = exchange(begin(t, t.Context(), ch), "hello")
	requireCode(t, err, codes.PermissionDenied)
}

// A call that is refused by the client's own demands is not sent.
func TestRequireServer(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	g, d := Require(nil), new(denials)
	g.Denied = d.note
	_, addr := serve(t, sc, nil, g.ServerOptions()...)
	ch := dial(t, cc, addr)
	demanded := []Demand{is("bob")}
	good := RequireServer(demanded...)
	demanded[0] = never // too late
	for _, c := range []struct {
		demands credentials.PerRPCCredentials
		want    error // nil: sent, and denied there
	}{
		{RequireServer(), nil},
		{good, nil},
		{RequireServer(is("bob"), Tier(attestation.TierAffirming)), nil},
		{RequireServer(is("bob"), is("carol")), ErrDemand},
		{RequireServer(never), errDemanded},
		{RequireServer(nil...), nil},
		{RequireServer(is("bob"), nil), ErrConfig},
	} {
		_, _, err := call(t, ch, grpc.PerRPCCredentials(c.demands))
		requireCode(t, err, codes.PermissionDenied)
		_, reached := d.last()
		if c.want == nil {
			require.ErrorIs(t, reached, ErrNotListed)
			continue
		}
		require.NoError(t, reached)
		require.ErrorIs(t, err, c.want)
		require.ErrorContains(t, err, c.want.Error(), "on this side the reason is told")

		_, err = ch.NewStream(t.Context(), &echo.Streams[0], stream, grpc.PerRPCCredentials(c.demands))
		requireCode(t, err, codes.PermissionDenied)
		require.ErrorIs(t, err, c.want)
		_, reached = d.last()
		require.NoError(t, reached)
	}
}

// Nobody is attested where there is nothing.
func TestNoPeer(t *testing.T) {
	t.Parallel()
	for _, p := range []*peer.Peer{nil, {}, {AuthInfo: AuthInfo{}}, {AuthInfo: credentials.TLSInfo{}}} {
		_, ok := PeerFrom(p)
		require.False(t, ok)
	}
	_, ok := FromContext(t.Context())
	require.False(t, ok)
	require.Nil(t, AuthInfo{}.Conn())
	_, err := RequireServer().GetRequestMetadata(t.Context())
	require.ErrorIs(t, err, ErrNotAttested)
	requireCode(t, open().admit(t.Context(), unary, nil), codes.PermissionDenied)
}

// E-10: a verdict that has run out is none, and the connection is over; the next
// call is over a new one.
func TestVerdictRunsOut(t *testing.T) {
	t.Parallel()
	cc, sc := configs()
	cc.Verifier = &toy{lifetime: 2 * time.Second}
	_, addr := serve(t, sc, nil, open().ServerOptions()...)
	ch := dial(t, cc, addr)
	s := begin(t, t.Context(), ch)
	_, err := exchange(s, "hello")
	require.NoError(t, err)
	p, _ := peer.FromContext(s.Context())
	first := p.AuthInfo.(AuthInfo).Conn()
	require.Equal(t, "bob", nameOf(PeerFrom(p)))

	err = s.RecvMsg(new(wrapperspb.StringValue))
	requireCode(t, err, codes.Unavailable)
	// Either side may be the first to notice.
	require.Eventually(t, func() bool { _, ok := PeerFrom(p); return !ok }, time.Second, time.Millisecond)
	require.NotNil(t, first.Peer())

	_, server, err := call(t, ch, grpc.WaitForReady(true))
	require.NoError(t, err)
	require.Equal(t, "bob", server)
}
