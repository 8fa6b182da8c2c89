// Keybroker releases a key to programs that a policy file accepts, and to nobody else.
// The broker needs no list of clients and no passwords: a client proves in the connection
// what it runs, and the key goes through that very connection. The TEEs are simulated and
// protect nothing.
//
//	go run ./examples/keybroker
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/policy/platforms"
)

//go:embed policy.yaml
var policyFile []byte

func main() {
	vendor := must(simulated.NewVendor("keybroker", time.Now()))
	broker := startBroker(vendor)
	for _, program := range []string{"trainer 1.0", "trainer 0.9 with a debugger"} {
		key, err := fetchKey(broker, vendor, program)
		var refused *expat.Error
		switch {
		case errors.As(err, &refused):
			fmt.Printf("%s: no key: the broker says %q\n", program, refused.Alert)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Printf("%s: has a key of %d bytes\n", program, len(key))
		}
	}
}

// startBroker hands the key to whoever gets as far as an open connection.
func startBroker(vendor *simulated.Vendor) (addr string) {
	secret := make([]byte, 32)
	rand.Read(secret)
	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), &expat.Config{
		TLS:      &tls.Config{Certificates: certificates(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))), ClientCAs: roots},
		Verifier: loadPolicy(vendor),
	})
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			fmt.Printf("  the broker releases the key by %.12s\n", conn.(*expat.Conn).Peer().Appraisals()[0].Policy)
			conn.Write(secret)
			conn.Close()
		}
	}()
	return ln.Addr().String()
}

// loadPolicy reads the file as a broker does at its start. One that runs for long uses
// policy.NewReloading, which takes changes of the file.
func loadPolicy(vendor *simulated.Vendor) *policy.Policy {
	dir := must(os.MkdirTemp("", "keybroker"))
	defer os.RemoveAll(dir)
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: vendor.Root().Raw})
	must(0, os.WriteFile(filepath.Join(dir, "root.pem"), root, 0o600))
	must(0, os.WriteFile(filepath.Join(dir, "policy.yaml"), policyFile, 0o600))
	return must(policy.Load(context.Background(), filepath.Join(dir, "policy.yaml"), policy.Options{Platforms: platforms.All()}))
}

// fetchKey is a client: it runs one program in a device of its own, and asks for the key.
func fetchKey(broker string, vendor *simulated.Vendor, program string) ([]byte, error) {
	image := sha256.Sum256([]byte(program)) // what the hardware measures
	device := must(vendor.NewDevice(simulated.DeviceOptions{
		Debug: evidence.DebugDisabled, Measurements: []evidence.Measurement{{Name: "image", Algorithm: "sha-256", Digest: image[:]}},
	}))
	conn, err := expat.Dial(context.Background(), "tcp", broker, &expat.Config{
		TLS:      &tls.Config{RootCAs: roots, Certificates: certificates(must(device.GenerateKey(elliptic.P256())))},
		Attester: simulated.NewAttester(device),
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return io.ReadAll(conn)
}
