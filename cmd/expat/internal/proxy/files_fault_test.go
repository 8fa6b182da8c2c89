package proxy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
