package expathttp

import (
	"fmt"
	"net"
	"slices"

	"github.com/expat-go/expat"
)

// listener gives net/http each connection in the form in which it speaks the
// protocol that was negotiated:
//
//	HTTP/1.1            the Conn: a tls.Conn whose ALPN name it does not know, it closes
//	HTTP/2              the bare tls.Conn, found by its ALPN name in TLSNextProto
//	HTTP/2, no bare one the Conn without its TLS state, found by HTTP/2's preface
type listener struct {
	net.Listener // of package expat
	server       *Server
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	l.server.alias.Do(l.server.nameHTTP2)
	if l.server.http.TLSNextProto[alpnHTTP2] == nil && slices.Contains(l.server.cfg.TLS.NextProtos, protoHTTP2) {
		return nil, fmt.Errorf("%w: HTTP/2 of net/http is switched off (GODEBUG=http2server=0); leave h2 out of TLS.NextProtos", ErrConfig)
	}
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := nc.(*expat.Conn)
	if conn.ConnectionState().NegotiatedProtocol != protoHTTP2 {
		return conn, nil
	}
	if tc, ok := conn.Bare(); ok {
		return tc, nil
	}
	return &framedConn{Conn: conn, attested: conn}, nil
}

// nameHTTP2 makes net/http find HTTP/2 by the name under which it is negotiated.
// Serve has set up HTTP/2 by the time it first accepts, and no connection is
// served yet.
func (s *Server) nameHTTP2() {
	if h2, ok := s.http.TLSNextProto[protoHTTP2]; ok {
		s.http.TLSNextProto[alpnHTTP2] = h2
	}
}

// framedConn is a connection without a bare tls.Conn. net/http looks for HTTP/2 on
// a connection of its own only where it sees no TLS.
type framedConn struct {
	net.Conn
	attested *expat.Conn
}
