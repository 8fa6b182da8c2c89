package expat

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// DATA frames of every size arrive as they were; a write is cut into frames that
// fit one TLS record.
func TestDataFrames(t *testing.T) {
	t.Parallel()
	roles(t, func(t *testing.T, victim authenticator.Role) {
		r := live(t, victim)
		var sent []byte
		for _, n := range []int{1, 2, 100, 16379, 16380, 1, 16380, 3} {
			b := bytes.Repeat([]byte{byte(n)}, n)
			sent = append(sent, b...)
			r.send(wire.Data, b)
			if n == 100 {
				got := make([]byte, 50) // the rest waits
				_, err := io.ReadFull(r.victim, got)
				require.NoError(t, err)
				require.Equal(t, sent[:50], got)
			}
		}
		got := make([]byte, len(sent)-50)
		_, err := io.ReadFull(r.victim, got)
		require.NoError(t, err)
		require.Equal(t, sent[50:], got)
		n, err := r.victim.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = r.victim.Write(nil)
		require.NoError(t, err)
		require.Zero(t, n)

		go func() { _, _ = r.victim.Write(sent) }()
		var back []byte
		for len(back) < len(sent) {
			p := r.read(wire.Data)
			require.LessOrEqual(t, len(p), wire.MaxData)
			back = append(back, p...)
		}
		require.Equal(t, sent, back)
	})
}

// Back-pressure: what an application does not read stays bounded, and nothing of
// it is lost.
func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	const size = 8 << 20
	sent := make(chan error, 1)
	go func() { _, err := c.Write(make([]byte, size)); sent <- err }()
	waiting := func() int {
		s.mux.in.mu.Lock()
		defer s.mux.in.mu.Unlock()
		return s.mux.in.n
	}
	require.Eventually(t, func() bool { return waiting() == maxBlocks }, 5*time.Second, time.Millisecond)
	time.Sleep(20 * time.Millisecond)
	require.Equal(t, maxBlocks, waiting())
	_, err := io.CopyN(io.Discard, s, size)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.Zero(t, waiting(), "an idle connection holds no block")
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	all, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, "x", string(all), "what was sent before the end is read before it")
}

// The peer ends in the middle of a frame, or of the connection.
func TestLiveTruncated(t *testing.T) {
	t.Parallel()
	for i := range 6 {
		for _, notify := range []bool{true, false} {
			r := live(t, authenticator.Client)
			r.send(wire.Data, []byte("before"))
			r.write(encode(t, wire.Data, []byte("ab"))[:i]...)
			if notify {
				require.NoError(t, r.tls.CloseWrite())
			} else {
				require.NoError(t, r.tls.NetConn().(*net.TCPConn).CloseWrite())
			}
			all, err := io.ReadAll(r.victim)
			if i == 0 && notify {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d", i)
			}
			require.Equal(t, "before", string(all)[:6])
			require.LessOrEqual(t, len(all), 6)
			require.NoError(t, r.victim.Close())
		}
	}
}

// Close ends reads and writes under way, from either side.
func TestLiveClose(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	errs := make(chan error, 2)
	go func() { _, err := c.Read(make([]byte, 1)); errs <- err }()
	go func() { _, err := c.Write(make([]byte, 32<<20)); errs <- err }()
	require.Eventually(t, c.mux.out.busy, 5*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	for range 2 {
		require.ErrorIs(t, <-errs, net.ErrClosed)
	}
	_, err := c.Reattest(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, c.SetDeadline(time.Time{}), net.ErrClosed)
	_, err = io.Copy(io.Discard, s)
	require.Error(t, err, "it was cut off")
	_, err = s.Write(make([]byte, 1<<20))
	require.Error(t, err)
	_ = s.Close()

	c, s = openMux(t, mutual)
	require.NoError(t, c.Close())
	_, err = s.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.NoError(t, s.Close())
}

// A Write that Close ends before all of it has left is no orderly end to the peer,
// also where the Write has returned before Close looks for it.
func TestLiveCloseTears(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	done := make(chan error, 1)
	go func() { _, err := c.Write(make([]byte, 32<<20)); done <- err }()
	require.Eventually(t, c.mux.out.busy, 5*time.Second, time.Millisecond)
	c.end(net.ErrClosed) // as Close begins
	require.ErrorIs(t, <-done, net.ErrClosed)
	require.NoError(t, c.Close())
	_, err := io.Copy(io.Discard, s)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_ = s.Close()
}

// Deadlines are those of the application's stream: after they have passed all
// goes on where it was, and an exchange does not notice.
func TestLiveDeadlines(t *testing.T) {
	t.Parallel()
	c, s := openMux(t, mutual)
	past := time.Unix(1, 0)
	requirePassed := func(n int, err error) {
		t.Helper()
		require.Zero(t, n)
		requireTimeout(t, err)
	}
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	requirePassed(c.Read(make([]byte, 1)))
	requirePassed(c.Read(make([]byte, 1)))
	_, err := c.Reattest(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	echo(t, s, c, "again")
	require.NoError(t, c.SetDeadline(past))
	requirePassed(c.Read(make([]byte, 1)))
	requirePassed(c.Write([]byte("x")))
	_, err = s.Reattest(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Time{}))
	echo(t, c, s, "again")

	// A read that waits notices a deadline that is set, and moved.
	read := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	requireTimeout(t, <-read)
	require.NoError(t, c.SetDeadline(time.Time{}))

	// A write that nobody reads ends; what it had taken arrives, unbroken.
	sent := make([]byte, 32<<20)
	for i := range sent {
		sent[i] = byte(i >> 8)
	}
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	n, err := c.Write(sent)
	requireTimeout(t, err)
	require.Less(t, n, len(sent))
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	go func() { _, _ = c.Write(sent[n:]) }()
	got := make([]byte, len(sent))
	_, err = io.ReadFull(s, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
}

// Deadlines set before the handshake are of the application's stream after it.
func TestDeadlinesSetBefore(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(mutual)
	renewing(cc)
	renewing(sc)
	cn, sn := tlspair.Pipe(t)
	client := Client(cn, cc)
	require.NoError(t, client.SetDeadline(time.Now().Add(2*time.Second)))
	c, s, err1, err2 := handshakes(t, client, Server(sn, sc))
	require.NoError(t, errors.Join(err1, err2))
	_, err := c.Read(make([]byte, 1))
	requireTimeout(t, err)
	_, err = c.Write([]byte("x"))
	requireTimeout(t, err)
	require.NoError(t, c.SetDeadline(time.Time{}))
	echo(t, c, s, "hello")
	_, err = c.Reattest(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}
