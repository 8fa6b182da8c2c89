package expat

import (
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/verifier"
)

// benchmarkDial measures a new TCP connection on loopback, its handshakes, and a
// byte there and back, so that both sides are known to be done.
func benchmarkDial(b *testing.B, client, server func(net.Conn) net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				c := server(nc)
				_, _ = io.CopyN(c, c, 1)
				_, _ = c.Read(make([]byte, 1)) // until the client closes
				_ = c.Close()
			}()
		}
	}()
	b.ReportAllocs()
	buf := []byte{'x'}
	for b.Loop() {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		c := client(nc)
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
	b.StopTimer()
	_ = ln.Close()
	<-done
}

func benchmarkExpat(b *testing.B, cc, sc *Config) {
	benchmarkDial(b,
		func(nc net.Conn) net.Conn { return Client(nc, cc) },
		func(nc net.Conn) net.Conn { return Server(nc, sc) })
}

// plainConfigs are the TLS configurations of the attested benchmarks, without
// attestation and without tickets.
func plainConfigs(w *world) (client, server *tls.Config) {
	cc, sc := w.configs(serverAttests)
	cc.TLS.MinVersion = tls.VersionTLS13
	sc.TLS.SessionTicketsDisabled = true
	return cc.TLS, sc.TLS
}

func BenchmarkDialPlainTLS13(b *testing.B) {
	cc, sc := plainConfigs(newWorld(b))
	benchmarkDial(b,
		func(nc net.Conn) net.Conn { return tls.Client(nc, cc) },
		func(nc net.Conn) net.Conn { return tls.Server(nc, sc) })
}

func BenchmarkDialServerAttests(b *testing.B) {
	cc, sc := newWorld(b).configs(serverAttests)
	benchmarkExpat(b, cc, sc)
}

func BenchmarkDialMutual(b *testing.B) {
	cc, sc := newWorld(b).configs(mutual)
	benchmarkExpat(b, cc, sc)
}

// simulate gives a server a simulated TEE and a client the policy for it. The
// server's key is born in the TEE.
func simulate(tb testing.TB, w *world) (client, server *Config) {
	tb.Helper()
	client, server, _ = simulateDevice(tb, w)
	return client, server
}

func simulateDevice(tb testing.TB, w *world) (client, server *Config, device *simulated.Device) {
	tb.Helper()
	return simulateFor(tb, w, simulated.Extractor{})
}

func simulateFor(tb testing.TB, w *world, x simulated.Extractor) (client, server *Config, device *simulated.Device) {
	tb.Helper()
	vendor, err := simulated.NewVendor("bench", time.Now())
	require.NoError(tb, err)
	digest := make([]byte, 32)
	device, err = vendor.NewDevice(simulated.DeviceOptions{
		Instance: append([]byte{1}, make([]byte, 16)...), HardwareModel: []byte("model"), SoftwareName: "firmware", SoftwareVersion: "1.0",
		Debug:        evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "app", Algorithm: "sha-256", Digest: digest}},
	})
	require.NoError(tb, err)
	key, err := device.GenerateKey(elliptic.P256())
	require.NoError(tb, err)
	w.server, err = w.ca.Leaf(key, time.Now(), serverName)
	require.NoError(tb, err)
	client, server = w.configs(serverAttests)
	server.Attester = simulated.NewAttester(device)
	client.Verifier, err = verifier.New(verifier.Policy{
		Name: "bench", Roots: vendor.Roots(), AnyInstance: true,
		Measurements: map[string][][]byte{"app": {digest}},
	}, x)
	require.NoError(tb, err)
	return client, server, device
}

func BenchmarkDialServerAttestsSimulated(b *testing.B) {
	cc, sc := simulate(b, newWorld(b))
	benchmarkExpat(b, cc, sc)
}

