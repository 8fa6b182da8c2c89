// Http runs a server and two clients over HTTP/2, each in a simulated TEE, which
// protects nothing. Every peer must attest; one route demands of the client that it
// runs a certain program. setup.go has what a deployment has already.
//
//	go run ./examples/http
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/expathttp"
)

func main() {
	// The server runs vault and lets payroll and reports in.
	vendor := must(simulated.NewVendor("example", time.Now()))
	vault := side(vendor, "vault", "payroll", "reports")
	payroll, reports := side(vendor, "payroll", "vault"), side(vendor, "reports", "vault")

	// The keys are for payroll alone.
	mux := http.NewServeMux()
	mux.Handle("/status", expathttp.Require(answer("fine"), expathttp.Tier(attestation.TierAffirming)))
	keys := expathttp.Require(answer("the keys"), runs("payroll"))
	keys.Denied = func(r *http.Request, reason error) { fmt.Println("  the server logs:", reason) }
	mux.Handle("/keys", keys)
	srv := must(expathttp.NewServer(&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, vault))
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	visit("payroll", payroll, "https://"+ln.Addr().String())
	visit("reports", reports, "https://"+ln.Addr().String())

	check(srv.Shutdown(context.Background()))
	<-served
}

// runs demands that a peer runs a program: that its only measurement is that
// program's.
func runs(program string) expathttp.Demand {
	m := measure(program)[0]
	return expathttp.Claim(simulated.Platform, "measurements", []map[string]string{
		{"name": m.Name, "algorithm": m.Algorithm, "digest": hex.EncodeToString(m.Digest)},
	})
}

// answer tells a client which tier it is in, and text.
func answer(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := expathttp.FromRequest(r)
		fmt.Fprintf(w, "you are %v: %s", peer.Tier(), text)
	})
}

// visit asks for both routes over one connection. It demands of the server what it
// runs, though the policy does so already.
func visit(program string, config *expat.Config, base string) {
	transport := must(expathttp.NewTransport(config, expathttp.Options{}))
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ctx := expathttp.WithDemands(context.Background(), runs("vault"))
	for _, path := range []string{"/status", "/keys"} {
		resp := must(client.Do(must(http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil))))
		peer, _ := expathttp.PeerOf(resp)
		fmt.Printf("%s asks for %s: the server is %v, answers %s %s: %q\n",
			program, path, peer.Tier(), resp.Proto, resp.Status, must(io.ReadAll(resp.Body)))
		check(resp.Body.Close())
	}
}
