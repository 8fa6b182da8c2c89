// Tpm has a server whose TLS key is in a TPM 2.0 prove the state in which its machine
// booted. One client expects that state; another expects a different firmware, and is not
// served. The TPM is swtpm, a program: it keeps no key from who runs it.
//
//	go run ./examples/tpm
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/verifier"
)

const install = "swtpm is missing: on Debian, apt-get install swtpm"

func main() {
	if _, err := exec.LookPath("swtpm"); err != nil {
		fmt.Fprintln(os.Stderr, install)
		os.Exit(1)
	}
	address, stop := startTPM()
	defer stop()
	ctx := context.Background()
	device := must(tpm.Open(ctx, tpm.Options{Open: tpm.Socket("unix", address)}))
	defer device.Close()

	// The keys never leave the TPM. A machine keeps them in files, with MarshalPEM;
	// enrolment certifies ak once, see expat tpm enroll.
	ak, key := must(device.CreateAK(ctx, tpm.KeyOptions{})), must(device.CreateKey(ctx, tpm.KeyOptions{}))
	akRoots, akChain := certifyAK(ak)
	ln := expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), &expat.Config{
		TLS: &tls.Config{Certificates: certificates(key)},
		Attester: must(tpm.NewAttester(tpm.AttesterOptions{
			AK: ak, Chain: akChain, Keys: []*tpm.Key{key}, PCRs: tpm.Selection{PCRs: []int{0, 7}},
		})),
	})
	defer ln.Close()
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			conn.Close()
		}
	}()

	untouched := make([]byte, 32) // what a PCR holds into which nothing was measured
	other := append([]byte{1}, untouched[1:]...)
	visit(ln.Addr().String(), "this", akRoots, map[string][][]byte{"pcr:sha256:0": {untouched}, "pcr:sha256:7": {untouched}})
	visit(ln.Addr().String(), "other", akRoots, map[string][][]byte{"pcr:sha256:0": {other}, "pcr:sha256:7": {untouched}})
}

// visit is a client with reference values of its own.
func visit(addr, name string, akRoots *x509.CertPool, pcrs map[string][][]byte) {
	conn, err := expat.Dial(context.Background(), "tcp", addr, &expat.Config{
		TLS: &tls.Config{RootCAs: roots},
		Verifier: must(verifier.New(verifier.Policy{
			Name: name, Roots: akRoots, Measurements: pcrs, AnyInstance: true,
			AllowDebugLeftToSoftware: true, // whoever administers the machine can look inside
		}, tpm.Extractor{})),
	})
	var wrong *verifier.CheckError
	switch {
	case errors.As(err, &wrong):
		fmt.Printf("%s firmware expected: refused: %v %q\n", name, wrong.Check, wrong.Subject)
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Printf("%s firmware expected: the server is %v, its key is %v\n", name, conn.Peer().Tier(), conn.Peer().Appraisals()[0].Claims["key"])
		conn.Close()
	}
}
