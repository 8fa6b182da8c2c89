package attacktest_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attacktest/simparty"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier"
)

// A server that attests, and the client that relies on it, are attacked. In a
// test, Test(t, target, options) does the same and fails for what is accepted.
func Example() {
	vendor := must(simulated.NewVendor("vendor", time.Now()))
	ca := must(testca.New("example", time.Now()))
	issue := func(key crypto.Signer) (tls.Certificate, error) { return ca.Leaf(key, time.Now(), "server.example") }
	good := must(device(vendor, nil))
	cert := must(issue(must(good.GenerateKey(elliptic.P256()))))

	// The user's own server and client.
	server := &expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}},
		Attester: simulated.NewAttester(good),
	}
	policy := verifier.Policy{
		Name: "example", Roots: vendor.Roots(), Instances: [][]byte{good.Instance()},
		Measurements: map[string][][]byte{"firmware": {firmware[:]}},
	}
	client := &expat.Config{
		TLS:      &tls.Config{RootCAs: ca.Pool(), ServerName: "server.example"},
		Verifier: must(verifier.New(policy, simulated.Extractor{})),
	}
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	attested := expat.NewListener(ln, server)
	defer attested.Close()
	go func() {
		for {
			c, err := attested.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()

	// What an attacker has: certificates of the CA, and machines of the vendor.
	asServer := must(simparty.New(simparty.Options{
		Vendor: vendor, Issue: issue,
		Device: func(v *simulated.Vendor, instance []byte) (*simulated.Device, error) {
			if instance == nil {
				instance = good.Instance()
			}
			return device(v, instance)
		},
	}))
	target := attacktest.Target{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
		},
		ServerName: "server.example",
		Client:     attacktest.ClientOf(client),
		AsClient:   &attacktest.Party{}, // the server does not ask
		AsServer:   asServer,
	}
	outcomes, err := attacktest.Run(context.Background(), target, attacktest.Options{
		Only: []string{"relayed Evidence", "key substitution", "diversion"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range outcomes {
		fmt.Printf("%s, %s: %s at step %q\n", o.Name, o.Victim, o.Outcome, o.Step)
	}
	// Output:
	// key substitution, endpoint as relying party: not applicable at step ""
	// key substitution, client as relying party: refused at step "appraise"
	// diversion, endpoint as relying party: not applicable at step ""
	// diversion, client as relying party: refused at step "appraise"
	// relayed Evidence, client as relying party: refused at step "appraise"
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
