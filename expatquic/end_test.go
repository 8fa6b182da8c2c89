package expatquic

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
)

// methods are those that fail once a connection has ended.
var methods = map[string]func(context.Context, *Conn) error{
	"OpenStream":        func(_ context.Context, c *Conn) error { _, err := c.OpenStream(); return err },
	"OpenStreamSync":    func(ctx context.Context, c *Conn) error { _, err := c.OpenStreamSync(ctx); return err },
	"OpenUniStream":     func(_ context.Context, c *Conn) error { _, err := c.OpenUniStream(); return err },
	"OpenUniStreamSync": func(ctx context.Context, c *Conn) error { _, err := c.OpenUniStreamSync(ctx); return err },
	"AcceptStream":      func(ctx context.Context, c *Conn) error { _, err := c.AcceptStream(ctx); return err },
	"AcceptUniStream":   func(ctx context.Context, c *Conn) error { _, err := c.AcceptUniStream(ctx); return err },
	"SendDatagram":      func(_ context.Context, c *Conn) error { return c.SendDatagram([]byte("x")) },
	"ReceiveDatagram":   func(ctx context.Context, c *Conn) error { _, err := c.ReceiveDatagram(ctx); return err },
}

// refusable is a connection whose client refuses the server from when bad is set.
func refusable(t *testing.T, reason error) (c, s *Conn, bad *atomic.Bool) {
	t.Helper()
	bad = new(atomic.Bool)
	c, s = renewable(t, func(client, _ *expat.Config) {
		client.Verifier = &toy{appraise: func() error {
			if bad.Load() {
				return reason
			}
			return nil
		}}
	})
	return c, s, bad
}

// The reason of the end is in the first error that a method returns, on both sides,
// whoever finds it first.
func TestReasonOfEnd(t *testing.T) {
	t.Parallel()
	for name, method := range methods {
		if name == "OpenStream" || name == "OpenUniStream" || name == "SendDatagram" {
			continue // they do not wait
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			no := errors.New("no")
			c, s, bad := refusable(t, no)
			if name == "OpenStreamSync" || name == "OpenUniStreamSync" {
				for _, conn := range []*Conn{c, s} {
					for {
						if _, err := conn.OpenStream(); err != nil {
							break
						}
					}
					for {
						if _, err := conn.OpenUniStream(); err != nil {
							break
						}
					}
				}
			}
			ended := make(chan error, 2)
			for _, conn := range []*Conn{c, s} {
				go func() { ended <- method(context.Background(), conn) }()
			}
			bad.Store(true)
			_, err := c.Reattest(within(t))
			require.ErrorIs(t, err, no)
			for range 2 {
				var e *expat.Error
				require.ErrorAs(t, wait(t, ended), &e)
				require.Equal(t, expat.AlertAttestationRejected, e.Alert)
				require.ErrorIs(t, e, expat.ErrReattest)
			}
		})
	}
}

// What came from a peer and was not read before it was refused is dropped: data of
// streams, and datagrams.
func TestNothingAfterRefusal(t *testing.T) {
	t.Parallel()
	c, s, bad := refusable(t, errors.New("no"))
	out, err := s.OpenStreamSync(within(t))
	require.NoError(t, err)
	_, err = out.Write([]byte("12"))
	require.NoError(t, err)
	in, err := c.AcceptStream(within(t))
	require.NoError(t, err)
	_, err = io.ReadFull(in, make([]byte, 1))
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, s.SendDatagram([]byte("x")))
	}
	_, err = c.ReceiveDatagram(within(t)) // so the rest is there, or lost
	require.NoError(t, err)
	_, err = s.Reattest(within(t)) // comes after it
	require.NoError(t, err)
	bad.Store(true)
	_, err = c.Reattest(within(t))
	require.Error(t, err)
	for range 3 {
		b, err := c.ReceiveDatagram(within(t))
		require.ErrorIs(t, err, expat.ErrReattest)
		require.Nil(t, b)
	}
	n, err := in.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Error(t, err)
}

