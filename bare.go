package expat

import (
	"crypto/tls"
	"net"
	"reflect"
)

// This file is for packages that carry a protocol over a Conn and need more of it
// than a net.Conn: expathttp first.

// Clone returns a copy that has not been used yet and may be modified. TLS is
// cloned too; what the other fields refer to is shared.
func (c *Config) Clone() *Config {
	if c == nil {
		return nil
	}
	clone := new(Config)
	from, to := reflect.ValueOf(c).Elem(), reflect.ValueOf(clone).Elem()
	for i := range from.NumField() {
		if from.Type().Field(i).IsExported() {
			to.Field(i).Set(from.Field(i))
		}
	}
	clone.TLS = c.TLS.Clone() // nil stays nil
	return clone
}

// ClientTo returns a Conn over nc that takes the client's part towards host: a
// name or an IP address that the server must prove, unless TLS.ServerName says
// another. It is what [Dial] does with a connection that it has made itself, such
// as a tunnel. A Config that cannot be used shows in the handshake.
func ClientTo(nc net.Conn, host string, cfg *Config) *Conn {
	return newClient(nc, cfg, host)
}

// Bare returns the TLS connection under c, for code that takes a [tls.Conn] and
// nothing else, as net/http does for HTTP/2. It delivers what c delivers and ends
// when a verdict runs out, as c does; its NegotiatedProtocol is the whole name,
// expat/1+PROTOCOL. Closing it closes c. Either it or c is read, and written, not
// both.
//
// There is none, and ok is false, unless the handshake is complete and the
// verdicts hold, nor where re-attestation is agreed ([Config].Reattest): then the
// TLS connection carries frames.
func (c *Conn) Bare() (tc *tls.Conn, ok bool) {
	if c.phase.Load() != phaseOpen || c.mux != nil || c.lapsed() {
		return nil, false
	}
	tc, ok = c.tls.(*tls.Conn)
	return tc, ok
}

// FromTLS returns the Conn of a server whose [Conn.Bare] is tc, and whether there
// is one.
func FromTLS(tc *tls.Conn) (c *Conn, ok bool) {
	if tc == nil {
		return nil, false
	}
	l, ok := tc.NetConn().(*link)
	if !ok || l.conn.tls != tc || l.conn.phase.Load() == phaseNew {
		return nil, false
	}
	return l.conn, true
}

// Close closes the connection under TLS.
func (l *link) Close() error { return l.conn.closeUnder() }

// Close is the same under a client's.
func (l *clientLink) Close() error { return l.conn.closeUnder() }

// closeUnder is for whoever has the bare TLS connection and closes it without the
// Conn's knowledge: the timer must not keep the Conn until a verdict runs out.
func (c *Conn) closeUnder() error {
	if o := c.opened.Load(); o != nil {
		c.end(net.ErrClosed)
		o.stop()
	}
	return c.net.Close()
}
