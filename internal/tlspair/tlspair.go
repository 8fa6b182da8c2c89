// Package tlspair connects two ends of crypto/tls over a TCP socket on
// loopback, for tests.
package tlspair

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// Pipe returns the two ends of a TCP connection on loopback, closed when the
// test ends.
func Pipe(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type accepted struct {
		c   net.Conn
		err error
	}
	ch := make(chan accepted, 1)
	go func() {
		c, err := ln.Accept()
		ch <- accepted{c, err}
	}()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := <-ch
	if a.err != nil {
		t.Fatal(a.err)
	}
	t.Cleanup(func() { client.Close(); a.c.Close() })
	return client, a.c
}

// Connect returns two TLS connections whose handshake is complete, closed when
// the test ends.
func Connect(t testing.TB, clientConfig, serverConfig *tls.Config) (client, server *tls.Conn) {
	t.Helper()
	preference.RLock()
	defer preference.RUnlock()
	return connect(t, clientConfig, serverConfig)
}

func connect(t testing.TB, clientConfig, serverConfig *tls.Config) (client, server *tls.Conn) {
	t.Helper()
	cn, sn := Pipe(t)
	client, server = tls.Client(cn, clientConfig), tls.Server(sn, serverConfig)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ch := make(chan error, 1)
	go func() { ch <- server.HandshakeContext(ctx) }()
	if err := client.HandshakeContext(ctx); err != nil {
		t.Fatal("client handshake:", err)
	}
	if err := <-ch; err != nil {
		t.Fatal("server handshake:", err)
	}
	return client, server
}
