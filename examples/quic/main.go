// Quic runs an HTTP/3 server and two clients, each in a simulated TEE, which
// protects nothing. Every peer must attest before HTTP/3 has the connection;
// setup.go has what a deployment has already.
//
//	go run -C examples/quic .
package main

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/expatquic"
	"github.com/expat-go/expat/verifier"
)

func main() {
	vendor := must(simulated.NewVendor("example", time.Now()))
	vault, payroll, stranger := side(vendor, "vault", "payroll"), side(vendor, "payroll", "vault"), side(vendor, "stranger", "vault")

	// The server: http3 is given connections that are attested, and no others.
	srv := &http3.Server{ConnContext: expatquic.ConnContext, Handler: http.HandlerFunc(answer)}
	ln := must(expatquic.Listen("127.0.0.1:0", vault, nil))
	go serve(srv, ln)
	url := "https://" + ln.Addr().String()

	visit("payroll", payroll, url)
	visit("stranger", stranger, url)

	check(srv.Close())
	check(ln.Close())
}

// serve hands attested connections to http3.
func serve(srv *http3.Server, ln *expatquic.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go srv.ServeQUICConn(conn.QUIC())
	}
}

// answer is a handler. It finds the verdict on the client in the request's context.
func answer(w http.ResponseWriter, r *http.Request) {
	conn, _ := expatquic.FromContext(r.Context())
	fmt.Fprintf(w, "you are %v and run %v", conn.Peer().Tier(), program(conn.Peer()))
}

// visit asks for the same page twice, on one connection, with a new verdict on the
// server in between.
func visit(name string, cfg *expat.Config, url string) {
	var conn *expatquic.Conn
	transport := &http3.Transport{Dial: func(ctx context.Context, addr string, _ *tls.Config, conf *quic.Config) (qc *quic.Conn, err error) {
		if conn, err = expatquic.Dial(ctx, addr, cfg, conf); err != nil {
			return nil, err
		}
		fmt.Printf("%s: the server is %v and runs %v\n", name, conn.Peer().Tier(), program(conn.Peer()))
		return conn.QUIC(), nil
	}}
	defer transport.Close()
	client := &http.Client{Transport: transport}
	for range 2 {
		resp, err := client.Get(url)
		var refused *expat.Error
		if errors.As(err, &refused) {
			fmt.Printf("%s: the server gives us no connection: %v\n", name, refused.Alert)
			return
		}
		check(err)
		body := must(io.ReadAll(resp.Body))
		check(resp.Body.Close())
		fmt.Printf("%s: %s %s: %s\n", name, resp.Proto, resp.Status, body)
		r := must(conn.Reattest(context.Background()))
		fmt.Printf("%s: the server is asked anew and is %v\n", name, r.Tier())
	}
}

// program is what a peer was found to run.
func program(r *attestation.Result) any {
	return r.Appraisals()[0].Claims["measurements"]
}

// side runs one program in a device of its own and accepts a peer that runs
// another.
func side(vendor *simulated.Vendor, runs, accepts string) *expat.Config {
	device := must(vendor.NewDevice(simulated.DeviceOptions{Debug: evidence.DebugDisabled, Measurements: measure(runs)}))
	key := must(device.GenerateKey(elliptic.P256())) // born in the device
	policy := must(verifier.New(verifier.Policy{
		Name: "example", Roots: vendor.Roots(), AnyInstance: true, Measurements: reference(accepts),
	}, simulated.Extractor{}))
	return &expat.Config{
		TLS:      &tls.Config{Certificates: certificates(key), RootCAs: roots, ClientCAs: roots, NextProtos: []string{http3.NextProtoH3}},
		Attester: simulated.NewAttester(device), // prove what we are
		Verifier: policy,                        // demand the same of the peer
		Reattest: true,                          // and allow to be asked anew
	}
}
