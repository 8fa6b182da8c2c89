// Quickstart adds attestation, in both directions, to a server and a client of
// net/http over HTTP/1.1. Each runs in a simulated TEE, which protects nothing;
// setup.go has what a deployment has already.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

func main() {
	vendor := must(simulated.NewVendor("quickstart", time.Now()))
	server, client := side(vendor, "vault", "payroll"), side(vendor, "payroll", "vault")

	// The server: expat.NewListener around the listener, and ConnContext, by which
	// handlers see the peer.
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	srv := &http.Server{ConnContext: expat.ConnContext, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		conn, _ := expat.FromContext(r.Context())
		report("server", conn)
	})}
	go srv.Serve(expat.NewListener(ln, server))
	defer srv.Close()

	// The client: expat.Dial in place of the Transport's own.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := expat.Dial(ctx, network, addr, client)
		report("client", conn)
		return conn, err
	}
	get := &http.Client{Transport: &http.Transport{DialTLSContext: dial}}
	resp := must(get.Get("https://" + ln.Addr().String()))
	defer resp.Body.Close()
	fmt.Println(resp.Proto, resp.Status)
}

// side runs one program in a device of its own and accepts a peer that runs
// another.
func side(vendor *simulated.Vendor, runs, accepts string) *expat.Config {
	device := must(vendor.NewDevice(simulated.DeviceOptions{Debug: evidence.DebugDisabled, Measurements: measure(runs)}))
	key := must(device.GenerateKey(elliptic.P256())) // born in the device
	policy := must(verifier.New(verifier.Policy{
		Name: "quickstart", Roots: vendor.Roots(), AnyInstance: true, Measurements: reference(accepts),
	}, simulated.Extractor{}))
	return &expat.Config{
		TLS:      &tls.Config{Certificates: certificates(key), RootCAs: roots, ClientCAs: roots, NextProtos: []string{"http/1.1"}},
		Attester: simulated.NewAttester(device), // prove what we are
		Verifier: policy,                        // demand the same of the peer
	}
}
