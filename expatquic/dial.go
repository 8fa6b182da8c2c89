package expatquic

import (
	"context"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
)

// Dial connects to addr, a UDP address, and runs the exchange; the whole takes no
// longer than the Timeout of cfg. If TLS.ServerName is empty it is the host of addr.
// A nil quic.Config has quic-go's defaults. The error is an [*expat.Error].
func Dial(ctx context.Context, addr string, cfg *expat.Config, conf *quic.Config) (*Conn, error) {
	tlsConf, err := expat.StreamTLS(cfg, authenticator.Client)
	if err != nil {
		return nil, err
	}
	if conf, err = without0RTT(conf); err != nil {
		return nil, configError(err)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, configError(fmt.Errorf("%w: %w", expat.ErrConfig, err))
	}
	if tlsConf.ServerName == "" {
		tlsConf.ServerName = host
	}
	s := newStream(nil, func(ctx context.Context) (*quic.Conn, error) {
		udp, err := resolve(ctx, addr)
		if err != nil {
			return nil, err
		}
		pc, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, err
		}
		qc, err := quic.Dial(ctx, pc, udp, tlsConf, conf)
		if err != nil {
			_ = pc.Close()
			return nil, err
		}
		context.AfterFunc(qc.Context(), func() { _ = pc.Close() })
		return qc, nil
	})
	conn := expat.ClientTo(s, host, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return &Conn{attested: conn, stream: s}, nil
}

// resolve finds the address of addr that there is a route to.
func resolve(ctx context.Context, addr string) (net.Addr, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	return nc.RemoteAddr(), nc.Close()
}

// without0RTT returns a copy of a configuration that allows no early data. One that
// asks for it is an error.
func without0RTT(conf *quic.Config) (*quic.Config, error) {
	switch {
	case conf == nil:
		return new(quic.Config), nil
	case conf.Allow0RTT:
		return nil, fmt.Errorf("%w: quic.Config.Allow0RTT: no byte may pass before the peer is attested", expat.ErrConfig)
	}
	return conf.Clone(), nil
}

func configError(err error) error {
	return &expat.Error{Stage: expat.StageConfig, Alert: expat.AlertInternal, Side: expat.Local, Err: err}
}
