package expathttp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// clientConn is one connection of a transport.
type clientConn struct {
	t     *Transport
	addr  string
	conn  *expat.Conn
	cc    *http.ClientConn
	state tls.ConnectionState

	served  atomic.Bool // it has brought a response
	classed atomic.Pointer[classed]

	mu      sync.Mutex
	active  int         // requests that have a place and no response yet
	retired bool        // it is out of the pool and ends with its last request
	timer   *time.Timer // runs while it carries no request
}

type dialedKey struct{}

// dialed hands net/http the connection that was made for it.
func dialed(ctx context.Context, _, _ string) (net.Conn, error) {
	return ctx.Value(dialedKey{}).(net.Conn), nil
}

// connect makes an attested connection and starts HTTP on it.
func (t *Transport) connect(ctx context.Context, addr string) (*clientConn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	nc, err := t.options.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if nc == nil {
		return nil, fmt.Errorf("%w: DialContext returned neither connection nor error", ErrConfig)
	}
	conn := expat.ClientTo(nc, host, t.cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	c := &clientConn{t: t, addr: addr, conn: conn, state: conn.ConnectionState()}
	inner := t.http1
	if c.state.NegotiatedProtocol == protoHTTP2 {
		inner = t.http2
	}
	if c.cc, err = inner.NewClientConn(context.WithValue(ctx, dialedKey{}, conn), "https", addr); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// usable returns why the connection can take no further request, or nil.
func (c *clientConn) usable() error {
	if err := failure(c.conn); err != nil {
		return err
	}
	return c.cc.Err()
}

var errRetired = errors.New("expathttp: the connection is no longer in the pool")

// reserve takes the place of one request; roundTrip or release gives it back. A
// connection that is retired meanwhile is not closed before.
func (c *clientConn) reserve() error {
	c.mu.Lock()
	if c.retired {
		c.mu.Unlock()
		return errRetired
	}
	c.active++
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	err := c.cc.Reserve()
	if err != nil {
		c.done()
	}
	return err
}

// release gives back the place of a request that is not sent.
func (c *clientConn) release() {
	c.cc.Release()
	c.done()
}

// done notes the end of what reserve began.
func (c *clientConn) done() {
	c.mu.Lock()
	c.active--
	c.mu.Unlock()
	c.changed()
}

// busy tells whether a request is under way. net/http counts one no more before it
// has delivered a response without body, so its count is not enough.
func (c *clientConn) busy() bool {
	c.mu.Lock()
	active := c.active
	c.mu.Unlock()
	return active > 0 || c.cc.InFlight() > 0
}

// watch follows the connection until it ends.
func (c *clientConn) watch() {
	c.cc.SetStateHook(func(*http.ClientConn) { c.changed() })
	c.changed()
}

// changed is called when requests or the connection have ended.
func (c *clientConn) changed() {
	if c.cc.Err() != nil {
		c.retire()
		return
	}
	if c.busy() {
		return
	}
	c.mu.Lock()
	retired := c.retired
	if !retired {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.timer = time.AfterFunc(c.t.options.IdleTimeout, c.idled)
	}
	c.mu.Unlock()
	if retired {
		_ = c.cc.Close()
		return
	}
	if idle := c.t.pool.idle(c.addr); len(idle) > c.t.options.MaxIdle {
		idle[0].retire()
	}
}

// idled ends a connection that carried no request for the idle timeout.
func (c *clientConn) idled() {
	if !c.busy() {
		c.retire()
	}
}

// retire takes the connection out of the pool; it ends now, or with its last
// request.
func (c *clientConn) retire() {
	c.t.pool.remove(c)
	c.mu.Lock()
	c.retired = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	if c.cc.Err() != nil || !c.busy() {
		_ = c.cc.Close() // if it has not ended, or been handed over by an upgrade
	}
}

// roundTrip sends a request on a place that was reserved. sent tells whether any of
// it may have left. The body of the request is closed, unless the response comes.
func (c *clientConn) roundTrip(req *http.Request) (resp *http.Response, sent bool, err error) {
	defer c.done()
	var wrote atomic.Bool
	ctx := req.Context()
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.conn, Reused: c.served.Load()})
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { wrote.Store(true) },
		WroteHeaders:     func() { wrote.Store(true) },
	})
	ctx = context.WithValue(ctx, peerKey{}, valid(c.conn))
	resp, err = c.cc.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, wrote.Load(), explain(c.conn, err)
	}
	if err := failure(c.conn); err != nil {
		_ = resp.Body.Close()
		return nil, true, fmt.Errorf("%w while the response was awaited", err)
	}
	c.served.Store(true)
	resp.TLS = &c.state
	if resp.StatusCode != http.StatusSwitchingProtocols && resp.Body != http.NoBody {
		resp.Body = &body{resp.Body, c.conn}
	}
	return resp, true, nil
}

// classed is what a verdict comes to.
type classed struct {
	result *attestation.Result
	class  string
}

// class tells peers apart by what the Verifier found: everything in the verdict but
// how long it holds. It follows the connection's verdict where that is renewed.
func (c *clientConn) class() string {
	result := c.conn.Peer()
	if known := c.classed.Load(); known != nil && known.result == result {
		return known.class
	}
	now := &classed{result, classOf(result)}
	c.classed.Store(now)
	return now.class
}

func classOf(r *attestation.Result) string {
	if r == nil {
		return "" // nothing is known of any peer
	}
	type appraisal struct {
		Status attestation.Tier
		attestation.Appraisal
	}
	var all []appraisal
	for _, a := range r.Appraisals() {
		all = append(all, appraisal{a.Status, a})
	}
	b, err := json.Marshal(struct {
		Tier       attestation.Tier
		Verifier   string
		Appraisals []appraisal
	}{r.Tier(), r.Verifier(), all})
	if err != nil {
		return fmt.Sprintf("%p", r) // like no other
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}
