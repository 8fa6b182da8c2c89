// Mutual has two programs attest each other over a plain connection: each accepts the
// other's software and nothing else. A third program, which neither side knows, is
// refused before a byte of it arrives. The TEEs are simulated and protect nothing.
//
//	go run ./examples/mutual
package main

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

func main() {
	vendor := must(simulated.NewVendor("mutual", time.Now()))
	ledger := side(vendor, "ledger", "teller")
	teller := side(vendor, "teller", "ledger")
	intruder := side(vendor, "intruder", "ledger")

	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), ledger)
	defer ln.Close()
	go serve(ln)
	for _, c := range []struct {
		name string
		side *expat.Config
	}{{"teller", teller}, {"intruder", intruder}} {
		conn, err := expat.Dial(context.Background(), "tcp", ln.Addr().String(), c.side)
		var refused *expat.Error
		if errors.As(err, &refused) {
			fmt.Printf("%s: no connection: the %v says %q\n", c.name, refused.Side, refused.Alert)
			continue
		}
		must(0, err)
		fmt.Printf("%s: the ledger is %v and says %q\n", c.name, conn.Peer().Tier(), must(io.ReadAll(conn)))
		conn.Close()
	}
}

// serve tells each peer how it was judged.
func serve(ln net.Listener) {
	for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
		fmt.Fprintf(c, "you are %v", c.(*expat.Conn).Peer().Tier())
		c.Close()
	}
}

// side runs one program in a device of its own, and accepts a peer that runs another.
// That is all: a Config with an Attester proves, one with a Verifier demands.
func side(vendor *simulated.Vendor, runs, accepts string) *expat.Config {
	image, good := sha256.Sum256([]byte(runs)), sha256.Sum256([]byte(accepts))
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Debug: evidence.DebugDisabled, Measurements: []evidence.Measurement{{Name: "image", Algorithm: "sha-256", Digest: image[:]}},
	}))
	return &expat.Config{
		TLS:      &tls.Config{Certificates: certificates(must(device.GenerateKey(elliptic.P256()))), RootCAs: roots, ClientCAs: roots},
		Attester: simulated.NewAttester(device),
		Verifier: must(verifier.New(verifier.Policy{
			Name: runs, Roots: vendor.Roots(), AnyInstance: true, Measurements: map[string][][]byte{"image": {good[:]}},
		}, simulated.Extractor{})),
	}
}
