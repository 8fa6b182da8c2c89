package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcp makes a connection of TCP.
func tcp(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	b, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// run relays between two connections, whose far ends it returns.
func run(t *testing.T, ctx context.Context, idle time.Duration) (left, right *net.TCPConn, ended chan error) {
	t.Helper()
	a, left := tcp(t)
	b, right := tcp(t)
	for _, c := range []net.Conn{left, right} {
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	}
	ended = make(chan error, 1)
	go func() { ended <- Run(ctx, a, b, idle) }()
	return left, right, ended
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	left, right, ended := run(t, t.Context(), time.Minute)
	_, err := io.WriteString(left, "question")
	require.NoError(t, err)
	require.NoError(t, left.CloseWrite())
	got, err := io.ReadAll(right)
	require.NoError(t, err)
	require.Equal(t, "question", string(got))
	_, err = io.WriteString(right, "answer")
	require.NoError(t, err)
	require.NoError(t, right.Close())
	got, err = io.ReadAll(left)
	require.NoError(t, err)
	require.Equal(t, "answer", string(got))
	require.NoError(t, <-ended)
}

// A connection that fails breaks the other off: it does not end.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	left, right, ended := run(t, t.Context(), time.Minute)
	_, err := io.WriteString(left, "half")
	require.NoError(t, err)
	read(t, right, "half")
	require.NoError(t, left.SetLinger(0))
	require.NoError(t, left.Close())
	_, err = right.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	require.Error(t, <-ended)
}

func TestIdle(t *testing.T) {
	t.Parallel()
	left, right, ended := run(t, t.Context(), 200*time.Millisecond)
	for range 6 {
		time.Sleep(60 * time.Millisecond)
		_, err := io.WriteString(left, "x")
		require.NoError(t, err)
		read(t, right, "x")
	}
	require.ErrorIs(t, <-ended, ErrIdle)
	_, err := right.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
}

func TestContext(t *testing.T) {
	t.Parallel()
	why := errors.New("the sidecar ends")
	ctx, cancel := context.WithCancelCause(t.Context())
	left, _, ended := run(t, ctx, time.Minute)
	cancel(why)
	require.ErrorIs(t, <-ended, why)
	_, err := left.Read(make([]byte, 1))
	require.Error(t, err)
}

// Of a writer that nobody reads no more is taken than fits into buffers.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	left, _, ended := run(t, t.Context(), 300*time.Millisecond)
	require.NoError(t, left.SetWriteDeadline(time.Now().Add(10*time.Second)))
	n := 0
	block := make([]byte, 1<<20)
	for {
		m, err := left.Write(block)
		n += m
		if err != nil {
			break
		}
	}
	require.Less(t, n, 64<<20)
	require.ErrorIs(t, <-ended, ErrIdle, "a reader that stands still is silent too")
}

type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestAbort(t *testing.T) {
	t.Parallel()
	near, far := tcp(t)
	Abort(wrapped{wrapped{near}})
	require.NoError(t, far.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := far.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	p, q := net.Pipe()
	Abort(p)
	_, err = q.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}
