package expatquic

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/expat-go/expat"
)

// exchangeStream is the stream of the exchange: the first bidirectional one that the
// client opens.
const exchangeStream quic.StreamID = 0

// stream is the [expat.Stream] of one connection. A client's connection is made by
// HandshakeContext; until then it has none.
type stream struct {
	dial func(context.Context) (*quic.Conn, error) // nil on a server
	conn *quic.Conn
	str  *quic.Stream // nil before Open

	once  sync.Once
	ended chan struct{} // closed when this side has closed the connection, or knows its end

	mu   sync.Mutex
	code quic.ApplicationErrorCode // of Close
	text string
}

var _ expat.Stream = (*stream)(nil)

func newStream(conn *quic.Conn, dial func(context.Context) (*quic.Conn, error)) *stream {
	return &stream{conn: conn, dial: dial, ended: make(chan struct{}), code: ErrorCodeBase}
}

// HandshakeContext dials, or on a server waits until the handshake is complete: keys
// for application data come earlier, and the exporter must not be used then
// (RFC 9261, Section 4).
func (s *stream) HandshakeContext(ctx context.Context) (err error) {
	if s.dial != nil {
		if s.conn, err = s.dial(ctx); err != nil {
			return explainHandshake(err)
		}
	}
	select {
	case <-s.conn.HandshakeComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.conn.ConnectionState().Used0RTT {
		return fmt.Errorf("%w: the connection has early data", expat.ErrNegotiation)
	}
	go s.watch(ctx)
	return nil
}

// maxEarly is how many bytes a peer may send before the exchange is done, in all: far
// more than the exchange and what a peer that is open sends until we are. The windows
// do not bound it: a peer that resets a stream has its window back, while quic-go
// keeps the data of a stream that nobody has accepted yet.
const maxEarly = 4 << 20

// watch ends a connection whose peer sends too much before ctx, which is that of the
// exchange, has ended.
func (s *stream) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.conn.ConnectionStats().BytesReceived > maxEarly && ctx.Err() == nil { // in this order
				_ = s.end(codeFlood, "")
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// Open opens the stream. The peer sees it with our first frame.
func (s *stream) Open(ctx context.Context) (err error) {
	if s.dial != nil {
		s.str, err = s.conn.OpenStreamSync(ctx)
	} else {
		s.str, err = s.conn.AcceptStream(ctx)
	}
	if err != nil {
		return explain(err)
	}
	if id := s.str.StreamID(); id != exchangeStream {
		return fmt.Errorf("%w: the exchange's stream has number %d", expat.ErrProtocol, id)
	}
	s.str.SetPriority(0, false) // ahead of what the application sends
	return nil
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.str.Read(b)
	return n, explain(err)
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.str.Write(b)
	return n, explain(err)
}

func (s *stream) CloseWrite() error { return s.str.Close() }

// closeWith sets what Close tells the peer.
func (s *stream) closeWith(code quic.ApplicationErrorCode, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.text = code, text
}

// Close closes the connection in good order.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end(s.code, s.text)
}

// CloseWithError closes the connection. The reason in words stays here.
func (s *stream) CloseWithError(e *expat.Error) error { return s.end(ErrorCode(e.Alert), "") }

func (s *stream) end(code quic.ApplicationErrorCode, text string) error {
	s.once.Do(func() { close(s.ended) })
	if s.conn == nil {
		return nil
	}
	return s.conn.CloseWithError(code, text) // the first counts
}

func (s *stream) ConnectionState() tls.ConnectionState { return s.conn.ConnectionState().TLS }

// Context is the one in which the TLS handshake ran.
func (s *stream) Context() context.Context { return s.conn.Context() }

func (s *stream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

func (s *stream) SetDeadline(t time.Time) error      { return s.str.SetDeadline(t) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.str.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.str.SetWriteDeadline(t) }
