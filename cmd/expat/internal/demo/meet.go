package demo

import (
	"context"
	"errors"
	"net"
	"sync"

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
	// Both ends are there before either handshake starts, so that nobody waits
	// for a peer that never came.
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	clientEnd, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	serverEnd, err := ln.Accept()
	if err != nil {
		return nil, errors.Join(err, clientEnd.Close())
	}
	m := new(meeting)
	var both sync.WaitGroup
	both.Go(func() { m.server, m.serverErr = handshake(ctx, expat.Server(serverEnd, serverConfig)) })
	both.Go(func() { m.client, m.clientErr = handshake(ctx, expat.Client(clientEnd, clientConfig)) })
	both.Wait()
	return m, nil
}

func handshake(ctx context.Context, c *expat.Conn) (*expat.Conn, error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return c, nil
}
