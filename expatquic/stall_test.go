package expatquic

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
)

// trickle is the stream of a side that sends a byte at a time.
type trickle struct{ *stream }

func (s trickle) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := s.stream.Write(b[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return len(b), nil
}

// The time for the exchange is one for all of it: a byte now and then buys none.
func TestTrickle(t *testing.T) {
	t.Parallel()
	for _, slow := range []authenticator.Role{authenticator.Client, authenticator.Server} {
		t.Run(slow.String(), func(t *testing.T) {
			t.Parallel()
			client, server := newWorld(t).configs(mutual)
			var err error
			if slow == authenticator.Client {
				server.Timeout = time.Second
				at := listen(t, server, fast())
				at.accept()
				done := make(chan error, 1)
				s := trickle{dialStream(t, at.Addr().String(), client)}
				go func() { done <- expat.Client(s, client).Handshake() }()
				err = wait(t, at.refused)
				require.Error(t, wait(t, done))
			} else {
				client.Timeout = time.Second
				at := listen(t, server, fast())
				done := make(chan error, 1)
				go func() {
					nc, err := at.sockets.Accept()
					if err == nil {
						err = expat.Server(trickle{nc.(*stream)}, server).Handshake()
					}
					done <- err
				}()
				_, err = Dial(within(t), at.Addr().String(), client, fast())
				require.Error(t, wait(t, done))
			}
			requireFailure(t, err, expat.StageHello, expat.AlertTimeout, expat.Local, context.DeadlineExceeded)
		})
	}
}

// tardy is the stream of a client that opens another stream first, and this one late.
type tardy struct{ *stream }

func (s tardy) Open(ctx context.Context) error {
	if err := s.stream.Open(ctx); err != nil {
		return err
	}
	other, err := s.conn.OpenStream()
	if err != nil {
		return err
	}
	if _, err := other.Write([]byte("before")); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	return nil
}

// The exchange's stream is known by its number, not by which comes first.
func TestLateStream(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	at := listen(t, server, fast())
	accepted := at.accept()
	require.NoError(t, expat.Client(tardy{dialStream(t, at.Addr().String(), client)}, client).Handshake())
	in, err := wait(t, accepted).AcceptStream(within(t))
	require.NoError(t, err)
	require.Equal(t, quic.StreamID(4), in.StreamID())
	b := make([]byte, 6)
	_, err = in.Read(b)
	require.NoError(t, err)
	require.Equal(t, "before", string(b))
}

// A peer that does not want to read what the exchange says has ended it.
func TestStopSending(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	at := listen(t, server, fast())
	accepted := at.accept()
	s := dialStream(t, at.Addr().String(), client)
	require.NoError(t, s.HandshakeContext(within(t)))
	require.NoError(t, s.Open(within(t)))
	s.str.CancelRead(1)
	_, err := s.Write([]byte{1})
	require.NoError(t, err)
	requireFailure(t, wait(t, at.refused), expat.StageHello, expat.AlertProtocol, expat.Local, expat.ErrClosed)
	requireClosed(t, s.conn, true, expat.AlertProtocol)
	require.Empty(t, accepted)
}

// absent is the stream of a side that hears nothing more from when it is told so.
type absent struct {
	*stream
	now atomic.Bool
}

func (s *absent) Read(b []byte) (int, error) {
	n, err := s.stream.Read(b)
	if s.now.Load() {
		<-s.conn.Context().Done()
	}
	return n, err
}

// The same holds on an open connection: who cannot be asked loses it.
func TestStopSendingOnOpenConnection(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	client.Reattest, server.Reattest = true, true
	at := listen(t, server, fast())
	accepted := at.accept()
	rogue := &absent{stream: dialStream(t, at.Addr().String(), client)}
	c := expat.Client(rogue, client)
	require.NoError(t, c.Handshake())
	victim := wait(t, accepted)
	rogue.now.Store(true)
	rogue.str.CancelRead(1)
	wait(t, victim.stream.str.Context().Done()) // STOP_SENDING is there
	_, err := victim.Reattest(within(t))
	requireFailure(t, err, expat.StageValidate, expat.AlertProtocol, expat.Local, expat.ErrLost)
	requireClosed(t, rogue.conn, true, expat.AlertProtocol)
	_ = c.Close()
}

// relay passes packets on between a client and a server, as a NAT does, and those of
// the server from when open is closed.
type relay struct {
	open   <-chan struct{}
	front  net.PacketConn
	server net.Addr
	client atomic.Pointer[net.Addr]
	back   atomic.Pointer[net.PacketConn]
}

func newRelay(t *testing.T, server net.Addr, open <-chan struct{}) *relay {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = front.Close() })
	r := &relay{open: open, front: front, server: server}
	r.rebind(t)
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			r.client.Store(&from)
			_, _ = (*r.back.Load()).WriteTo(b[:n], server)
		}
	}()
	return r
}

// rebind gives the client another port.
func (r *relay) rebind(t *testing.T) {
	t.Helper()
	back, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = back.Close() })
	r.back.Store(&back)
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, _, err := back.ReadFrom(b)
			if err != nil {
				return
			}
			<-r.open
			_, _ = r.front.WriteTo(b[:n], *r.client.Load())
		}
	}()
}

// A client whose address changes is the same peer on the same connection.
func TestMigration(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	client.Reattest, server.Reattest = true, true
	at := listen(t, server, fast())
	accepted := at.accept()
	open := make(chan struct{})
	close(open)
	nat := newRelay(t, at.Addr(), open)
	c, err := Dial(within(t), nat.front.LocalAddr().String(), client, fast())
	require.NoError(t, err)
	defer c.Close()
	s := wait(t, accepted)
	before := s.RemoteAddr().String()
	nat.rebind(t)
	for range 2 {
		for _, conn := range []*Conn{c, s} {
			_, err = conn.Reattest(within(t))
			require.NoError(t, err)
		}
		echo(t, c, s)
	}
	require.Eventually(t, func() bool { return s.RemoteAddr().String() != before }, 20*time.Second, 10*time.Millisecond)
}
