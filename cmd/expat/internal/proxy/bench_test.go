package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// plainTLS is what a sidecar is measured against: crypto/tls and io.Copy, nothing else.
func plainTLS(b *testing.B, backend string) string {
	b.Helper()
	ca := newAuthority(b, b.TempDir(), "bench")
	config := &tls.Config{Certificates: []tls.Certificate{ca.leaf(b, "localhost")}, MinVersion: tls.VersionTLS13}
	both := func(a, c net.Conn) {
		var ways sync.WaitGroup
		ways.Go(func() { _, _ = io.Copy(a, c); _ = a.(interface{ CloseWrite() error }).CloseWrite() })
		_, _ = io.Copy(c, a)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		ways.Wait()
		_ = c.Close()
	}
	server := serve(b, "tcp", "127.0.0.1:0", func(nc net.Conn) {
		up, err := net.Dial("tcp", backend)
		if err != nil {
			return
		}
		both(tls.Server(nc, config), up)
	})
	client := serve(b, "tcp", "127.0.0.1:0", func(nc net.Conn) {
		up, err := tls.Dial("tcp", server.addr, &tls.Config{RootCAs: ca.ca.Pool(), ServerName: "localhost"})
		if err != nil {
			return
		}
		both(nc, up)
	})
	return client.addr
}

// BenchmarkThroughput sends writes of 1 MiB through both sides to a backend that reads
// them.
func BenchmarkThroughput(b *testing.B) {
	sink := serve(b, "tcp", "127.0.0.1:0", func(c net.Conn) {
		buf := make([]byte, 256<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	})
	dir := newState(b)
	server := start(b, dir, serverSide(sink.addr))
	client := start(b, dir, clientSide(server.addrs["web"]))
	reattesting := start(b, dir, serverSide(sink.addr, "reattest: true"))
	framed := start(b, dir, clientSide(reattesting.addrs["web"], "reattest: true"))
	for _, bb := range []struct{ name, addr string }{
		{"sidecar", client.addrs["out"]}, {"plainTLS", plainTLS(b, sink.addr)}, {"sidecarReattest", framed.addrs["out"]},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c, err := net.Dial("tcp", bb.addr)
			require.NoError(b, err)
			defer c.Close()
			block := make([]byte, 1<<20)
			_, err = c.Write(block) // the handshake is not measured
			require.NoError(b, err)
			b.SetBytes(int64(len(block)))
			for b.Loop() {
				if _, err := c.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, c.(*net.TCPConn).CloseWrite())
			_, _ = io.Copy(io.Discard, c)
		})
	}
}

// BenchmarkRatio takes turns between the two, so that both have the same machine, and
// reports the throughput of the sidecar as a part of that of plain TLS.
func BenchmarkRatio(b *testing.B) {
	sink := serve(b, "tcp", "127.0.0.1:0", func(c net.Conn) {
		ack := []byte{0}
		for {
			if _, err := io.CopyN(io.Discard, c, turn<<20); err != nil {
				return
			}
			if _, err := c.Write(ack); err != nil {
				return
			}
		}
	})
	dir := newState(b)
	server := start(b, dir, serverSide(sink.addr))
	client := start(b, dir, clientSide(server.addrs["web"]))
	var took [2]time.Duration
	var conns [2]net.Conn
	for i, addr := range []string{client.addrs["out"], plainTLS(b, sink.addr)} {
		c, err := net.Dial("tcp", addr)
		require.NoError(b, err)
		defer c.Close()
		conns[i] = c
		sendTurn(b, c)
	}
	b.SetBytes(2 * turn << 20)
	for b.Loop() {
		for i, c := range conns {
			began := time.Now()
			sendTurn(b, c)
			took[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "of-plain-TLS")
}

// turn is how many writes of 1 MiB one has before it is the other's turn.
const turn = 32

func sendTurn(b *testing.B, c net.Conn) {
	block := make([]byte, 1<<20)
	for range turn {
		if _, err := c.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := io.ReadFull(c, block[:1]); err != nil {
		b.Fatal(err)
	}
}
