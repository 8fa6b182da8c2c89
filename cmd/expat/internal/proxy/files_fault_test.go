package proxy

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/verifier/policy"
)

// A certificate with a new key ends no open connection, on either side: each keeps the
// one that it began with, also where it is asked anew.
func TestNewKeyEndsNothing(t *testing.T) {
	t.Parallel()
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	p := newPost(t, new(soakFigures), "tcp", b.addr)
	open := make(chan error, 1)
	go func() { open <- p.stream(t.Context(), 4*time.Second) }()
	eventually(t, func() bool { return p.server.renewals(accepted) > 0 && p.client.renewals(accepted) > 0 }, "asked anew")
	for _, e := range []*end{p.server, p.client} {
		p.change(e, accepted, func() { p.certify(e, true) })
	}
	servers, clients := p.server.renewals(accepted), p.client.renewals(accepted)
	eventually(t, func() bool { return p.server.renewals(accepted) > servers && p.client.renewals(accepted) > clients }, "asked anew after that")
	require.NoError(t, <-open)
	require.Zero(t, p.server.renewals(failed)+p.client.renewals(failed))
	require.NoError(t, p.once(), "new connections show the new ones")
}

// Policies are looked at as often as the other files.
func TestIntervalOfPolicies(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	name := filepath.Join(dir, "s/policy-client.yaml")
	slow := start(t, dir, "version: 1\nadmin: {listen: \"127.0.0.1:0\"}\nreload: {interval: 1h}\n"+serverSide("127.0.0.1:1"))
	quick := start(t, dir, serverSide("127.0.0.1:1"))
	replace(t, name, []byte("garbage: ["))
	eventually(t, func() bool { return quick.log.lines(t, "policy not changed") == 1 }, "reported")
	time.Sleep(policy.DefaultInterval + 200*time.Millisecond)
	require.Zero(t, slow.log.lines(t, "policy not changed"))
	slow.reload <- struct{}{}
	eventually(t, func() bool { return slow.log.lines(t, "policy not changed") == 1 }, "on demand")
	require.Equal(t, 1, quick.log.lines(t, "policy not changed"), "once")
}
