package expathttp

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/net/http2"

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
	http *http.Server
	h2   *http2.Server
	cfg  *expat.Config

	mu     sync.Mutex
	framed map[*expat.Conn]struct{} // HTTP/2 connections that net/http does not know of
	ending bool                     // by Shutdown or Close
	ended  chan struct{}            // closed when ending and framed is empty
}

// NewServer returns a server for s on connections that are attested as cfg says.
// s belongs to the Server from then on. Its Handler, timeouts, limits, ErrorLog,
// BaseContext, ConnContext and ConnState keep their meaning; TLSConfig and
// TLSNextProto must be nil, since TLS is configured by cfg.
//
// cfg.TLS.NextProtos chooses among h2 and http/1.1; empty means both, HTTP/2
// preferred. Connections that are refused show in cfg.Refused, no handler runs for
// them. Errors wrap [ErrConfig]; a cfg that expat cannot use shows in Serve.
func NewServer(s *http.Server, cfg *expat.Config) (*Server, error) {
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: the http.Server is nil", ErrConfig)
	case s.TLSConfig != nil || s.TLSNextProto != nil:
		return nil, fmt.Errorf("%w: TLSConfig and TLSNextProto of the http.Server must be nil; set Config.TLS", ErrConfig)
	}
	cfg, err := withProtocols(cfg)
	if err != nil {
		return nil, err
	}
	srv := &Server{http: s, h2: new(http2.Server), cfg: cfg, framed: map[*expat.Conn]struct{}{}, ended: make(chan struct{})}
	if err := http2.ConfigureServer(s, srv.h2); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.TLSNextProto[alpnHTTP2] = s.TLSNextProto[protoHTTP2]
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
	return srv, nil
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
func (s *Server) Shutdown(ctx context.Context) error {
	s.end()
	if err := s.http.Shutdown(ctx); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the server at once, requests included.
func (s *Server) Close() error {
	s.end()
	err := s.http.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.framed {
		_ = conn.Close()
	}
	return err
}

// end admits no more framed connections.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.ending = true
	if len(s.framed) == 0 {
		close(s.ended)
	}
}
