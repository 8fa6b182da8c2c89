// Passport has a server show what a Verifier says of it, in place of its Evidence (RFC
// 9334, Section 5.1). The client trusts the Verifier's key and knows nothing of the
// server's platform. Everything runs in this process; the TEE is simulated and protects
// nothing.
//
//	go run ./examples/passport
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
	"github.com/expat-go/expat/verifier/remote"
	"github.com/expat-go/expat/verifier/service"
)

const verifierName = "https://verifier.example"

func main() {
	vendor := must(simulated.NewVendor("passport", time.Now()))
	image := sha256.Sum256([]byte("vault 1.0"))

	// The Verifier: reference values, and a key that signs what it finds.
	signs := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	verifierURL := startVerifier(signs, must(verifier.New(verifier.Policy{
		Name: "vault", Roots: vendor.Roots(), AnyInstance: true, Measurements: map[string][][]byte{"image": {image[:]}},
	}, simulated.Extractor{})))
	checker := must(ear.NewChecker(ear.CheckerOptions{
		Keys: must(ear.Static(ear.Key{Public: &signs.PublicKey})), Issuer: verifierName,
	}))

	// The server: its Evidence goes to the Verifier for each connection, and the
	// signed answer to the client.
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Debug: evidence.DebugDisabled, Measurements: []evidence.Measurement{{Name: "image", Algorithm: "sha-256", Digest: image[:]}},
	}))
	asks := must(remote.New(remote.Options{
		URL: verifierURL, PlainHTTPToLoopback: true, SendKey: true, Checker: checker, MediaTypes: []string{simulated.MediaType},
	}))
	server := startServer(&expat.Config{
		TLS:      &tls.Config{Certificates: certificates(must(device.GenerateKey(elliptic.P256())))},
		Attester: must(passport.NewPerConnection(must(asks.Source(simulated.NewAttester(device))))),
	})

	// The client: nothing but the Verifier's name and key.
	conn := must(expat.Dial(context.Background(), "tcp", server, &expat.Config{
		TLS:      &tls.Config{RootCAs: roots},
		Verifier: must(passport.NewVerifier(passport.VerifierOptions{Checker: checker})),
	}))
	defer conn.Close()
	a := conn.Peer().Appraisals()[0]
	fmt.Printf("%s says by its policy %q that the server is %v\n", verifierName, a.Policy, conn.Peer().Tier())
}

// startVerifier serves the challenge-response API, as "expat verifier serve" does.
func startVerifier(key *ecdsa.PrivateKey, judge *verifier.Appraiser) (url string) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	issuer := must(ear.NewIssuer(ear.IssuerOptions{Key: key, Name: verifierName, Developer: "https://github.com/expat-go/expat", Build: "example"}))
	go http.Serve(ln, must(service.NewHandler(service.Options{Verifier: judge, Issuer: issuer})))
	return "http://" + ln.Addr().String()
}

// startServer accepts connections, and is done with each when it is open.
func startServer(c *expat.Config) (addr string) {
	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), c)
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			conn.Close()
		}
	}()
	return ln.Addr().String()
}
