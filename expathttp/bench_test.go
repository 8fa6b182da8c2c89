package expathttp

import (
	"crypto/elliptic"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })

// benchmarkNew measures GETs, each on a connection of its own.
func benchmarkNew(b *testing.B, rt http.RoundTripper, addr string) {
	req, err := http.NewRequest(http.MethodGet, "https://"+addr+"/", nil)
	require.NoError(b, err)
	req.Close = true
	b.ReportAllocs()
	for b.Loop() {
		resp, err := rt.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" || resp.ProtoMajor != 1 {
			b.Fatal(resp.Proto, err)
		}
		_ = resp.Body.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conns/s")
}

func benchmarkAttested(b *testing.B, cc, sc *expat.Config) {
	_, addr := serve(b, sc, hello)
	_, tr := client(b, cc, Options{})
	benchmarkNew(b, tr, addr)
}

// simulate gives one side a simulated TEE, in which its key was born, and the other
// the policy for it. chains are nil, or remembered from one connection to the next.
func simulate(of, by *expat.Config, name string, chains *evidence.Chains) *simulated.Device {
	vendor := must(simulated.NewVendor("test", time.Now()))
	digest := make([]byte, 32)
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Debug:        evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "app", Algorithm: "sha-256", Digest: digest}},
	}))
	key := must(device.GenerateKey(elliptic.P256()))
	of.TLS.Certificates = []tls.Certificate{must(ca.Leaf(key, time.Now(), name))}
	of.Attester = simulated.NewAttester(device)
	by.Verifier = must(verifier.New(verifier.Policy{
		Name: "test", Roots: vendor.Roots(), AnyInstance: true, Measurements: map[string][][]byte{"app": {digest}},
	}, simulated.Extractor{Chains: chains}))
	return device
}

// BenchmarkNewConnections compares new HTTP/1.1 connections: plain TLS 1.3 without
// tickets, and with attestation of the server (Evidence without a signature, and
// that of a simulated TEE, its chain new or remembered as policies from files do)
// and of both sides. All use the same kind of certificates.
func BenchmarkNewConnections(b *testing.B) {
	configs := func() (cc, sc *expat.Config) {
		cc, sc = configs("alice", "bob", protoHTTP1)
		cc.Attester, sc.Verifier = nil, nil
		return cc, sc
	}
	b.Run("plain", func(b *testing.B) {
		cc, sc := configs()
		sc.TLS.SessionTicketsDisabled, sc.TLS.MinVersion = true, tls.VersionTLS13
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		srv := &http.Server{Handler: hello, ReadHeaderTimeout: time.Minute}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(tls.NewListener(ln, sc.TLS)) }()
		defer func() { _ = srv.Close(); <-done }()
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13, NextProtos: cc.TLS.NextProtos}}
		defer tr.CloseIdleConnections()
		benchmarkNew(b, tr, ln.Addr().String())
	})
	b.Run("attested", func(b *testing.B) {
		cc, sc := configs()
		benchmarkAttested(b, cc, sc)
	})
	b.Run("simulated", func(b *testing.B) {
		cc, sc := configs()
		simulate(sc, cc, "127.0.0.1", nil)
		benchmarkAttested(b, cc, sc)
	})
	b.Run("simulated-again", func(b *testing.B) {
		cc, sc := configs()
		simulate(sc, cc, "127.0.0.1", new(evidence.Chains))
		benchmarkAttested(b, cc, sc)
	})
	b.Run("mutual", func(b *testing.B) {
		cc, sc := configs()
		cc.Attester, sc.Verifier = &toy{}, &toy{}
		benchmarkAttested(b, cc, sc)
	})
}

// BenchmarkRequests compares requests over one HTTP/2 connection that is there.
func BenchmarkRequests(b *testing.B) {
	run := func(b *testing.B, rt http.RoundTripper, addr string) {
		req, err := http.NewRequest(http.MethodGet, "https://"+addr+"/", nil)
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := rt.RoundTrip(req)
			if err != nil || resp.ProtoMajor != 2 {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	b.Run("plain", func(b *testing.B) {
		_, sc := configs("alice", "bob")
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		srv := &http.Server{Handler: hello, TLSConfig: sc.TLS, ReadHeaderTimeout: time.Minute}
		done := make(chan error, 1)
		go func() { done <- srv.ServeTLS(ln, "", "") }()
		defer func() { _ = srv.Close(); <-done }()
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		run(b, tr, ln.Addr().String())
	})
	b.Run("attested", func(b *testing.B) {
		cc, sc := configs("alice", "bob")
		_, addr := serve(b, sc, hello)
		_, tr := client(b, cc, Options{})
		run(b, tr, addr)
	})
}
