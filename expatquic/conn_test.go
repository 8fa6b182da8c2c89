package expatquic

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// echo sends a message on a new stream and has it back.
func echo(t testing.TB, from, to *Conn) {
	t.Helper()
	out, err := from.OpenStreamSync(within(t))
	require.NoError(t, err)
	_, err = out.Write([]byte("application data"))
	require.NoError(t, err)
	require.NoError(t, out.Close())
	in, err := to.AcceptStream(within(t))
	require.NoError(t, err)
	require.Equal(t, out.StreamID(), in.StreamID())
	b, err := io.ReadAll(in)
	require.NoError(t, err)
	_, err = in.Write(b)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	b, err = io.ReadAll(out)
	require.NoError(t, err)
	require.Equal(t, "application data", string(b))
}

func TestConnect(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{serverAttests, clientAttests, mutual} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c, s := connect(t, first(w.configs(direction)), second(w.configs(direction)))
			require.Equal(t, direction != clientAttests, c.Peer() != nil)
			require.Equal(t, direction != serverAttests, s.Peer() != nil)
			if c.Peer() != nil {
				require.Equal(t, w.server.Leaf.Raw, c.PeerCertificates()[0].Raw)
			}
			if s.Peer() != nil {
				require.Equal(t, w.client.Leaf.Raw, s.PeerCertificates()[0].Raw)
			}
			for _, conn := range []*Conn{c, s} {
				cs := conn.ConnectionState()
				require.Equal(t, uint16(tls.VersionTLS13), cs.Version)
				require.Equal(t, "toy", cs.NegotiatedProtocol)
				require.Equal(t, "expat/1+toy", conn.QUIC().ConnectionState().TLS.NegotiatedProtocol)
				require.False(t, cs.DidResume)
				require.Zero(t, conn.Expires())
				_, err := conn.Reattest(within(t))
				require.ErrorIs(t, err, expat.ErrNoReattest)
			}
			echo(t, c, s)
			echo(t, s, c)
			require.Equal(t, s.RemoteAddr().(*net.UDPAddr).Port, c.LocalAddr().(*net.UDPAddr).Port)
			require.Equal(t, c.RemoteAddr().String(), s.LocalAddr().String())
		})
	}
}

// Both versions of QUIC will do.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, v := range []quic.Version{quic.Version1, quic.Version2} {
		client, server := newWorld(t).configs(mutual)
		conf := &quic.Config{Versions: []quic.Version{v}}
		at := listen(t, server, conf)
		accepted := at.accept()
		c, err := Dial(within(t), at.Addr().String(), client, conf)
		require.NoError(t, err)
		require.Equal(t, v, c.QUIC().ConnectionState().Version)
		echo(t, c, wait(t, accepted))
		require.NoError(t, c.Close())
	}
}

func first[A, B any](a A, _ B) A  { return a }
func second[A, B any](_ A, b B) B { return b }

func TestStreamsAndDatagrams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := connect(t, first(w.configs(mutual)), second(w.configs(mutual)))
	for _, way := range [][2]*Conn{{c, s}, {s, c}} {
		from, to := way[0], way[1]
		require.NoError(t, from.SendDatagram([]byte("datagram")))
		b, err := to.ReceiveDatagram(within(t))
		require.NoError(t, err)
		require.Equal(t, "datagram", string(b))
		for _, open := range []func() (*quic.SendStream, error){from.OpenUniStream, func() (*quic.SendStream, error) { return from.OpenUniStreamSync(within(t)) }} {
			out, err := open()
			require.NoError(t, err)
			_, err = out.Write([]byte("one way"))
			require.NoError(t, err)
			require.NoError(t, out.Close())
			in, err := to.AcceptUniStream(within(t))
			require.NoError(t, err)
			b, err = io.ReadAll(in)
			require.NoError(t, err)
			require.Equal(t, "one way", string(b))
		}
		out, err := from.OpenStream()
		require.NoError(t, err)
		require.NotEqual(t, exchangeStream, out.StreamID())
	}
}

