package tpm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"os"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/verifier"
)

// A server whose TLS key is in the TPM. The key files and the attestation key's
// chain are from its enrolment, the TLS certificate from any CA.
func Example_server() {
	ctx := context.Background()
	device, err := tpm.Open(ctx, tpm.Options{Open: tpm.Device("/dev/tpmrm0")})
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()
	var akFile, keyFile []byte      // of MarshalPEM
	var akChain []*x509.Certificate // of enroll.Run
	var tlsChain [][]byte           // of enroll.CA.IssueTLS
	ak, err := device.LoadAK(ctx, akFile, nil)
	if err != nil {
		log.Fatal(err)
	}
	key, err := device.LoadKey(ctx, keyFile, nil)
	if err != nil {
		log.Fatal(err)
	}
	attester, err := tpm.NewAttester(tpm.AttesterOptions{
		AK: ak, Chain: akChain, Keys: []*tpm.Key{key},
		PCRs: tpm.Selection{PCRs: []int{0, 2, 4, 7}},
		EventLog: func(context.Context) ([]byte, error) {
			return os.ReadFile("/sys/kernel/security/tpm0/binary_bios_measurements")
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = &expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{{Certificate: tlsChain, PrivateKey: key}}},
		Attester: attester,
	}
}

// A client that trusts the TPMs of its fleet, with firmware and boot loader of known
// digests. The boot loader is judged by the event log, so that PCR 4 need not have
// one value.
func Example_client() {
	var akRoots *x509.CertPool                                          // the AK CA's
	var firmware, options, secureBoot, loader, action, separator []byte // digests of known good machines
	appraiser, err := verifier.New(verifier.Policy{
		Name:  "fleet",
		Roots: akRoots,
		Measurements: map[string][][]byte{
			"pcr:sha256:0": {firmware},
			"pcr:sha256:2": {options},
			"pcr:sha256:7": {secureBoot},
			"event:sha256:4:EV_EFI_BOOT_SERVICES_APPLICATION": {loader},
			"event:sha256:4:EV_EFI_ACTION":                    {action},
			"event:sha256:4:EV_SEPARATOR":                     {separator},
		},
		AnyInstance:              true,
		AllowDebugLeftToSoftware: true, // root on these machines is trusted
	}, tpm.Extractor{FromLog: []int{4}})
	if err != nil {
		log.Print(err)
		return
	}
	_ = &expat.Config{TLS: &tls.Config{ServerName: "server.example"}, Verifier: appraiser}
}
