package proxy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A token whose iat or exp would seem wrong, as the clock was set since, is made anew.
func TestTokenAfterClockStep(t *testing.T) {
	t.Parallel()
	made := time.Now()
	tok := token{made: made, reuse: time.Minute}
	for _, c := range []struct {
		passed, step time.Duration
		fresh        bool
	}{
		{0, 0, true}, {59 * time.Second, 0, true}, {time.Minute, 0, false},
		{time.Second, 58 * time.Second, true}, {time.Second, 59 * time.Second, false}, {time.Second, time.Hour, false},
		{time.Second, -time.Second, true}, {time.Second, -2 * time.Second, false}, {time.Minute, -time.Second, false},
	} {
		// A time has both clocks, and only the one on the wall can be set: so look at
		// each by itself.
		monotonic, wall := made.Add(c.passed), made.Add(c.passed+c.step).Round(0)
		require.Equal(t, c.fresh, tok.fresh(monotonic) && tok.fresh(wall), "%v, set by %v", c.passed, c.step)
	}
}

// A clock that was wrong for a while leaves no certificate that begins in the future.
func TestOwnCertificateAfterClockStep(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	c := new(clock)
	server := startAt(t, c, dir, serverSide(b.addr))
	client := start(t, dir, clientSide(server.addrs["web"]))
	c.set(30 * 24 * time.Hour)
	eventually(t, func() bool { return server.log.lines(t, "certificate renewed") == 1 }, "renewed")
	_, err := ask(t, client.addrs["out"], "hello")
	require.Error(t, err, "the certificate begins in the future")
	c.set(0)
	eventually(t, func() bool { return server.log.lines(t, "certificate renewed") == 2 }, "renewed")
	got, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.Equal(t, "hello and the end", got)
}