// Two sides that are used with the same Config make any number of connections, and
// a connection ends with the code of the application.
func TestClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(mutual)
	at := listen(t, server, fast())
	for _, end := range []struct {
		close func(*Conn) error
		code  quic.ApplicationErrorCode
	}{
		{(*Conn).Close, ErrorCodeBase},
		{func(c *Conn) error { return c.CloseWithError(7, "seven") }, 7},
		{func(c *Conn) error { return c.QUIC().CloseWithError(8, "eight") }, 8},
	} {
		accepted := at.accept()
		c, err := Dial(within(t), at.Addr().String(), client, fast())
		require.NoError(t, err)
		s := wait(t, accepted)
		require.NoError(t, end.close(c))
		wait(t, s.Context().Done())
		var app *quic.ApplicationError
		require.ErrorAs(t, context.Cause(s.Context()), &app)
		require.True(t, app.Remote)
		require.Equal(t, end.code, app.ErrorCode)
		alert, ok := AlertOf(context.Cause(s.Context()))
		require.Equal(t, end.code == ErrorCodeBase, ok)
		require.Equal(t, expat.AlertAccepted, alert)
		for _, conn := range []*Conn{c, s} {
			_, err = conn.OpenStream()
			require.Error(t, err)
			_, err = conn.AcceptStream(within(t))
			require.Error(t, err)
		}
	}
}

// A verdict that runs out closes the connection, for both sides and all streams.
func TestExpiry(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{serverAttests, clientAttests} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			client, server := newWorld(t).configs(direction)
			short := &toy{lifetime: time.Second}
			if direction == serverAttests {
				client.Verifier = short
			} else {
				server.Verifier = short
			}
			c, s := connect(t, client, server)
			str, err := c.OpenStreamSync(within(t))
			require.NoError(t, err)
			_, err = str.Write([]byte("x"))
			require.NoError(t, err)
			for _, conn := range []*Conn{c, s} {
				require.WithinDuration(t, time.Now().Add(time.Second), conn.Expires(), 900*time.Millisecond)
			}
			_, err = io.ReadAll(str)
			alert, ok := AlertOf(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, expat.AlertAttestationRequired, alert)
			for _, conn := range []*Conn{c, s} {
				wait(t, conn.Context().Done())
				var e *expat.Error
				_, err = conn.OpenStream()
				require.ErrorAs(t, err, &e)
				require.Equal(t, expat.AlertAttestationRequired, e.Alert)
			}
		})
	}
}

// MaxExchanges bounds what a listener works on; those beyond it wait.
func TestPlaces(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(clientAttests)
	v := &toy{entered: make(chan struct{}), release: make(chan struct{})}
	server.Verifier, server.MaxExchanges = v, 1
	at := listen(t, server, fast())
	at.accept()
	dialed := make(chan error, 2)
	for range 2 {
		go func() {
			c, err := Dial(context.Background(), at.Addr().String(), client, fast())
			if err == nil {
				defer c.Close()
			}
			dialed <- err
		}()
	}
	wait(t, v.entered)
	select {
	case <-v.entered:
		require.FailNow(t, "two exchanges at a time")
	case <-time.After(300 * time.Millisecond):
	}
	close(v.release)
	wait(t, v.entered)
	for range 2 {
		require.NoError(t, wait(t, dialed))
	}
}

func TestListenerClose(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	at := listen(t, server, fast())
	accepted := at.accept()
	c, err := Dial(within(t), at.Addr().String(), client, fast())
	require.NoError(t, err)
	defer c.Close()
	s := wait(t, accepted)
	require.NoError(t, at.Close())
	require.NoError(t, at.Close())
	wait(t, s.Context().Done())
	_, err = at.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	for a := expat.AlertAccepted; a <= expat.AlertProtocol; a++ {
		code := ErrorCode(a)
		require.Equal(t, ErrorCodeBase+quic.ApplicationErrorCode(a), code)
		require.NotZero(t, (code-0x21)%0x1f, "RFC 9114, Section 8.1, reserves it")
		got, ok := AlertOf(&quic.ApplicationError{ErrorCode: code})
		require.True(t, ok)
		require.Equal(t, a, got)
	}
	require.Equal(t, ErrorCodeBase+0xff, ErrorCode(0xff))
	require.Equal(t, ErrorCode(expat.AlertProtocol), ErrorCode(0x100))
	for _, code := range []quic.ApplicationErrorCode{0, ErrorCodeBase - 1, ErrorCodeBase + 0x100} {
		_, ok := AlertOf(&quic.ApplicationError{ErrorCode: code})
		require.False(t, ok)
	}
	_, ok := AlertOf(io.EOF)
	require.False(t, ok)
}
