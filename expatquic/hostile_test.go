package expatquic

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// cut is the stream of a side that stops after some bytes, once it has heard the
// other: quic-go drops connections that end while a server's handshake runs.
type cut struct {
	*stream
	mu   sync.Mutex
	left int
	stop func(*stream)

	hear  sync.Once
	heard chan struct{}
}

func newCut(s *stream, after int, stop func(*stream)) *cut {
	return &cut{stream: s, left: after, stop: stop, heard: make(chan struct{})}
}

func (c *cut) Read(b []byte) (int, error) {
	n, err := c.stream.Read(b)
	c.hear.Do(func() { close(c.heard) })
	return n, err
}

func (c *cut) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < 0 {
		return len(b), nil
	}
	n := min(c.left, len(b))
	if _, err := c.stream.Write(b[:n]); err != nil {
		return 0, err
	}
	if c.left -= n; c.left == 0 {
		c.left = -1
		go func() { <-c.heard; c.stop(c.stream) }()
	}
	return len(b), nil
}

// Nothing else of a side that has stopped is heard.
func (c *cut) CloseWrite() error                 { return nil }
func (c *cut) CloseWithError(*expat.Error) error { return nil }
func (c *cut) Close() error                      { return nil }

// dialStream is a client's stream as Dial makes it.
func dialStream(t testing.TB, addr string, cfg *expat.Config) *stream {
	t.Helper()
	tlsConf, err := expat.StreamTLS(cfg, authenticator.Client)
	require.NoError(t, err)
	return newStream(nil, func(ctx context.Context) (*quic.Conn, error) {
		qc, err := quic.DialAddr(ctx, addr, tlsConf, fast())
		if err == nil {
			t.Cleanup(func() { _ = qc.CloseWithError(0, "") })
		}
		return qc, err
	})
}

// boundaries are where the frames end that each side sends in a good exchange.
func boundaries(t *testing.T, w *world) (client, server []int) {
	t.Helper()
	note := func(into *[]int) *expat.Trace {
		sum := 0
		return &expat.Trace{FrameSent: func(f expat.Frame) { sum += f.Size; *into = append(*into, sum) }}
	}
	cc, sc := w.configs(mutual)
	cc.Trace, sc.Trace = note(&client), note(&server)
	connect(t, cc, sc)
	return client, server
}

// ways are the ways to stop, and what the other side makes of them.
var ways = []struct {
	name   string
	stop   func(*stream)
	alert  expat.Alert
	side   expat.Side
	reason error
}{
	{"end of the stream", func(s *stream) { _ = s.str.Close() }, expat.AlertProtocol, expat.Local, expat.ErrClosed},
	{"reset of the stream", func(s *stream) { s.str.CancelWrite(1) }, expat.AlertProtocol, expat.Local, expat.ErrClosed},
	{"end of the connection", func(s *stream) { _ = s.conn.CloseWithError(0x100, "") }, expat.AlertProtocol, expat.Local, expat.ErrClosed},
	{"end in good order", func(s *stream) { _ = s.conn.CloseWithError(ErrorCodeBase, "") }, expat.AlertProtocol, expat.Local, expat.ErrClosed},
	{"end with a reason", func(s *stream) { _ = s.conn.CloseWithError(ErrorCode(expat.AlertLimit), "") }, expat.AlertLimit, expat.Peer, expat.ErrPeerAlert},
	{"silence", func(*stream) {}, expat.AlertTimeout, expat.Local, context.DeadlineExceeded},
}

// E-6: a side that stops after any frame but its last, or inside one, is refused,
// and nothing is handed out.
func TestCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fromClient, fromServer := boundaries(t, w)
	require.Len(t, fromClient, 4)
	require.Len(t, fromServer, 4)
	for _, way := range ways {
		for _, role := range []authenticator.Role{authenticator.Client, authenticator.Server} {
			ends := fromClient
			if role == authenticator.Server {
				ends = fromServer
			}
			for i, end := range ends[:3] {
				for _, at := range []int{end, end - 1} {
					t.Run(fmt.Sprintf("%s/%v/frame %d/%d", way.name, role, i+1, at), func(t *testing.T) {
						t.Parallel()
						client, server := w.configs(mutual)
						victim := client
						if role == authenticator.Client {
							victim = server
						}
						victim.Timeout = 5 * time.Second
						if way.reason == context.DeadlineExceeded {
							victim.Timeout = 400 * time.Millisecond
						}
						var err error
						if role == authenticator.Client {
							err = serverAgainst(t, client, server, at, way.stop)
						} else {
							err = clientAgainst(t, client, server, at, way.stop)
						}
						var e *expat.Error
						require.ErrorAs(t, err, &e)
						require.Equal(t, [2]any{way.alert, way.side}, [2]any{e.Alert, e.Side}, "%v", err)
						require.ErrorIs(t, err, way.reason)
					})
				}
			}
		}
	}
}