// An end in good order, or by the application, is no failure of attestation.
func TestEndByApplication(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		close func(*Conn) error
		code  quic.ApplicationErrorCode
	}{
		"Close":          {(*Conn).Close, ErrorCodeBase},
		"CloseWithError": {func(c *Conn) error { return c.CloseWithError(7, "seven") }, 7},
		"http3":          {func(c *Conn) error { return c.QUIC().CloseWithError(0x100, "") }, 0x100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := renewable(t)
			require.NoError(t, end.close(c))
			wait(t, s.Context().Done())
			for i, conn := range []*Conn{c, s} {
				for method, call := range methods {
					err := call(within(t), conn)
					var failure *expat.Error
					require.False(t, errors.As(err, &failure), "%s: %v", method, err)
					require.ErrorIs(t, err, net.ErrClosed, method)
					var app *quic.ApplicationError
					require.ErrorAs(t, err, &app, method)
					require.Equal(t, end.code, app.ErrorCode, method)
					require.Equal(t, i == 1, app.Remote, method)
				}
			}
		})
	}
}

// What a peer that is gone gave as its reason in words is in no error of ours: it may
// be anything.
func TestWordsOfPeer(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	c, s := renewable(t, func(_, server *expat.Config) {
		slow := &toy{entered: make(chan struct{}, 8), release: make(chan struct{})}
		var later atomic.Bool
		server.Verifier = switched{now: &toy{}, then: slow, when: &later}
		server.BeforeReattest = func(*expat.Conn) { later.Store(true) }
	})
	go func() { _, err := s.Reattest(context.Background()); failed <- err }()
	require.NoError(t, c.CloseWithError(0x101, "all good\n2026/01/01 admin logged in"))
	err := wait(t, failed)
	require.ErrorIs(t, err, expat.ErrLost)
	require.ErrorContains(t, err, "0x101")
	require.NotContains(t, err.Error(), "admin")
	var app *quic.ApplicationError
	require.ErrorAs(t, err, &app)
}

// A connection that is idle for too long is lost, and says so.
func TestIdleConnection(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	conf := &quic.Config{MaxIdleTimeout: 2 * time.Second}
	at := listen(t, server, conf)
	accepted := at.accept()
	c, err := Dial(within(t), at.Addr().String(), client, conf)
	require.NoError(t, err)
	for _, conn := range []*Conn{c, wait(t, accepted)} {
		_, err := conn.AcceptStream(within(t))
		requireFailure(t, err, expat.StageStream, expat.AlertTimeout, expat.Local, os.ErrDeadlineExceeded)
		require.True(t, err.(net.Error).Timeout())
	}
}

// The errors of quic-go in the terms of a Stream.
func TestExplain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ err, want error }{
		"closed":          {&quic.ApplicationError{Remote: true, ErrorCode: 0x100, ErrorMessage: "words"}, io.ErrUnexpectedEOF},
		"closed well":     {&quic.ApplicationError{Remote: true, ErrorCode: ErrorCodeBase, ErrorMessage: "words"}, io.ErrUnexpectedEOF},
		"closed by us":    {&quic.ApplicationError{ErrorCode: 7}, net.ErrClosed},
		"transport":       {&quic.TransportError{Remote: true, ErrorCode: quic.InternalError, ErrorMessage: "words"}, io.ErrUnexpectedEOF},
		"our transport":   {&quic.TransportError{ErrorCode: quic.InternalError, ErrorMessage: "ours"}, net.ErrClosed},
		"stream reset":    {&quic.StreamError{Remote: true}, io.ErrUnexpectedEOF},
		"stateless reset": {&quic.StatelessResetError{}, io.ErrUnexpectedEOF},
		"idle":            {&quic.IdleTimeoutError{}, os.ErrDeadlineExceeded},
		"handshake":       {&quic.HandshakeTimeoutError{}, os.ErrDeadlineExceeded},
		"too much early":  {&quic.ApplicationError{ErrorCode: ErrorCode(expat.AlertLimit)}, authenticator.ErrLimit},
		"other":           {io.EOF, io.EOF},
	} {
		err := explain(c.err)
		require.ErrorIs(t, err, c.want, name)
		require.NotContains(t, err.Error(), "words", name)
		var closed *expat.PeerClosedError
		require.False(t, errors.As(err, &closed), name)
	}
	var closed *expat.PeerClosedError
	require.ErrorAs(t, explain(&quic.ApplicationError{Remote: true, ErrorCode: ErrorCode(expat.AlertRefused), ErrorMessage: "words"}), &closed)
	require.Equal(t, expat.AlertRefused, closed.Alert)
	require.NotContains(t, closed.Error(), "words")
	require.NoError(t, explain(nil))
}
