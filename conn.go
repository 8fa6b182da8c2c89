package expat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
)

// Conn is an attested TLS connection. It is a [net.Conn]: the first Read, Write
// or Handshake runs the TLS handshake and the exchange, and no application byte
// passes before both sides have accepted what they asked for. From then on Read
// and Write are those of the TLS connection.
//
// Its methods are safe for concurrent use, as those of [tls.Conn] are.
type Conn struct {
	net  net.Conn // what the user gave us
	tls  channel
	role authenticator.Role

	apart Stream // nil: the exchange and the application share the one stream there is

	phase atomic.Uint32 // phaseNew, …

	origin // set by callbacks of the TLS handshake, read after it

	serverName string // of a client: what the server must be

	prepared *prepared

	mu  sync.Mutex // makes one handshake run, guards err
	err error      // sticky

	opened atomic.Pointer[opened] // set before phaseOpen

	cut atomic.Bool // the connection under TLS has ended
	mux *mux        // set before phaseOpen; nil: the stream is that of tls

	limits          sync.Mutex // guards the deadlines
	readBy, writeBy time.Time

	life context.Context // ends with Close, or when an open connection fails
	end  context.CancelCauseFunc
}

// opened is what an open connection knows. With mux each new verdict replaces it.
type opened struct {
	result *attestation.Result // nil without a Verifier
	peer   *authenticator.Peer // nil without a Verifier
	until  instant             // when the first verdict runs out
	expiry *time.Timer         // nil if no verdict runs out, and with mux
}

// The phases of a connection. Application data flows in phaseOpen only.
const (
	phaseNew uint32 = iota
	phaseOpen
	phaseFailed // why is the cause of life
)

func newConn(nc net.Conn, role authenticator.Role) *Conn {
	c := &Conn{net: nc, role: role}
	c.apart, _ = nc.(Stream)
	c.life, c.end = context.WithCancelCause(context.Background())
	return c
}

// Client returns a Conn over nc that takes the client's part. A Config that
// cannot be used shows in the handshake.
func Client(nc net.Conn, cfg *Config) *Conn {
	return newClient(nc, cfg, "")
}

func newClient(nc net.Conn, cfg *Config, host string) *Conn {
	c := newConn(nc, authenticator.Client)
	if c.prepared, c.err = cfg.prepare(); c.err != nil {
		c.refuseConfig()
		return c
	}
	config := c.prepared.client
	if config.ServerName == "" && host != "" {
		config = config.Clone()
		config.ServerName = host
	}
	c.serverName = config.ServerName
	if c.apart != nil {
		c.tls = c.apart
		return c
	}
	c.tls = tls.Client(&clientLink{Conn: nc, conn: c}, config)
	return c
}

// refuseConfig closes a connection whose Config cannot be used.
func (c *Conn) refuseConfig() {
	e := failed(StageConfig, c.err)
	c.err = e
	c.shut(e)
}

// Server returns a Conn over nc that takes the server's part. A Config that
// cannot be used shows in the handshake.
func Server(nc net.Conn, cfg *Config) *Conn {
	c := newConn(nc, authenticator.Server)
	if c.prepared, c.err = cfg.prepare(); c.err != nil {
		c.refuseConfig()
		return c
	}
	if c.apart != nil {
		c.tls = c.apart
		return c
	}
	c.tls = tls.Server(&link{Conn: nc, conn: c}, c.prepared.server)
	return c
}

// Dial connects to addr and runs the handshake; the whole takes no longer than
// the Config's Timeout. If TLS.ServerName is empty it is the host of addr.
func Dial(ctx context.Context, network, addr string, cfg *Config) (*Conn, error) {
	p, err := cfg.prepare()
	if err != nil {
		return nil, failed(StageConfig, err)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, failed(StageConfig, err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, failed(StageTLS, err)
	}
	c := newClient(nc, cfg, host)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// ready lets through when application data may flow.
func (c *Conn) ready() error {
	switch c.phase.Load() {
	case phaseOpen:
		if c.lapsed() {
			return c.cause()
		}
		return nil
	case phaseFailed:
		return c.cause()
	}
	return c.HandshakeContext(context.Background())
}

// lapsed tells whether an open connection has failed, be it that a verdict has run
// out and no timer has said so yet: timers are late where a machine is busy, and stand
// still where it is suspended.
func (c *Conn) lapsed() bool {
	switch c.phase.Load() {
	case phaseNew:
		return false
	case phaseFailed:
		return true
	}
	if !c.prepared.reached(c.opened.Load().until) {
		return false
	}
	go c.expire()
	return true
}

var errExpired = &Error{Stage: StageLifetime, Alert: AlertAttestationRequired, Side: Local, Err: ErrExpired}

// explain tells an error of the TLS connection from why we have closed it.
func (c *Conn) explain(err error) error {
	if err != nil && c.phase.Load() == phaseFailed {
		return c.cause()
	}
	return err
}

// Read reads application data; see [Conn].
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	if c.apart != nil {
		return 0, errApart
	}
	if c.mux != nil {
		return c.mux.read(b)
	}
	n, err := c.tls.Read(b)
	if c.lapsed() {
		return 0, c.cause() // while we waited
	}
	return n, err
}

// Write writes application data; see [Conn].
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	if c.apart != nil {
		return 0, errApart
	}
	if c.mux != nil {
		return c.mux.write(b)
	}
	n, err := c.tls.Write(b)
	return n, c.explain(err)
}

