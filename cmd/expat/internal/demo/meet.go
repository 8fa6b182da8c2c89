package demo

import (
	"context"
	"net"
	"time"

	"github.com/expat-go/expat"
)

// meeting is one connection, seen from both ends. A side has a connection or an
// error.
type meeting struct {
	server, client       *expat.Conn
	serverErr, clientErr error
}

func (m *meeting) close() {
	for _, c := range []*expat.Conn{m.server, m.client} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// meet connects two sides over TCP on loopback and runs their handshakes. Its own
// error is trouble with the network; what a side found is in the meeting.
func meet(ctx context.Context, serverConfig, clientConfig *expat.Config) (*meeting, error) {
	host, err := listen(ctx, serverConfig)
	if err != nil {
		return nil, err
	}
	m := new(meeting)
	m.client, m.clientErr = expat.Dial(ctx, "tcp", host.addr, clientConfig)
	m.server, m.serverErr = host.wait()
	return m, nil
}

// host is a server of one connection.
type host struct {
	addr string
	done chan struct{}
	conn *expat.Conn // valid once done is closed, as err
	err  error
}

func listen(ctx context.Context, cfg *expat.Config) (*host, error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if err := ln.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	h := &host{addr: ln.Addr().String(), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		nc, err := ln.Accept()
		_ = ln.Close()
		if err != nil {
			h.err = err
			return
		}
		conn := expat.Server(nc, cfg)
		if h.err = conn.HandshakeContext(ctx); h.err == nil {
			h.conn = conn
		}
	}()
	return h, nil
}

// wait returns how the one connection went.
func (h *host) wait() (*expat.Conn, error) {
	<-h.done
	return h.conn, h.err
}
