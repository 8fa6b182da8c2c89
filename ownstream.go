package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/expat-go/expat/authenticator"
)

// A Stream is a bidirectional stream that a connection sets apart for the
// exchange, where a connection has many: QUIC. [Client], [ClientTo], [Server] and
// [NewListener] take it in place of a connection: TLS is not theirs to do then.
// The Conn that they return runs the exchange, asks the peer anew if that is
// agreed, and closes the connection when it must; it carries no application data.
//
// Whoever implements a Stream answers for this: the TLS handshake runs under the
// configuration of [StreamTLS]; no byte of the connection's other streams reaches
// the application, and none of the application's leaves, before HandshakeContext
// of the Conn has returned nil.
type Stream interface {
	// Of a net.Conn, Read, Write, SetDeadline, SetReadDeadline and the addresses are
	// used. An error of Read or Write wraps io.ErrUnexpectedEOF if the peer has ended
	// the connection, and is a [*PeerClosedError] if it said why.
	net.Conn

	// Context is the one under which a server's TLS handshake ran; see
	// [StreamContext].
	Context() context.Context

	// HandshakeContext completes the TLS handshake. Its ctx, and that of Open, ends
	// when the exchange is done, or has failed.
	HandshakeContext(ctx context.Context) error
	// ConnectionState describes the TLS connection.
	ConnectionState() tls.ConnectionState

	// Open opens the stream; a server waits for the client to do so. It comes
	// after HandshakeContext and before all reads and writes.
	Open(ctx context.Context) error
	// CloseWrite ends the stream in our direction.
	CloseWrite() error

	// CloseWithError closes the whole connection at once, tells the peer the Alert,
	// and ends reads and writes under way. Close does so in good order. It is
	// called in any state, also more than once: the first counts.
	CloseWithError(e *Error) error
}

// PeerClosedError is what a [Stream] reads when the peer has closed the connection
// and said why.
type PeerClosedError struct {
	Alert Alert
	Err   error
}

func (e *PeerClosedError) Error() string { return fmt.Sprintf("%v: %v", e.Alert, e.Err) }

// Unwrap returns the error of the connection.
func (e *PeerClosedError) Unwrap() error { return e.Err }

// StreamTLS returns the hardened TLS configuration of a side whose connections
// have a [Stream]. It is a copy; a client may set ServerName in it if it is empty,
// to what it then tells [ClientTo].
func StreamTLS(cfg *Config, role authenticator.Role) (*tls.Config, error) {
	p, err := cfg.prepare()
	if err != nil {
		return nil, failed(StageConfig, err)
	}
	if role == authenticator.Client {
		return p.client.Clone(), nil
	}
	return p.server.Clone(), nil
}

// StreamContext returns the context under which the TLS handshake of one server
// connection must run with the configuration of [StreamTLS], so that crypto/tls
// hands it to callbacks in [tls.ClientHelloInfo]. It notes there which
// configuration and which certificate served.
func StreamContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, originKey{}, new(origin))
}

type originKey struct{}

// origin is what the callbacks of a server's TLS handshake note.
type origin struct {
	hardened bool             // by GetConfigForClient: it was ours
	served   *tls.Config      // by GetConfigForClient
	shown    *tls.Certificate // by GetCertificate
	foreign  bool             // by GetConfigForClient: the client speaks no expat/1
	supply   supply           // of GetIdentities
}

// originOf finds where the callbacks of a TLS handshake note things.
func originOf(info *tls.ClientHelloInfo) (*origin, error) {
	if l, ok := info.Conn.(*link); ok {
		return &l.conn.origin, nil
	}
	if o, ok := info.Context().Value(originKey{}).(*origin); ok {
		return o, nil
	}
	return nil, fmt.Errorf("%w: TLS handshake without the context of StreamContext", ErrConfig)
}

// channel is what the exchange needs of a TLS connection, or of a Stream.
type channel interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
	CloseWrite() error
}

// shut closes the connection, and tells why if it can do so beside the frames.
func (c *Conn) shut(e *Error) {
	if c.apart != nil {
		_ = c.apart.CloseWithError(e)
		return
	}
	_ = c.net.Close()
}

// openStream makes the stream ready on which the exchange runs, if it is one of
// its own.
func (c *Conn) openStream(ctx context.Context) *Error {
	if c.apart == nil {
		return nil
	}
	if c.role == authenticator.Server {
		o, ok := c.apart.Context().Value(originKey{}).(*origin)
		if !ok || !o.hardened {
			return failed(StageConfig, fmt.Errorf("%w: the TLS configuration is not that of StreamTLS", ErrConfig))
		}
		c.origin = *o
	}
	if err := c.apart.Open(ctx); err != nil {
		if ended := c.ended(ctx); ended != nil {
			err = fmt.Errorf("waiting for the exchange's stream: %w", ended)
		}
		if gone(err) {
			err = fmt.Errorf("%w, before it began (%w)", ErrClosed, err)
		}
		return broken(StageHello, err)
	}
	return nil
}

// broken is the error of a connection that can be read no more: what the peer gave
// as its reason, if there is one.
func broken(stage Stage, err error) *Error {
	var closed *PeerClosedError
	if errors.As(err, &closed) {
		return reported(stage, uint16(closed.Alert))
	}
	return failed(stage, err)
}

var errApart = errors.New("expat: the connection has streams of their own for application data")