// Close closes the connection. A handshake that runs is ended.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	o := c.opened.Load()
	if o == nil {
		return c.net.Close()
	}
	o.stop()
	if c.phase.Load() != phaseNew && c.mux != nil {
		return c.mux.close()
	}
	return c.tls.Close()
}

func (o *opened) stop() {
	if o.expiry != nil {
		o.expiry.Stop()
	}
}

// CloseWrite ends the stream in one direction; the peer reads io.EOF. It fails
// before the handshake is complete. Where re-attestation is agreed it waits for
// one that is under way, and there is none after it: the verdicts stand until
// they run out.
func (c *Conn) CloseWrite() error {
	switch c.phase.Load() {
	case phaseNew:
		return errors.New("expat: CloseWrite before the handshake is complete")
	case phaseFailed:
		return c.cause()
	}
	if c.apart != nil {
		return errApart
	}
	if c.mux != nil {
		return c.mux.closeWrite()
	}
	return c.explain(c.tls.CloseWrite())
}

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.net.LocalAddr() }

// RemoteAddr returns the remote network address.
func (c *Conn) RemoteAddr() net.Addr { return c.net.RemoteAddr() }

// SetDeadline sets the deadlines of reads and writes, the handshake's included.
// After a Write has timed out the TLS stream is corrupt, as with [tls.Conn];
// where re-attestation is agreed it is not, and the deadlines are those of
// application data alone.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline sets the deadline of reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline sets the deadline of writes; see [Conn.SetDeadline].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

// setDeadlines sets those that are not nil.
func (c *Conn) setDeadlines(read, write *time.Time) error {
	c.limits.Lock()
	defer c.limits.Unlock()
	if m := c.mux; m != nil {
		return m.setDeadlines(read, write)
	}
	switch {
	case read != nil && write != nil:
		c.readBy, c.writeBy = *read, *write
		return c.net.SetDeadline(*read)
	case read != nil:
		c.readBy = *read
		return c.net.SetReadDeadline(*read)
	}
	c.writeBy = *write
	return c.net.SetWriteDeadline(*write)
}

// NetConn returns the connection under TLS. Reading or writing it breaks the
// connection.
func (c *Conn) NetConn() net.Conn { return c.net }

// Peer is the latest verdict on the peer. It is nil until the handshake is
// complete, and where this side has no Verifier.
func (c *Conn) Peer() *attestation.Result {
	if o := c.opened.Load(); o != nil {
		return o.result
	}
	return nil
}

// PeerCertificates is the chain that the peer's latest authenticator proved, leaf
// first; that of the TLS handshake is in ConnectionState and may differ. It is
// nil where Peer is.
func (c *Conn) PeerCertificates() []*x509.Certificate {
	if o := c.opened.Load(); o != nil && o.peer != nil {
		return o.peer.Chain().Certificates
	}
	return nil
}

// Expires is when the first of the two verdicts runs out, after which reads and
// writes fail with [ErrExpired], unless re-attestation replaces it before. It is
// zero if none does, and before the handshake is complete. The connection ends
// earlier where the clock (TLS.Time) is set forward, or goes on while the machine is
// suspended.
func (c *Conn) Expires() time.Time {
	if o := c.opened.Load(); o != nil {
		return o.until.at
	}
	return time.Time{}
}

// ConnectionState describes the TLS connection. NegotiatedProtocol is the
// application's protocol, without the name under which it was negotiated. It is
// the zero value before the handshake is complete.
func (c *Conn) ConnectionState() tls.ConnectionState {
	if c.phase.Load() == phaseNew {
		return tls.ConnectionState{}
	}
	cs := c.tls.ConnectionState()
	cs.NegotiatedProtocol, _ = applicationProtocol(cs.NegotiatedProtocol) // was checked
	return cs
}
