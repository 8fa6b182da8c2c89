package proxy

import (
	"errors"
	"io"
	"net"
)

// errCut: the connection under TLS ended, and nobody had said that the stream would.
// crypto/tls takes such an end between two records for an orderly one.
var errCut = &cutError{errors.New("connection was cut before the end of the stream")}

type cutError struct{ error }

func (*cutError) Is(target error) bool { return target == io.ErrUnexpectedEOF }

// carrier is a connection under TLS. It has no end but errCut: the end of the stream
// is close_notify's to tell (RFC 8446, Section 6.1).
type carrier struct{ net.Conn }

func (c carrier) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		err = errCut
	}
	return n, err
}

// NetConn is the connection under this one.
func (c carrier) NetConn() net.Conn { return c.Conn }

// carriers is a listener of them.
type carriers struct{ net.Listener }

func (l carriers) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return carrier{nc}, nil
}
