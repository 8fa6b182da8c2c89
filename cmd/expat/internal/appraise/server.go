package appraise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/expat-go/expat/verifier/service"
)

// Limits of the server. A session's URL holds a key, hence the size of a header.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = readTimeout + 2*service.DefaultTimeout
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	drainTimeout      = service.DefaultTimeout + 5*time.Second
)

// ErrTLS: the certificate, its key or the roots of clients cannot be used.
var ErrTLS = errors.New("TLS of the verifier")

// Serve serves h on ln until ctx ends; then it takes nothing new and lets what is
// under way come to its end.
func Serve(ctx context.Context, ln net.Listener, h *service.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	h.Drain()
	log.Info("draining")
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := srv.Shutdown(limit)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	<-ended
	return err
}

// TLS reads the files of a server: its certificates and key, and the roots of the
// clients that may ask, or "" for anybody. Without a certificate it is nil.
func TLS(cert, key, clientCA string) (*tls.Config, error) {
	if cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if clientCA == "" {
		return c, nil
	}
	roots, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("%w: %s holds no certificate in PEM", ErrTLS, clientCA)
	}
	return c, nil
}
