package simulated_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
)

// A device attests a key that was generated in it, and no other.
func Example() {
	vendor, err := simulated.NewVendor("Example", time.Now())
	if err != nil {
		panic(err)
	}
	device, err := vendor.NewDevice(simulated.DeviceOptions{SoftwareName: "firmware", SoftwareVersion: "1.2"})
	if err != nil {
		panic(err)
	}
	inside, err := device.GenerateKey(elliptic.P256())
	if err != nil {
		panic(err)
	}
	outside, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	attester := simulated.NewAttester(device)
	for _, key := range []crypto.Signer{inside, outside} {
		id, err := evidencetest.Identity(key) // a certificate for the key
		if err != nil {
			panic(err)
		}
		_, message, err := evidencetest.Attest(context.Background(), crypto.SHA256, id, attester)
		if errors.Is(err, simulated.ErrKeyNotBorn) {
			fmt.Println("refused: the key is not of this device")
			continue
		}
		claims, err := simulated.Extractor{}.Extract(context.Background(), simulated.MediaType,
			message.Leaves()[0].Value, vendor.Roots(), time.Now())
		if err != nil {
			panic(err)
		}
		fmt.Println(claims.Software, claims.Key)
	}
	// Output:
	// [{firmware 1.2}] born-inside
	// refused: the key is not of this device
}
