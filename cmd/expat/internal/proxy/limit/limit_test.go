package limit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a listener that does what its steps say, and then is closed.
type script struct {
	net.Listener
	steps []any // error, or the address of a connection
	made  []*fake
}

type fake struct {
	net.Conn
	remote net.Addr
	closed atomic.Int32
}

func (f *fake) RemoteAddr() net.Addr      { return f.remote }
func (f *fake) Close() error              { f.closed.Add(1); return nil }
func (f *fake) Read([]byte) (int, error)  { return 3, io.EOF }
func (f *fake) Write([]byte) (int, error) { return 2, nil }

func (s *script) Accept() (net.Conn, error) {
	if len(s.steps) == 0 {
		return nil, net.ErrClosed
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	if err, ok := step.(error); ok {
		return nil, err
	}
	c := &fake{remote: step.(net.Addr)}
	s.made = append(s.made, c)
	return c, nil
}

func (s *script) Close() error { return nil }

func from(ip string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1234))
}

func TestErrorsOfAccept(t *testing.T) {
	t.Parallel()
	full := &net.OpError{Op: "accept", Err: syscall.EMFILE}
	var said []string
	s := &script{steps: []any{full, full, full, from("192.0.2.1"), full, from("192.0.2.1"), from("192.0.2.1"), full}}
	l := New(s, Limits{Connections: 9}, Observer{
		Failed:    func(err error) { said = append(said, err.Error()) },
		Recovered: func() { said = append(said, "recovered") },
	})
	began := time.Now()
	_, err := l.Accept()
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 7*firstWait, "waits double")
	_, err = l.Accept()
	require.NoError(t, err)
	require.Equal(t, []string{full.Error()}, said, "it is not over yet")
	time.Sleep(calm)
	_, err = l.Accept()
	require.NoError(t, err)
	require.Equal(t, []string{full.Error(), "recovered"}, said)
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, []string{full.Error(), "recovered", full.Error()}, said, "each time is told once")
	require.Equal(t, 3, l.Open())

	l = New(&script{steps: []any{full}}, Limits{Connections: 1}, Observer{})
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "it does not wait when it is closed")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	a, b, c := from("192.0.2.1"), from("192.0.2.2"), from("192.0.2.3")
	unix := &net.UnixAddr{Name: "@", Net: "unix"}
	for _, tc := range []struct {
		name   string
		limits Limits
		from   []net.Addr
		want   []Reason // "" is accepted
	}{
		{"in all", Limits{Connections: 2}, []net.Addr{a, b, c}, []Reason{"", "", TooMany}},
		{"from one", Limits{Connections: 9, PerClient: 2}, []net.Addr{a, a, a, b}, []Reason{"", "", TooManyFromClient, ""}},
		{"in a second", Limits{Connections: 9, NewPerSec: 2}, []net.Addr{a, a, a, b}, []Reason{"", "", TooFast, ""}},
		{"mapped", Limits{Connections: 9, PerClient: 1}, []net.Addr{a, from("::ffff:192.0.2.1")}, []Reason{"", TooManyFromClient}},
		{"one /64", Limits{Connections: 9, PerClient: 1}, []net.Addr{from("2001:db8::1"), from("2001:db8::2"), from("2001:db8:0:1::1")}, []Reason{"", TooManyFromClient, ""}},
		{"sockets", Limits{Connections: 2, PerClient: 1, NewPerSec: 1}, []net.Addr{unix, unix, unix}, []Reason{"", "", TooMany}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := &script{}
			var got []Reason
			l := New(s, tc.limits, Observer{
				Accepted: func(net.Conn) { got = append(got, "") },
				Refused:  func(_ net.Addr, why Reason) { got = append(got, why) },
			})
			for _, addr := range tc.from {
				s.steps = append(s.steps, addr)
			}
			var err error
			for err == nil {
				_, err = l.Accept()
			}
			require.ErrorIs(t, err, net.ErrClosed)
			require.Equal(t, tc.want, got)
			for i, c := range s.made {
				require.EqualValues(t, tc.want[i] != "", c.closed.Load() == 1)
			}
		})
	}
}

