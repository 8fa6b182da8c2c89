package expatquic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
)

// A Listener accepts attested connections on a UDP socket.
type Listener struct {
	attested net.Listener
	sockets  *sockets
}

// Listen listens on addr, a UDP address. An error is an [*expat.Error] if one of the
// configurations is at fault. A nil quic.Config has quic-go's defaults;
// the exchange's stream does not count towards MaxIncomingStreams. The limits of
// [expat.NewListener] hold, also for QUIC handshakes under way: above MaxExchanges
// clients prove their address by a Retry, above 16 times as many they are refused.
// Nobody is told of connections that fail before the QUIC handshake is complete, in
// Refused or otherwise: quic-go drops them.
func Listen(addr string, cfg *expat.Config, conf *quic.Config) (*Listener, error) {
	tlsConf, err := expat.StreamTLS(cfg, authenticator.Server)
	if err != nil {
		return nil, err
	}
	if conf, err = serverConfig(conf); err != nil {
		return nil, configError(err)
	}
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	pc, err := net.ListenUDP("udp", udp)
	if err != nil {
		return nil, err
	}
	s := &sockets{pc: pc, limit: int64(cmp.Or(cfg.MaxExchanges, expat.DefaultMaxExchanges))}
	s.transport = &quic.Transport{Conn: pc, ConnContext: s.connContext, VerifySourceAddress: s.busy}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.listener, err = s.transport.Listen(tlsConf, conf); err != nil {
		_ = s.Close()
		return nil, configError(fmt.Errorf("%w: %w", expat.ErrConfig, err))
	}
	return &Listener{attested: expat.NewListener(s, cfg), sockets: s}, nil
}

// Accept waits for the next connection on which the exchange is done.
func (l *Listener) Accept() (*Conn, error) {
	nc, err := l.attested.Accept()
	if err != nil {
		return nil, err
	}
	conn := nc.(*expat.Conn)
	c := &Conn{attested: conn, stream: conn.NetConn().(*stream)}
	holderOf(c.QUIC()).conn.Store(c)
	return c, nil
}

// Addr is the address of the socket.
func (l *Listener) Addr() net.Addr { return l.sockets.Addr() }

// Close closes the socket and with it all connections that were accepted on it. Their
// peers are not told.
func (l *Listener) Close() error { return l.attested.Close() }

// serverConfig is the configuration of a server: no early data, and one stream more
// than the application wants.
func serverConfig(conf *quic.Config) (*quic.Config, error) {
	c, err := without0RTT(conf)
	if err != nil {
		return nil, err
	}
	const byDefault, most = 100, 1 << 60 // as in quic.Config
	switch {
	case c.MaxIncomingStreams == 0:
		c.MaxIncomingStreams = byDefault + 1
	case c.MaxIncomingStreams < 0:
		c.MaxIncomingStreams = 1
	default:
		c.MaxIncomingStreams = min(c.MaxIncomingStreams, most-1) + 1
	}
	if choose := c.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(info *quic.ClientInfo) (*quic.Config, error) {
			chosen, err := choose(info)
			if err == nil && chosen == nil {
				err = errors.New("GetConfigForClient returned no configuration") // quic-go would take its defaults
			}
			if err != nil {
				return nil, err
			}
			return serverConfig(chosen)
		}
	}
	return c, nil
}

// sockets is a net.Listener of connections whose QUIC handshake is complete.
type sockets struct {
	pc        *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener

	limit      int64 // MaxExchanges
	handshakes atomic.Int64

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	once   sync.Once
	err    error // of Close
}

func (s *sockets) Accept() (net.Conn, error) {
	qc, err := s.listener.Accept(s.ctx)
	if err != nil {
		return nil, err
	}
	holderOf(qc).complete()
	return newStream(qc, nil), nil
}

func (s *sockets) Addr() net.Addr { return s.pc.LocalAddr() }

func (s *sockets) Close() error {
	s.once.Do(func() {
		s.cancel()
		s.err = errors.Join(s.transport.Close(), s.pc.Close())
	})
	return s.err
}

type (
	holderKey  struct{}
	contextKey struct{}
)

// holder leads from the context of a server's QUIC connection to its Conn.
type holder struct {
	conn     atomic.Pointer[Conn]
	complete func() // tells that the QUIC handshake is, or has failed
}

// holderOf is of a connection that sockets has accepted.
func holderOf(qc *quic.Conn) *holder { return qc.Context().Value(holderKey{}).(*holder) }

// pendingPerExchange is how many QUIC handshakes a listener has under way for each
// exchange that it may work on: as many as it then holds connections.
const pendingPerExchange = 16

// busy tells quic-go whether clients are to prove their address before a handshake
// begins (RFC 9000, Section 8.1.2): with a forged one each costs no more than a packet.
func (s *sockets) busy(net.Addr) bool { return s.handshakes.Load() >= s.limit }

// connContext is called by quic-go for each new connection, before its handshake.
// Close ends the context of a handshake: what is plugged into TLS may wait for it.
func (s *sockets) connContext(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	if s.handshakes.Load() >= pendingPerExchange*s.limit { // there is one call at a time
		return nil, errors.New("too many handshakes")
	}
	s.handshakes.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stay := context.AfterFunc(s.ctx, cancel)
	h := &holder{complete: sync.OnceFunc(func() {
		stay()
		s.handshakes.Add(-1)
	})}
	context.AfterFunc(ctx, h.complete)
	return expat.StreamContext(context.WithValue(ctx, holderKey{}, h)), nil
}

// ConnContext is for the ConnContext field of an http3.Server that serves
// connections of a [Listener]: handlers then find theirs with [FromContext].
func ConnContext(ctx context.Context, qc *quic.Conn) context.Context {
	if h, ok := qc.Context().Value(holderKey{}).(*holder); ok {
		if c := h.conn.Load(); c != nil {
			return context.WithValue(ctx, contextKey{}, c)
		}
	}
	return ctx
}

// FromContext returns the attested connection on which a request arrived, and
// whether there is one.
func FromContext(ctx context.Context) (*Conn, bool) {
	c, ok := ctx.Value(contextKey{}).(*Conn)
	return c, ok
}
