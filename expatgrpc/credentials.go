package expatgrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/expat-go/expat"
)

// protoHTTP2 is gRPC's protocol, as ALPN names it.
const protoHTTP2 = "h2"

// creds implements [credentials.TransportCredentials].
type creds struct {
	server *expat.Config
	client *expat.Config // the same, unless its server name was overridden
}

// NewCredentials returns credentials whose connections are attested as cfg says,
// for clients, servers or both. cfg is copied. Its TLS.NextProtos must be empty or
// h2 alone. TLS and exchange together take at most cfg.Timeout, and on a client no
// longer than gRPC lets a connection attempt take.
//
// A client demands the host of the channel's authority of the server: the host of
// the target, or what grpc.WithAuthority says. If cfg.TLS.ServerName is set it is
// that name instead, and the authority too.
//
// On a server connections that are refused show in cfg.Refused, and MaxExchanges
// bounds the exchanges that are worked on at a time; further ones wait within their
// time. It does not bound connections; a [net.Listener] that does can be served.
//
// Errors wrap [ErrConfig], and [expat.ErrConfig] if expat cannot use cfg.
func NewCredentials(cfg *expat.Config) (credentials.TransportCredentials, error) {
	if cfg == nil || cfg.TLS == nil {
		return nil, fmt.Errorf("%w: Config and Config.TLS must be set", ErrConfig)
	}
	if p := cfg.TLS.NextProtos; len(p) > 0 && !slices.Equal(p, []string{protoHTTP2}) {
		return nil, fmt.Errorf("%w: TLS.NextProtos is %q, want none or h2 alone", ErrConfig, p)
	}
	cfg = cfg.Clone()
	cfg.TLS.NextProtos = []string{protoHTTP2}
	// Dial looks at the Config first; an empty address leads nowhere.
	if _, err := expat.Dial(context.Background(), "tcp", "", cfg); errors.Is(err, expat.ErrConfig) {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &creds{server: cfg, client: cfg}, nil
}

// ClientHandshake implements [credentials.TransportCredentials].
func (c *creds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := expat.ClientTo(raw, host(authority), c.client)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, &handshakeError{err}
	}
	return conn, newAuthInfo(conn), nil
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c *creds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := expat.Server(&governed{raw}, c.server)
	if err := conn.Handshake(); err != nil {
		if c.server.Refused != nil {
			c.server.Refused(raw.RemoteAddr(), err)
		}
		return nil, nil, &handshakeError{err}
	}
	return conn, newAuthInfo(conn), nil
}

// Info implements [credentials.TransportCredentials].
func (c *creds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{
		SecurityProtocol: "tls", // by which gRPC knows that the scheme is https
		//lint:ignore SA1019 gRPC makes it the authority, and refuses another one
		ServerName: c.client.TLS.ServerName,
	}
}

// Clone implements [credentials.TransportCredentials].
func (c *creds) Clone() credentials.TransportCredentials {
	clone := *c // Configs in use are not modified
	return &clone
}

// OverrideServerName implements [credentials.TransportCredentials]. It must not be
// called while handshakes run.
func (c *creds) OverrideServerName(name string) error {
	c.client = c.client.Clone()
	c.client.TLS.ServerName = name
	return nil
}

// host is the part of an authority that a server must prove.
func host(authority string) string {
	if h, _, err := net.SplitHostPort(authority); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
}

// governed is a connection on whose deadlines gRPC decides: with one, which it
// lifts itself, it bounds the time from Accept to the first HTTP/2 frames. A Conn
// that re-attests would lift it when the exchange is done, and a client could stay
// without a word.
type governed struct{ net.Conn }

func (g *governed) SetDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return g.Conn.SetDeadline(t)
}
