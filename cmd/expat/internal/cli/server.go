package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/lifetime"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/relay"
	"github.com/expat-go/expat/cmd/expat/internal/show"
)

// idle is how long a connection may be silent, or its peer not read.
const idle = 2 * time.Minute

// server echoes on attested connections, or takes what arrives and drops it.
type server struct {
	cfg  *expat.Config
	own  *platform.Own // nil if it does not attest
	echo bool
	log  *slog.Logger

	judge *judging // nil if it demands nothing
	save  string   // file for the Evidence of clients, or ""
	idle  time.Duration

	mu   sync.Mutex
	left int    // connections until it stops; 0 is no limit
	stop func() // stops accepting
}

func newServer(cfg *expat.Config, own *platform.Own, echo bool, connections int, log *slog.Logger) *server {
	s := &server{cfg: cfg, own: own, echo: echo, log: log, left: connections, idle: idle}
	cfg.Refused = s.refused
	if cfg.Verifier != nil {
		cfg.AfterReattest = func(c *expat.Conn, r *attestation.Result, err error) {
			if err == nil { // else the end of the connection tells the rest
				s.renewed(c, "client", "tier", r.Tier().String())
			}
		}
	}
	if cfg.Attester != nil {
		cfg.Reattested = func(c *expat.Conn) { s.renewed(c, "server") }
	}
	return s
}

// run serves ln until ctx ends, which ends the connections too, or until the
// connections are used up, which lets them come to their end.
func (s *server) run(ctx context.Context, raw net.Listener) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	s.mu.Lock()
	s.stop = stop
	s.mu.Unlock()
	ln := expat.NewListener(raw, s.cfg)
	defer ln.Close()
	defer context.AfterFunc(accepting, func() { _ = ln.Close() })()
	var connections sync.WaitGroup
	defer connections.Wait()
	if s.judge != nil && s.judge.reloading != nil {
		connections.Go(func() { s.reload(accepting) })
	}
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			conn := nc.(*expat.Conn)
			s.accepted(conn)
			connections.Go(func() { s.handle(ctx, conn) })
			s.count()
		case accepting.Err() != nil:
			return nil
		default:
			end()
			return err
		}
	}
}

// reload keeps the policy up to date until ctx ends: on SIGHUP, and where its file
// changes.
func (s *server) reload(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { _ = s.judge.reloading.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			_ = s.judge.reloading.Reload(ctx) // logged where the content is new
		}
	}
}

// saveEvidence keeps what the last client showed.
func (s *server) saveEvidence() {
	if err := s.judge.saveEvidence(s.save); err != nil && !errors.Is(err, platform.ErrNoEvidence) {
		s.log.Error("evidence not saved", "file", s.save, "reason", err.Error())
	}
}

// count stops the server after the last of its connections.
func (s *server) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return
	}
	if s.left--; s.left == 0 {
		s.stop()
	}
}

func (s *server) accepted(c *expat.Conn) {
	s.saveEvidence()
	attrs := []any{"remote", c.RemoteAddr().String()}
	if l := show.Learn(c, "client"); l != nil {
		attrs = append(attrs, "tier", l.Tier, "certificate", l.Certificate, "instance", l.Instance, "policy", l.Policy)
	}
	s.log.Info("accepted", attrs...)
}

// refused logs a connection that came to nothing.
func (s *server) refused(remote net.Addr, err error) {
	s.saveEvidence()
	s.log.Warn("refused", append([]any{"remote", remote.String()}, why(err)...)...)
	s.count()
}

// why says in a log what went wrong. A reason never holds Evidence.
func why(err error) []any {
	var e *expat.Error
	if errors.As(err, &e) {
		return []any{"step", string(e.Stage), "side", string(e.Side), "alert", e.Alert.String(), "reason", reason(e.Err)}
	}
	return []any{"reason", reason(err)}
}

// renewed logs that one side has proved itself anew. It is a sign of life.
func (s *server) renewed(c *expat.Conn, of string, more ...any) {
	_ = c.SetReadDeadline(time.Now().Add(s.idle))
	s.log.Info("renewed", append([]any{"remote", c.RemoteAddr().String(), "of", of}, more...)...)
}

func (s *server) handle(ctx context.Context, c *expat.Conn) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer c.Close()
	n, err := s.talk(lifetime.Conn{Conn: c})
	s.saveEvidence() // what it showed when it was asked anew
	attrs := []any{"remote", c.RemoteAddr().String(), "bytes", n}
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		relay.Abort(c) // else it would look like an orderly end
		s.log.Warn("cut", append(attrs, "reason", fmt.Sprintf("silent for %v, or not reading", s.idle))...)
	case err != nil:
		s.log.Warn("cut", append(attrs, why(err)...)...)
	default:
		s.log.Info("ended", attrs...)
	}
}

// talk sends back what it reads, or drops it, until the peer is done. It returns
// how many bytes came.
func (s *server) talk(c net.Conn) (n int64, err error) {
	buf := make([]byte, 32<<10)
	for {
		if err := c.SetReadDeadline(time.Now().Add(s.idle)); err != nil {
			return n, err
		}
		read, err := c.Read(buf)
		n += int64(read)
		if read > 0 && s.echo {
			if err := c.SetWriteDeadline(time.Now().Add(s.idle)); err != nil {
				return n, err
			}
			if _, err := c.Write(buf[:read]); err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