// What is closed makes room, once; the rate is that of a second.
func TestRoom(t *testing.T) {
	t.Parallel()
	closed := 0
	l := New(&script{}, Limits{Connections: 2, PerClient: 1, NewPerSec: 10}, Observer{Closed: func() { closed++ }})
	now := time.Now()
	key, why := l.admit(from("192.0.2.1"), now)
	require.Empty(t, why)
	_, why = l.admit(from("192.0.2.1"), now)
	require.Equal(t, TooManyFromClient, why)
	c := newConn(&fake{}, l, key)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.Equal(t, 1, closed)
	require.Zero(t, l.Open())
	l.SetLimits(Limits{Connections: 100, NewPerSec: 10})
	for range 9 {
		_, why = l.admit(from("192.0.2.1"), now)
		require.Empty(t, why)
	}
	_, why = l.admit(from("192.0.2.1"), now)
	require.Equal(t, TooFast, why)
	_, why = l.admit(from("192.0.2.1"), now.Add(99*time.Millisecond))
	require.Equal(t, TooFast, why)
	_, why = l.admit(from("192.0.2.1"), now.Add(201*time.Millisecond))
	require.Empty(t, why)
	require.Len(t, l.clients, 1)
	l.clients[netip.MustParsePrefix("192.0.2.9/32")] = &client{last: now}
	_, why = l.admit(from("192.0.2.2"), now.Add(3*time.Second))
	require.Empty(t, why)
	require.Len(t, l.clients, 2, "a client that has gone is forgotten")
}

func TestManyClients(t *testing.T) {
	t.Parallel()
	l := New(&script{}, Limits{Connections: maxClients * 2, PerClient: 1}, Observer{})
	now := time.Now()
	for i := range maxClients {
		_, why := l.admit(from(fmt.Sprintf("10.0.%d.%d", i>>8, i&255)), now)
		require.Empty(t, why)
	}
	_, why := l.admit(from("192.0.2.1"), now)
	require.Equal(t, TooMany, why, "what is remembered is bounded")
}

func TestConn(t *testing.T) {
	t.Parallel()
	var received, sent int
	l := New(&script{}, Limits{Connections: 1}, Observer{Bytes: func(r, s int) { received, sent = received+r, sent+s }})
	f := &fake{}
	c := newConn(f, l, netip.Prefix{})
	_, err := c.Read(nil)
	require.ErrorIs(t, err, io.EOF)
	_, err = c.Write(nil)
	require.NoError(t, err)
	require.Equal(t, []int{3, 2}, []int{received, sent})
	require.NoError(t, c.SetLinger(0))
	require.NoError(t, c.CloseWrite(), "what has no half is closed")
	require.EqualValues(t, 1, f.closed.Load())
}

func TestIdle(t *testing.T) {
	t.Parallel()
	l := New(&script{}, Limits{Connections: 1}, Observer{Idle: 100 * time.Millisecond})
	f := &fake{}
	c := newConn(f, l, netip.Prefix{})
	for range 8 {
		time.Sleep(30 * time.Millisecond)
		_, _ = c.Write(nil)
	}
	require.Zero(t, f.closed.Load(), "it is not idle")
	require.Eventually(t, func() bool { return f.closed.Load() == 1 }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, c.Close())
}

func TestTCP(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := New(ln, Limits{Connections: 1}, Observer{})
	defer l.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer out.Close()
	in, err := l.Accept()
	require.NoError(t, err)
	defer in.Close()
	require.NoError(t, in.(*Conn).CloseWrite())
	_, err = out.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, in.(*Conn).SetLinger(0))
	require.NoError(t, in.Close())
	_, err = out.Write([]byte("x"))
	if err == nil {
		_, err = out.Read(make([]byte, 1))
	}
	require.Error(t, err)
	require.False(t, temporary(errors.New("x")))
}

// A limit that is set later counts from then on: what came before it was allowed.
func TestLimitsSetLater(t *testing.T) {
	t.Parallel()
	l := New(&script{}, Limits{Connections: 1000, PerClient: 100}, Observer{})
	now := time.Now()
	for range 50 {
		_, why := l.admit(from("192.0.2.1"), now)
		require.Empty(t, why)
	}
	l.SetLimits(Limits{Connections: 1000, NewPerSec: 10})
	now = now.Add(time.Second)
	for range 10 {
		_, why := l.admit(from("192.0.2.1"), now)
		require.Empty(t, why)
	}
	_, why := l.admit(from("192.0.2.1"), now)
	require.Equal(t, TooFast, why)

	// What was accepted without such a limit does not count, and gives no room.
	l = New(&script{}, Limits{Connections: 1000}, Observer{})
	before, why := l.admit(from("192.0.2.1"), now)
	require.Empty(t, why)
	l.SetLimits(Limits{Connections: 1000, PerClient: 1})
	_, why = l.admit(from("192.0.2.1"), now)
	require.Empty(t, why)
	l.release(before)
	_, why = l.admit(from("192.0.2.1"), now)
	require.Equal(t, TooManyFromClient, why)
}
