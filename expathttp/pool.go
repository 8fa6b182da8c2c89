package expathttp

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// pool holds the connections of a transport.
type pool struct {
	mu    sync.Mutex
	hosts map[string]*host // by address
}

// host is what is known of one address.
type host struct {
	conns   []*clientConn // newest last
	added   int           // counts the connections that were added
	http1   bool          // the newest connection speaks HTTP/1.1, so nobody shares one
	pending int           // connections that are being made
	shared  *dialing      // one of them, which all may wait for
}

// dialing is a connection that is being made. It ends when nobody waits for it.
type dialing struct {
	shared  bool
	waiters int // guarded by pool.mu
	cancel  context.CancelFunc
	done    chan struct{}
	conn    *clientConn // valid once done is closed, as err is; reserved if not shared
	err     error
}

// connection returns a connection to addr that meets the demands of ctx, with a
// place for one request.
func (t *Transport) connection(ctx context.Context, addr string) (*clientConn, error) {
	demands := demandsOf(ctx)
	if len(demands) > 0 && t.cfg.Verifier == nil {
		return nil, fmt.Errorf("%w: the Config has no Verifier, so no demand can be met", ErrNotAttested)
	}
	if err := complete(demands); err != nil {
		return nil, err
	}
	for unfit := 0; ; {
		candidates, added := t.pool.candidates(addr, len(demands) == 0)
		for _, c := range candidates {
			if meetsAll(c, demands) == nil && c.reserve() == nil {
				return c, nil
			}
		}
		d := t.join(ctx, addr, added)
		if d == nil {
			continue // a connection was added while we looked
		}
		select {
		case <-d.done:
		case <-ctx.Done():
			t.leave(addr, d)
			return nil, context.Cause(ctx)
		}
		if d.err != nil {
			return nil, d.err
		}
		err := meetsAll(d.conn, demands)
		if err == nil && d.shared {
			if err = d.conn.reserve(); err != nil && d.conn.busy() {
				continue // others were faster
			}
		}
		switch {
		case err == nil:
			return d.conn, nil
		case !d.shared:
			d.conn.release()
		}
		if unfit++; unfit == MaxUnfit {
			return nil, fmt.Errorf("%w: %w", ErrPeers, err)
		}
	}
}

// meetsAll judges a connection for a request: it is usable, and its peer meets the
// demands, if there are any.
func meetsAll(c *clientConn, demands []Demand) error {
	if err := c.usable(); err != nil {
		return err
	}
	if len(demands) == 0 {
		return nil // the Verifier, if there is one, was content
	}
	return meets(valid(c.conn), demands)
}

// candidates are the connections to addr, newest first: for a request without
// demands only those whose peer is of the newest one's class, so that which peer it
// reaches is not a matter of luck. The number goes to join.
func (p *pool) candidates(addr string, oneClass bool) ([]*clientConn, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[addr]
	if h == nil {
		return nil, 0
	}
	var out []*clientConn
	for _, c := range slices.Backward(h.conns) {
		if len(out) == 0 || !oneClass || c.class() == out[0].class() {
			out = append(out, c)
		}
	}
	return out, h.added
}

// join waits for a connection that others wait for too, or makes one. It returns
// nil if one was added since there were so many.
func (t *Transport) join(ctx context.Context, addr string, added int) *dialing {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	h := t.pool.hosts[addr]
	if h == nil {
		h = new(host)
		t.pool.hosts[addr] = h
	}
	if h.added != added {
		return nil
	}
	if d := h.shared; d != nil && !h.http1 {
		d.waiters++
		return d
	}
	// Its end is not that of the first who waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
	h.pending++
	d := &dialing{shared: !h.http1, waiters: 1, cancel: cancel, done: make(chan struct{})}
	if d.shared {
		h.shared = d
	}
	go t.dial(ctx, addr, d)
	return d
}

// leave gives up waiting. A connection that is there by now is left to others.
func (t *Transport) leave(addr string, d *dialing) {
	t.pool.mu.Lock()
	d.waiters--
	select {
	case <-d.done:
		t.pool.mu.Unlock()
		if d.err == nil && !d.shared {
			d.conn.release()
		}
		return
	default:
	}
	defer t.pool.mu.Unlock()
	if d.waiters > 0 {
		return
	}
	d.cancel()
	if h := t.pool.hosts[addr]; h.shared == d {
		h.shared = nil // who comes now makes another
	}
}

// dial makes a connection and adds it to the pool.
func (t *Transport) dial(ctx context.Context, addr string, d *dialing) {
	defer d.cancel()
	c, err := t.connect(ctx, addr)
	if err == nil && !d.shared {
		err = c.reserve()
	}
	t.pool.mu.Lock()
	h := t.pool.hosts[addr]
	h.pending--
	if h.shared == d {
		h.shared = nil
	}
	abandoned := d.waiters == 0
	if err == nil {
		h.conns = append(h.conns, c)
		h.added++
		h.http1 = c.state.NegotiatedProtocol != protoHTTP2
	}
	t.pool.forget(addr)
	d.conn, d.err = c, err
	close(d.done)
	t.pool.mu.Unlock()
	if err != nil {
		return
	}
	c.watch()
	if abandoned && !d.shared {
		c.release()
	}
}

// remove takes a connection out of the pool.
func (p *pool) remove(c *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.hosts[c.addr]; h != nil {
		h.conns = slices.DeleteFunc(h.conns, func(other *clientConn) bool { return other == c })
		p.forget(c.addr)
	}
}

// forget drops an address to which nothing leads. It needs mu.
func (p *pool) forget(addr string) {
	if h := p.hosts[addr]; len(h.conns) == 0 && h.pending == 0 {
		delete(p.hosts, addr)
	}
}

// idle are the connections that carry no request, oldest first: those to addr, or
// all if it is empty.
func (p *pool) idle(addr string) []*clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*clientConn
	for a, h := range p.hosts {
		for _, c := range h.conns {
			if (addr == "" || a == addr) && !c.busy() {
				out = append(out, c)
			}
		}
	}
	return out
}

func (p *pool) closeIdle() {
	for _, c := range p.idle("") {
		c.retire()
	}
}
