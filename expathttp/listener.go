package expathttp

import (
	"context"
	"crypto/tls"
	"net"

	"golang.org/x/net/http2"

	"github.com/expat-go/expat"
)

// listener gives net/http each connection in the form in which it can speak the
// protocol that was negotiated.
type listener struct {
	net.Listener // of package expat
	server       *Server
	hideBare     bool // in tests: every HTTP/2 connection is served as a framed one
}

// Accept returns the next connection for net/http: for HTTP/2 the bare TLS
// connection, for HTTP/1.1 the Conn, since net/http closes a tls.Conn whose ALPN
// name it does not know.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := nc.(*expat.Conn)
		if conn.ConnectionState().NegotiatedProtocol != protoHTTP2 {
			return conn, nil
		}
		if tc, ok := l.bare(conn); ok {
			return tc, nil
		}
		l.server.serveFramed(l, conn)
	}
}

func (l *listener) bare(conn *expat.Conn) (*tls.Conn, bool) {
	if l.hideBare {
		return nil, false
	}
	return conn.Bare()
}

// serveFramed serves HTTP/2 on a connection that has no bare tls.Conn. A
// connection that has ended by now ends there.
func (s *Server) serveFramed(l net.Listener, conn *expat.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		_ = conn.Close()
		return
	}
	s.framed[conn] = struct{}{}
	go func() {
		defer s.forget(conn)
		ctx := context.Background()
		if s.http.BaseContext != nil {
			ctx = s.http.BaseContext(l)
		}
		s.h2.ServeConn(conn, &http2.ServeConnOpts{
			Context:    s.http.ConnContext(ctx, conn),
			BaseConfig: s.http,
		})
	}()
}

// forget notes that a framed connection has ended.
func (s *Server) forget(conn *expat.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.framed, conn)
	if s.ending && len(s.framed) == 0 {
		close(s.ended)
	}
}
