package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const nginxConfiguration = `daemon off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen %[2]s; location / { add_header Content-Type text/plain; return 200 "a page of the backend\n"; } }
}
`

// backend starts nginx, or a server in Go where there is none, and returns where
// it listens.
func (s *stage) backend(nginx string) (string, error) {
	ln, err := listen()
	if err != nil {
		return "", err
	}
	addr := ln.Addr().String()
	if nginx == "" {
		fmt.Fprintln(s.out, "backend: a server in Go, as nginx is not installed")
		srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "a page of the backend")
		})}
		context.AfterFunc(s.ctx, func() { _ = srv.Close() })
		go func() { _ = srv.Serve(ln) }() // until it is closed
		return addr, nil
	}
	if err := ln.Close(); err != nil {
		return "", err
	}
	conf := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfiguration, s.dir, addr), 0o600); err != nil {
		return "", err
	}
	if err := s.start(s.command(nginx, "-p", s.dir, "-c", conf, "-e", "stderr")); err != nil {
		return "", err
	}
	fmt.Fprintln(s.out, "backend: nginx")
	return addr, s.answers(addr)
}

// answers waits until something listens.
func (s *stage) answers(addr string) error {
	for range 100 {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("nginx does not answer")
}
