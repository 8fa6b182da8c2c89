package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/lifetime"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/limit"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/relay"
)

// tierTLV is the type of the TLV with the trust tier of the client, in the range for
// uses of one's own.
const tierTLV = proxyproto.PP2Type(0xE0)

// serveTCP accepts until the listener is closed. Connections end with ctx.
func (p *proxy) serveTCP(ctx context.Context) error {
	var ln net.Listener = p.listener
	handle := p.fromPlain
	if p.spec.Side == config.Server {
		ln = expat.NewListener(carriers{p.listener}, p.serverConfig())
		handle = p.fromAttested
	}
	defer ln.Close()
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		p.open.Go(func() { handle(ctx, nc) })
	}
}

// fromAttested forwards a client on which the exchange is done.
func (p *proxy) fromAttested(ctx context.Context, nc net.Conn) {
	g, conn := p.current.Load(), nc.(*expat.Conn)
	backend, err := g.dial(ctx, conn)
	if err != nil {
		p.unreachable(err)
		relay.Abort(conn)
		return
	}
	p.relay(ctx, lifetime.Conn{Conn: conn}, backend, g, "remote", conn.RemoteAddr().String(), "tier", tierOf(conn))
}

// fromPlain forwards a plain connection, from which nothing is read before the
// exchange with the upstream is done.
func (p *proxy) fromPlain(ctx context.Context, nc net.Conn) {
	g, plain := p.current.Load(), nc.(*limit.Conn)
	raw, err := g.dial(ctx, nil)
	if err != nil {
		p.unreachable(err)
		relay.Abort(plain)
		return
	}
	conn := expat.ClientTo(carrier{raw}, g.spec.ServerName, g.client)
	if err := conn.HandshakeContext(ctx); err != nil {
		relay.Abort(conn) // counted and logged by the trace
		relay.Abort(plain)
		return
	}
	p.relay(ctx, lifetime.Conn{Conn: conn}, plain, g, "upstream", raw.RemoteAddr().String(), "tier", tierOf(conn))
}

// relay carries bytes until the end, and tells about it.
func (p *proxy) relay(ctx context.Context, conn lifetime.Conn, other relay.Conn, g *generation, attrs ...any) {
	p.sampled.write(slog.LevelInfo, "opened", "opened", attrs...)
	began := time.Now()
	err := relay.Run(ctx, attested{conn}, other, g.spec.Timeouts.Idle)
	attrs = append(attrs, "seconds", time.Since(began).Seconds())
	if err != nil && conn.Expired() {
		p.metrics.expiries.WithLabelValues(p.name).Inc()
	}
	if err != nil {
		p.sampled.write(slog.LevelInfo, "cut", "cut", append(attrs, "error", oneLine(err))...)
		return
	}
	p.sampled.write(slog.LevelInfo, "ended", "ended", attrs...)
}

// attested is an attested connection that can be broken off.
type attested struct{ lifetime.Conn }

// Abort breaks the connection off. Where re-attestation failed the connection tells its
// peer why before it closes, which a reset would overtake.
func (a attested) Abort() {
	if errors.Is(a.Handshake(), expat.ErrReattest) {
		_ = a.Close()
		return
	}
	relay.Abort(a.Conn)
}

// tierOf is the trust tier of a peer, "" where none was asked.
func tierOf(c *expat.Conn) string {
	if r := c.Peer(); r != nil {
		return r.Tier().String()
	}
	return ""
}

// announcement tells a backend whose connection one is (PROXY protocol, version 2);
// of the sidecar's own, for which c is nil, it says so.
func announcement(c *expat.Conn) ([]byte, error) {
	h := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}
	if c != nil {
		h = proxyproto.HeaderProxyFromAddrs(2, c.RemoteAddr(), c.LocalAddr())
		if tier := tierOf(c); tier != "" {
			if err := h.SetTLVs([]proxyproto.TLV{{Type: tierTLV, Value: []byte(tier)}}); err != nil {
				return nil, err
			}
		}
	}
	return h.Format()
}