// serverAgainst is how a server fails whose client stops.
func serverAgainst(t *testing.T, client, server *expat.Config, after int, stop func(*stream)) error {
	at := listen(t, server, fast())
	accepted := at.accept()
	rogue := newCut(dialStream(t, at.Addr().String(), client), after, stop)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = expat.Client(rogue, client).HandshakeContext(ctx) }()
	defer func() { cancel(); <-done }()
	err := wait(t, at.refused)
	require.Empty(t, accepted)
	return err
}

// clientAgainst is how a client fails whose server stops.
func clientAgainst(t *testing.T, client, server *expat.Config, after int, stop func(*stream)) error {
	at := listen(t, server, fast())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := at.sockets.Accept()
		if err == nil {
			_ = expat.Server(newCut(nc.(*stream), after, stop), server).HandshakeContext(ctx)
		}
	}()
	defer func() { cancel(); <-done }()
	c, err := Dial(within(t), at.Addr().String(), client, fast())
	require.Nil(t, c)
	return err
}

// I-1, E-7: frames that cannot be.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		bytes  []byte
		alert  expat.Alert
		reason error
	}{
		"huge":             {[]byte{byte(wire.Authenticator), 0xff, 0xff, 0xff}, expat.AlertLimit, wire.ErrTooLarge},
		"above its cap":    {[]byte{byte(wire.Hello), 0, 0x10, 1}, expat.AlertLimit, wire.ErrTooLarge},
		"application data": {[]byte("GET / HTTP/3"), expat.AlertProtocol, wire.ErrType},
		"DATA":             {[]byte{byte(wire.Data), 0, 0, 1, 'x'}, expat.AlertProtocol, expat.ErrProtocol},
		"RESULT first":     {[]byte{byte(wire.Result), 0, 0, 1, 0}, expat.AlertProtocol, expat.ErrProtocol},
		"HELLO of zeros":   {[]byte{byte(wire.Hello), 0, 0, 2, 0, 0}, expat.AlertMalformed, wire.ErrMap},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := w.configs(mutual)
			at := listen(t, server, fast())
			accepted := at.accept()
			s := dialStream(t, at.Addr().String(), client)
			require.NoError(t, s.HandshakeContext(within(t)))
			require.NoError(t, s.Open(within(t)))
			_, err := s.Write(c.bytes)
			require.NoError(t, err)
			for range 2 { // HELLO and REQUEST
				_, _, err = wire.Read(s, 1<<20)
				require.NoError(t, err)
			}
			typ, payload, err := wire.Read(s, 1<<20)
			require.NoError(t, err, "the alert comes before the end of the connection")
			require.Equal(t, wire.Alert, typ)
			require.Equal(t, wire.EncodeAlert(uint16(c.alert)), payload)
			requireFailure(t, wait(t, at.refused), expat.StageHello, c.alert, expat.Local, c.reason)
			requireClosed(t, s.conn, true, c.alert)
			require.Empty(t, accepted)
		})
	}
}

// A peer that completes the QUIC handshake and says nothing holds up nobody, and is
// dropped in time.
func TestSilentPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		client, server := w.configs(mutual)
		server.Timeout = time.Second
		at := listen(t, server, fast())
		accepted := at.accept()
		s := dialStream(t, at.Addr().String(), client)
		require.NoError(t, s.HandshakeContext(within(t)))
		c, err := Dial(within(t), at.Addr().String(), client, fast())
		require.NoError(t, err)
		defer c.Close()
		require.NotNil(t, wait(t, accepted))
		requireFailure(t, wait(t, at.refused), expat.StageHello, expat.AlertTimeout, expat.Local, context.DeadlineExceeded)
		requireClosed(t, s.conn, true, expat.AlertTimeout)
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		client, _ := w.configs(mutual)
		client.Timeout = time.Second
		conns := make(chan *quic.Conn, 1)
		ln := plain(t, w, [32]byte{1}, "expat/1+toy", func(qc *quic.Conn) { conns <- qc })
		_, err := Dial(within(t), ln.Addr().String(), client, fast())
		requireFailure(t, err, expat.StageHello, expat.AlertTimeout, expat.Local, context.DeadlineExceeded)
		requireClosed(t, wait(t, conns), true, expat.AlertTimeout)
	})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		client, _ := w.configs(mutual)
		client.Timeout = 300 * time.Millisecond
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer pc.Close()
		_, err = Dial(within(t), pc.LocalAddr().String(), client, fast())
		requireFailure(t, err, expat.StageTLS, expat.AlertTimeout, expat.Local, context.DeadlineExceeded)
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		client, _ := w.configs(mutual)
		ctx, cancel := context.WithCancel(within(t))
		ln := plain(t, w, [32]byte{1}, "expat/1+toy", func(*quic.Conn) { cancel() })
		_, err := Dial(ctx, ln.Addr().String(), client, fast())
		var e *expat.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, context.Canceled)
	})
}
