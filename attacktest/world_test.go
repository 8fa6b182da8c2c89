package attacktest_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attacktest/simparty"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "endpoint.test"

// world is a CA, a vendor, and two sides with one device each, which accept each
// other's software on these two devices.
type world struct {
	ca             *testca.CA
	vendor         *simulated.Vendor
	server, client side
	clients        *attacktest.Party // what an attacker has who poses as a client
	servers        *attacktest.Party
	verifier       *verifier.Appraiser
}

type side struct {
	device *simulated.Device
	cert   tls.Certificate
}

func (s side) party() *attacktest.Party {
	return &attacktest.Party{Identity: s.cert, Attester: simulated.NewAttester(s.device)}
}

var firmware = sha256.Sum256([]byte("firmware"))

func newWorld(t testing.TB) *world {
	t.Helper()
	w := new(world)
	var err error
	w.ca, err = testca.New("attack", time.Now())
	require.NoError(t, err)
	w.vendor, err = simulated.NewVendor("vendor", time.Now())
	require.NoError(t, err)
	w.server, w.client = w.side(t), w.side(t)
	w.clients, err = simparty.New(w.options(w.client.device))
	require.NoError(t, err)
	w.servers, err = simparty.New(w.options(w.server.device))
	require.NoError(t, err)
	w.verifier, err = verifier.New(verifier.Policy{
		Name: "test", Roots: w.vendor.Roots(), Lifetime: time.Hour,
		Measurements: map[string][][]byte{"firmware": {firmware[:]}},
		Instances:    [][]byte{w.server.device.Instance(), w.client.device.Instance()},
	}, simulated.Extractor{})
	require.NoError(t, err)
	return w
}

func (w *world) side(t testing.TB) side {
	t.Helper()
	d, err := device(w.vendor, nil)
	require.NoError(t, err)
	key, err := d.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	cert, err := w.issue(key)
	require.NoError(t, err)
	return side{d, cert}
}

func (w *world) issue(key crypto.Signer) (tls.Certificate, error) {
	return w.ca.Leaf(key, time.Now(), name)
}

func device(v *simulated.Vendor, instance []byte) (*simulated.Device, error) {
	return v.NewDevice(simulated.DeviceOptions{
		Instance: instance, Debug: evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "firmware", Algorithm: "sha-256", Digest: firmware[:]}},
	})
}

// options make a party whose device has the instance of a given one.
func (w *world) options(like *simulated.Device) simparty.Options {
	return simparty.Options{
		Vendor: w.vendor, Issue: w.issue,
		Device: func(v *simulated.Vendor, instance []byte) (*simulated.Device, error) {
			if instance == nil {
				instance = like.Instance()
			}
			return device(v, instance)
		},
	}
}

// target attacks whatever dial reaches, and whatever client runs.
func (w *world) target(dial func(context.Context) (net.Conn, error), client func(context.Context, net.Conn) (net.Conn, error)) attacktest.Target {
	asClient, asServer := *w.clients, *w.servers
	asClient.Twin, asServer.Twin = w.server.party(), w.client.party()
	return attacktest.Target{
		Dial: dial, ServerName: name, Client: client,
		AsClient: &asClient, AsServer: &asServer, EndpointKey: &w.server.cert,
	}
}

// configs are those of honest sides. Which of them attest is for the caller.
func (w *world) configs(timeout time.Duration) (client, server *expat.Config) {
	client = &expat.Config{
		TLS:      &tls.Config{RootCAs: w.ca.Pool(), ServerName: name, Certificates: []tls.Certificate{w.client.cert}},
		Attester: simulated.NewAttester(w.client.device), Verifier: w.verifier, Timeout: timeout,
	}
	server = &expat.Config{
		TLS:      &tls.Config{ClientCAs: w.ca.Pool(), Certificates: []tls.Certificate{w.server.cert}},
		Attester: simulated.NewAttester(w.server.device), Verifier: w.verifier, Timeout: timeout,
	}
	return client, server
}

// listen serves each connection until the test ends, and returns how to dial.
func listen(t testing.TB, serve func(net.Conn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return dialer(t, ln, ln.Addr().String(), serve)
}

func dialer(t testing.TB, ln net.Listener, addr string, serve func(net.Conn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	var open sync.Map
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			wg.Go(func() {
				defer open.Delete(c)
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// serve runs the endpoint of package expat.
func serve(t testing.TB, cfg *expat.Config) func(context.Context) (net.Conn, error) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return dialer(t, expat.NewListener(raw, cfg), raw.Addr().String(), echo)
}
