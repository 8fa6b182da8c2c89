package verifier_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// A policy names the vendor, the device and the software, and the Appraiser says
// everything that differs.
func Example() {
	image := sha256.Sum256([]byte("image 7"))
	vendor, err := simulated.NewVendor("Example", time.Now())
	if err != nil {
		panic(err)
	}
	device, err := vendor.NewDevice(simulated.DeviceOptions{
		Debug:        evidence.DebugDisabled,
		Measurements: []evidence.Measurement{{Name: "image", Algorithm: "sha-256", Digest: image[:]}},
	})
	if err != nil {
		panic(err)
	}
	key, err := device.GenerateKey(elliptic.P256())
	if err != nil {
		panic(err)
	}
	id, err := evidencetest.Identity(key)
	if err != nil {
		panic(err)
	}

	appraiser, err := verifier.New(verifier.Policy{
		Name:         "image 7 on our device",
		Roots:        vendor.Roots(),
		Measurements: map[string][][]byte{"image": {image[:]}},
		Instances:    [][]byte{device.Instance()},
	}, simulated.Extractor{})
	if err != nil {
		panic(err)
	}
	connection, err := evidencetest.Connect(crypto.SHA256)
	if err != nil {
		panic(err)
	}
	for _, attester := range []attestation.Attester{
		simulated.NewAttester(device),
		simulated.NewAttester(device, simulated.WrongNonce, simulated.DebugOn),
	} {
		result, err := connection.Exchange(context.Background(), id, attester, appraiser)
		if errors.Is(err, attestation.ErrRejected) {
			for _, check := range verifier.FailedChecks(err) {
				fmt.Println(check)
			}
			continue
		}
		fmt.Println(result.Tier(), "by policy", result.Verifier())
	}
	// Output:
	// affirming by policy image 7 on our device
	// binder: want the binder of this connection, request and key, got another
	// debug: want disabled, got enabled
}

// A policy cannot be built by omission.
func ExampleNew_incomplete() {
	_, err := verifier.New(verifier.Policy{Name: "empty"}, simulated.Extractor{})
	fmt.Println(err)
	// Output:
	// verifier: policy is not usable: set Measurements or MinVersions to your reference values
	// set Roots to the roots of the vendors you trust
	// set either Instances or AnyInstance
}

// Two Verifiers of different people must agree. The last appraisal says who voted
// how.
func ExampleNewQuorum() {
	vendor, err := simulated.NewVendor("Example", time.Now())
	if err != nil {
		panic(err)
	}
	device, err := vendor.NewDevice(simulated.DeviceOptions{Debug: evidence.DebugDisabled, SoftwareName: "firmware", SoftwareVersion: "1.9"})
	if err != nil {
		panic(err)
	}
	key, err := device.GenerateKey(elliptic.P256())
	if err != nil {
		panic(err)
	}
	id, err := evidencetest.Identity(key)
	if err != nil {
		panic(err)
	}
	member := func(name, lowest string) verifier.Member {
		a, err := verifier.New(verifier.Policy{
			Name: name, Roots: vendor.Roots(), AnyInstance: true, AllowUnlistedMeasurements: true,
			MinVersions: map[string]string{"firmware": lowest},
		}, simulated.Extractor{})
		if err != nil {
			panic(err)
		}
		return verifier.Member{Name: name, Verifier: a}
	}
	for need := 1; need <= 2; need++ {
		quorum, err := verifier.NewQuorum("ours and theirs", need, member("ours", "1.9"), member("theirs", "1.10"))
		if err != nil {
			panic(err)
		}
		connection, err := evidencetest.Connect(crypto.SHA256)
		if err != nil {
			panic(err)
		}
		result, err := connection.Exchange(context.Background(), id, simulated.NewAttester(device), quorum)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(result.Appraisals()[1].Claims["votes"])
	}
	// Output:
	// map[ours:affirming theirs:rejected: software version]
	// attestation rejected: no quorum: 2 of 2 needed, 1 said yes and 1 no; member "theirs": software version "firmware": want 1.10 or later, got "1.9"
}
