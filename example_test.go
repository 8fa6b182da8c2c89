package expat_test

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier"
)

// What the examples share: a CA that both sides trust for names, a vendor of
// simulated TEEs, and the software that is good.
var (
	ca     = must(testca.New("example", time.Now()))
	vendor = must(simulated.NewVendor("example", time.Now()))
	good   = sha256.Sum256([]byte("the program"))
)

// tee makes a device that runs the good software, with a TLS key that was born in
// it and a certificate for that key.
func tee(name string, lies ...simulated.Lie) (tls.Certificate, attestation.Attester) {
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Measurements: []evidence.Measurement{{Name: "program", Algorithm: "sha-256", Digest: good[:]}},
		Debug:        evidence.DebugDisabled,
	}))
	key := must(device.GenerateKey(elliptic.P256()))
	return must(ca.Leaf(key, time.Now(), name)), simulated.NewAttester(device, lies...)
}

// policy accepts every device of the vendor that runs the good software.
func policy() attestation.Verifier {
	return must(verifier.New(verifier.Policy{
		Name:         "example",
		Roots:        vendor.Roots(),
		Measurements: map[string][][]byte{"program": {good[:]}},
		AnyInstance:  true,
	}, simulated.Extractor{}))
}

// serve echoes on attested connections until the listener is closed.
func serve(cfg *expat.Config) net.Listener {
	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), cfg)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return ln
}

// The server proves what it is; the client is anybody.
func Example() {
	cert, attester := tee("server.test")
	ln := serve(&expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}},
		Attester: attester,
	})
	defer ln.Close()

	conn, err := expat.Dial(context.Background(), "tcp", ln.Addr().String(), &expat.Config{
		TLS:      &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test"},
		Verifier: policy(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println("tier:", conn.Peer().Tier())
	fmt.Println("its key is", conn.Peer().Appraisals()[0].Claims["key"])

	fmt.Fprint(conn, "hello")
	reply := make([]byte, 5)
	_, _ = io.ReadFull(conn, reply)
	fmt.Printf("%s\n", reply)
	// Output:
	// tier: affirming
	// its key is born-inside
	// hello
}

// Both sides prove what they are.
func Example_mutual() {
	serverCert, serverAttester := tee("server.test")
	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), &expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientCAs: ca.Pool()},
		Attester: serverAttester,
		Verifier: policy(),
	})
	defer ln.Close()

	clientCert, clientAttester := tee("client.test")
	go func() {
		conn, err := expat.Dial(context.Background(), "tcp", ln.Addr().String(), &expat.Config{
			TLS:      &tls.Config{Certificates: []tls.Certificate{clientCert}, RootCAs: ca.Pool(), ServerName: "server.test"},
			Attester: clientAttester,
			Verifier: policy(),
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(conn, "the server is %v", conn.Peer().Tier())
		_ = conn.Close()
	}()

	conn := must(ln.Accept()).(*expat.Conn)
	defer conn.Close()
	fmt.Printf("%s\n", must(io.ReadAll(conn)))
	fmt.Println("the client is", conn.Peer().Tier(), "and its name is", conn.PeerCertificates()[0].DNSNames[0])
	// Output:
	// the server is affirming
	// the client is affirming and its name is client.test
}

// The server's TEE has debug on, so the client refuses it.
func Example_serverRefused() {
	cert, attester := tee("server.test", simulated.DebugOn)
	ln := serve(&expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}},
		Attester: attester,
	})
	defer ln.Close()

	_, err := expat.Dial(context.Background(), "tcp", ln.Addr().String(), &expat.Config{
		TLS:      &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test"},
		Verifier: policy(),
	})
	var e *expat.Error
	if errors.As(err, &e) {
		fmt.Println("step:", e.Stage)
		fmt.Println("the server is told:", e.Alert)
	}
	for _, check := range verifier.FailedChecks(err) {
		fmt.Println(check)
	}
	// Output:
	// step: appraise
	// the server is told: attestation rejected
	// debug: want disabled, got enabled
}

// The client cannot attest, so the server refuses it.
func Example_clientRefused() {
	cert, attester := tee("server.test")
	refused := make(chan error, 1)
	ln := serve(&expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: ca.Pool()},
		Attester: attester,
		Verifier: policy(),
		Refused:  func(_ net.Addr, err error) { refused <- err },
	})
	defer ln.Close()

	_, err := expat.Dial(context.Background(), "tcp", ln.Addr().String(), &expat.Config{
		TLS:      &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test"},
		Verifier: policy(),
	})
	var e *expat.Error
	if errors.As(err, &e) && e.Side == expat.Peer {
		fmt.Println("the client is told:", e.Alert)
	}
	fmt.Println("the server knows:", <-refused)
	// Output:
	// the client is told: attestation required
	// the server knows: expat: hello: peer cannot attest
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
