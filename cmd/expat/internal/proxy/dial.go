package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/relay"
)

// errUpstreams: no upstream answers.
var errUpstreams = errors.New("no upstream answers")

// dial connects to the first upstream that answers, from the one whose turn it is, for
// a client of the server side or nil. The exchange, on the client side, is not its part.
func (g *generation) dial(ctx context.Context, client *expat.Conn) (relay.Conn, error) {
	first := int(g.next.Add(1) - 1)
	errs := []error{errUpstreams}
	for i := range g.spec.Upstreams {
		conn, err := g.dialOne(ctx, g.spec.Upstreams[(first+i)%len(g.spec.Upstreams)], client)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (g *generation) dialOne(ctx context.Context, upstream string, client *expat.Conn) (relay.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.spec.Timeouts.Connect)
	defer cancel()
	network, address := config.Address(upstream)
	var d net.Dialer
	if g.spec.Side == config.Server && g.backend == nil && !g.spec.PlainUpstreamsOnNetwork {
		d.Control = onThisMachine
	}
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		g.missed(ctx, upstream)
		return nil, err
	}
	conn, err := g.prepare(ctx, nc, client)
	if err != nil {
		g.missed(ctx, upstream)
		return nil, errors.Join(fmt.Errorf("%s: %w", upstream, err), nc.Close())
	}
	return conn, nil
}

// errElsewhere: what should be this machine is another.
var errElsewhere = errors.New("plain text is for this machine: use backend_tls, or set plain_upstreams_on_network, which says what is lost")

// onThisMachine admits addresses of this machine: a name such as localhost is what
// whoever is asked makes of it.
func onThisMachine(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err == nil && !a.Addr().Unmap().IsLoopback() { // no error, no path of a Unix socket
		return errElsewhere
	}
	return nil
}

// missed counts an upstream that did not answer, unless nobody waited for it any more.
func (g *generation) missed(ctx context.Context, upstream string) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		g.proxy.metrics.upstreams.WithLabelValues(g.spec.Name, upstream).Inc()
	}
}

// prepare says on a connection what comes before the stream: whose it is, then TLS.
func (g *generation) prepare(ctx context.Context, nc net.Conn, client *expat.Conn) (relay.Conn, error) {
	if g.spec.ProxyProtocol != "" {
		header, err := announcement(client)
		if err != nil {
			return nil, err
		}
		if deadline, ok := ctx.Deadline(); ok {
			_ = nc.SetWriteDeadline(deadline) // of a connection that is open
		}
		if _, err := nc.Write(header); err != nil {
			return nil, err
		}
		_ = nc.SetWriteDeadline(time.Time{})
	}
	if g.backend == nil || g.spec.Mode == config.HTTP { // net/http does its TLS
		return nc.(relay.Conn), nil
	}
	tc := tls.Client(carrier{nc}, g.backend)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}

// answers tells whether one of the upstreams can be reached. All are asked at a time.
func (g *generation) answers(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(g.spec.Upstreams))
	for _, upstream := range g.spec.Upstreams {
		go func() {
			conn, err := g.dialOne(ctx, upstream, nil)
			if err == nil {
				err = conn.Close()
			}
			results <- err
		}()
	}
	errs := []error{errUpstreams}
	for range g.spec.Upstreams {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
