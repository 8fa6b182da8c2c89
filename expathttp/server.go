package expathttp

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/expat-go/expat"
)

// The protocols, as ALPN names them and as expat/1 negotiates them.
const (
	protoHTTP2    = "h2"
	protoHTTP1    = "http/1.1"
	alpnHTTP2     = "expat/1+h2"
	defaultListen = ":https"
)

// Server serves HTTP/1.1 and HTTP/2 on attested connections.
type Server struct {
	http  *http.Server
	cfg   *expat.Config
	alias sync.Once // see nameHTTP2
}

// NewServer returns a server for s on connections that are attested as cfg says.
// s belongs to the Server from then on: requests on a listener that it serves by
// itself are dropped. Its Handler, timeouts, limits, ErrorLog, BaseContext, ConnContext
// and ConnState keep their meaning; TLSConfig, TLSNextProto and Protocols must be nil,
// since cfg decides on TLS and protocols.
//
// cfg.TLS.NextProtos chooses among h2 and http/1.1; empty means both, HTTP/2
// preferred. Connections that are refused show in cfg.Refused, no handler runs for
// them. Errors wrap [ErrConfig]; a cfg that expat cannot use shows in Serve.
func NewServer(s *http.Server, cfg *expat.Config) (*Server, error) {
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: the http.Server is nil", ErrConfig)
	case s.TLSConfig != nil || s.TLSNextProto != nil || s.Protocols != nil:
		return nil, fmt.Errorf("%w: TLSConfig, TLSNextProto and Protocols of the http.Server must be nil; set Config.TLS", ErrConfig)
	}
	cfg, err := withProtocols(cfg)
	if err != nil {
		return nil, err
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true) // as net/http calls it on a framedConn
	if s.Handler == nil {
		s.Handler = http.DefaultServeMux
	}
	s.Handler = withState(s.Handler)
	user := s.ConnContext
	s.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		ctx = attach(ctx, nc)
		if user != nil {
			ctx = user(ctx, nc)
		}
		return ctx
	}
	return &Server{http: s, cfg: cfg}, nil
}

// withProtocols copies a Config and completes its protocols.
func withProtocols(cfg *expat.Config) (*expat.Config, error) {
	if cfg == nil || cfg.TLS == nil {
		return nil, fmt.Errorf("%w: Config and Config.TLS must be set", ErrConfig)
	}
	cfg = cfg.Clone()
	if len(cfg.TLS.NextProtos) == 0 {
		cfg.TLS.NextProtos = []string{protoHTTP2, protoHTTP1}
	}
	for _, p := range cfg.TLS.NextProtos {
		if !slices.Contains([]string{protoHTTP2, protoHTTP1}, p) {
			return nil, fmt.Errorf("%w: TLS.NextProtos has %q, want h2 and http/1.1 only", ErrConfig, p)
		}
	}
	return cfg, nil
}

// Serve accepts connections from ln, which it closes in the end. Exchanges run
// beside Accept, bounded by cfg.MaxExchanges; [expat.NewListener] says how. It
// always returns an error, after Shutdown and Close [http.ErrServerClosed].
func (s *Server) Serve(ln net.Listener) error {
	return s.http.Serve(&listener{Listener: expat.NewListener(ln, s.cfg), server: s})
}

// ListenAndServe listens on addr, ":https" if it is empty, and serves.
func (s *Server) ListenAndServe(addr string) error {
	if addr == "" {
		addr = defaultListen
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return s.Serve(ln)
}

// Shutdown ends the server without interrupting requests: it closes the listeners
// and waits until connections are idle, or until ctx ends, whose error it then
// returns.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Close ends the server at once, requests included.
func (s *Server) Close() error { return s.http.Close() }
