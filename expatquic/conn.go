package expatquic

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// Conn is an attested QUIC connection. There is none before the exchange is done, so
// all its streams and datagrams are those of an attested peer. When a verdict runs
// out or a peer that is asked anew is refused it is closed: methods then return the
// [*expat.Error], and streams a [quic.ApplicationError] with the code of the alert
// ([AlertOf]). One that an application has closed, or a side in good order, has that
// error everywhere.
//
// Its methods are safe for concurrent use.
type Conn struct {
	attested *expat.Conn
	stream   *stream
}

// QUIC is the connection itself, for code that takes nothing else, as http3 does. It
// carries on as c does: it is closed when c must be, and its stream 0 is in use. Its
// ReceiveDatagram delivers what was queued even then.
func (c *Conn) QUIC() *quic.Conn { return c.stream.conn }

// explain puts why a connection was closed in place of quic-go's error, if that was
// not an application.
func (c *Conn) explain(err error) error {
	if !errors.Is(err, net.ErrClosed) { // which all errors of an ended connection are
		return err
	}
	var app *quic.ApplicationError
	if alert, _ := AlertOf(err); alert == expat.AlertAccepted && errors.As(err, &app) {
		return err
	}
	select { // whoever reads the exchange's stream finds the end too
	case <-c.stream.ended:
	case <-time.After(grace):
	}
	return cmp.Or(c.attested.Handshake(), err)
}

// grace is how long the reading of the exchange's stream may be held up, by a Trace.
const grace = 200 * time.Millisecond

// OpenStream opens a bidirectional stream and does not wait for the peer's leave.
func (c *Conn) OpenStream() (*quic.Stream, error) {
	s, err := c.QUIC().OpenStream()
	return s, c.explain(err)
}

// OpenStreamSync opens a bidirectional stream, within ctx.
func (c *Conn) OpenStreamSync(ctx context.Context) (*quic.Stream, error) {
	s, err := c.QUIC().OpenStreamSync(ctx)
	return s, c.explain(err)
}

// OpenUniStream opens a unidirectional stream and does not wait for the peer's leave.
func (c *Conn) OpenUniStream() (*quic.SendStream, error) {
	s, err := c.QUIC().OpenUniStream()
	return s, c.explain(err)
}

// OpenUniStreamSync opens a unidirectional stream, within ctx.
func (c *Conn) OpenUniStreamSync(ctx context.Context) (*quic.SendStream, error) {
	s, err := c.QUIC().OpenUniStreamSync(ctx)
	return s, c.explain(err)
}

// AcceptStream waits for the next bidirectional stream that the peer opens.
func (c *Conn) AcceptStream(ctx context.Context) (*quic.Stream, error) {
	s, err := c.QUIC().AcceptStream(ctx)
	return s, c.explain(err)
}

// AcceptUniStream waits for the next unidirectional stream that the peer opens.
func (c *Conn) AcceptUniStream(ctx context.Context) (*quic.ReceiveStream, error) {
	s, err := c.QUIC().AcceptUniStream(ctx)
	return s, c.explain(err)
}

// SendDatagram sends a datagram (RFC 9221).
func (c *Conn) SendDatagram(b []byte) error { return c.explain(c.QUIC().SendDatagram(b)) }

// ReceiveDatagram waits for a datagram. What was not read before the connection ended
// is dropped.
func (c *Conn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := c.QUIC().ReceiveDatagram(ctx)
	if err == nil && c.Context().Err() != nil {
		b, err = nil, context.Cause(c.Context()) // quic-go still has what came before
	}
	return b, c.explain(err)
}

// Context ends with the connection.
func (c *Conn) Context() context.Context { return c.QUIC().Context() }

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.QUIC().LocalAddr() }

// RemoteAddr returns the remote network address.
func (c *Conn) RemoteAddr() net.Addr { return c.QUIC().RemoteAddr() }

// ConnectionState describes the TLS connection. NegotiatedProtocol is the
// application's protocol, without the name under which it was negotiated.
func (c *Conn) ConnectionState() tls.ConnectionState { return c.attested.ConnectionState() }

// Peer is the latest verdict on the peer. It is nil where this side has no Verifier.
func (c *Conn) Peer() *attestation.Result { return c.attested.Peer() }

// PeerCertificates is the chain that the peer's latest authenticator proved, leaf
// first. It is nil where Peer is.
func (c *Conn) PeerCertificates() []*x509.Certificate { return c.attested.PeerCertificates() }

// Expires is when the first of the two verdicts runs out, after which the connection
// is closed unless re-attestation replaces it before. It is zero if none does.
func (c *Conn) Expires() time.Time { return c.attested.Expires() }

// Reattest asks the peer anew, at once, on the exchange's stream; see
// [expat.Conn.Reattest]. The other streams go on meanwhile.
func (c *Conn) Reattest(ctx context.Context) (*attestation.Result, error) {
	return c.attested.Reattest(ctx)
}

// Close closes the connection in good order, with [ErrorCodeBase]. What was written to
// streams and has not arrived is lost.
func (c *Conn) Close() error { return c.attested.Close() }

// CloseWithError closes the connection with a code and a text of the application.
func (c *Conn) CloseWithError(code quic.ApplicationErrorCode, text string) error {
	c.stream.closeWith(code, text)
	return c.attested.Close()
}