// The client has seen the device before, and remembers its certificates.
func BenchmarkDialServerAttestsSimulatedAgain(b *testing.B) {
	cc, sc, _ := simulateFor(b, newWorld(b), simulated.Extractor{Chains: new(evidence.Chains)})
	benchmarkExpat(b, cc, sc)
}

// The benchmark measures what it says: the peer is a simulated TEE.
func TestSimulatedEndToEnd(t *testing.T) {
	t.Parallel()
	cc, sc := simulate(t, newWorld(t))
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, err1)
	require.NoError(t, err2)
	require.Len(t, c.Peer().Appraisals(), 1)
	echo(t, c, s, "hello")
}

// benchmarkStream measures writes of a mebibyte.
func benchmarkStream(b *testing.B, c, s net.Conn) {
	const size = 1 << 20
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 64<<10))
	}()
	buf := make([]byte, size)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	_ = c.Close()
	<-done
}

func BenchmarkStreamTLS(b *testing.B) {
	cc, sc := plainConfigs(newWorld(b))
	c, s := tlspair.Connect(b, cc, sc)
	benchmarkStream(b, c, s)
}

func BenchmarkStreamPassthrough(b *testing.B) {
	cc, sc := newWorld(b).configs(serverAttests)
	c, s, err1, err2 := connect(b, cc, sc)
	require.NoError(b, err1)
	require.NoError(b, err2)
	benchmarkStream(b, c, s)
}

func BenchmarkStreamMux(b *testing.B) {
	c, s := openMux(b, serverAttests)
	benchmarkStream(b, c, s)
}

// memory is what the process holds, in bytes.
func memory() uint64 {
	for range 3 {
		runtime.GC() // the second empties pools, and stacks shrink
		time.Sleep(20 * time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// BenchmarkIdleConn measures what one end of an open connection holds that has
// carried data both ways and is idle. The two ends are in this process. In the
// variants named reading the application waits in Read.
func BenchmarkIdleConn(b *testing.B) {
	const pairs = 200
	w := newWorld(b)
	// One configuration serves all connections, as in a program.
	plainClient, plainServer := plainConfigs(w)
	cc, sc := w.configs(serverAttests)
	muxClient, muxServer := w.configs(serverAttests)
	muxClient.ReattestEvery, muxServer.Reattest = time.Hour, true
	attested := func(cc, sc *Config) (net.Conn, net.Conn) {
		c, s, err1, err2 := connect(b, cc, sc)
		require.NoError(b, errors.Join(err1, err2))
		return c, s
	}
	kinds := []struct {
		name string
		open func() (net.Conn, net.Conn)
	}{
		{"tls", func() (net.Conn, net.Conn) {
			c, s := tlspair.Connect(b, plainClient, plainServer)
			return c, s
		}},
		{"passthrough", func() (net.Conn, net.Conn) { return attested(cc, sc) }},
		{"mux", func() (net.Conn, net.Conn) { return attested(muxClient, muxServer) }},
	}
	for _, kind := range kinds {
		for _, reading := range []bool{false, true} {
			name := kind.name
			if reading {
				name += "-reading"
			}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					before := memory()
					var conns []net.Conn
					for range pairs {
						c, s := kind.open()
						conns = append(conns, c, s)
						pass(b, c, s)
						pass(b, s, c)
					}
					var wg sync.WaitGroup
					for _, c := range conns {
						if reading {
							wg.Go(func() { _, _ = c.Read(make([]byte, 1)) })
						}
					}
					b.ReportMetric(float64(memory()-before)/(2*pairs), "B/conn")
					for _, c := range conns {
						_ = c.Close()
					}
					wg.Wait()
				}
			})
		}
	}
}

// pass sends 64 KiB.
func pass(b *testing.B, w io.Writer, r io.Reader) {
	const size = 64 << 10
	sent := make(chan error, 1)
	go func() { _, err := w.Write(make([]byte, size)); sent <- err }()
	_, err := io.CopyN(io.Discard, r, size)
	require.NoError(b, errors.Join(err, <-sent))
}
