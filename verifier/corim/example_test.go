package corim_test

import (
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/corim"
)

// A vendor's release, made and signed with the Veraison command line from the JSON
// files beside it, becomes part of a policy.
func Example() {
	raw, err := os.ReadFile("testdata/guest.corim")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := os.ReadFile("testdata/vendor.pem")
	if err != nil {
		log.Fatal(err)
	}
	o := corim.Options{
		Profiles: []string{"https://vendor.example/profiles/guest"},
		Now:      func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) },
	}
	if err := o.Trust(keys); err != nil {
		log.Fatal(err)
	}
	refs, err := corim.Parse(raw, o)
	if err != nil {
		log.Fatal(err)
	}
	p := verifier.Policy{Name: "guest", AnyInstance: true} // and Roots
	if err := refs.Apply(&p); err != nil {
		log.Fatal(err)
	}
	fmt.Println(hex.EncodeToString(p.Measurements["launch"][0])[:16])
	fmt.Printf("%s\n", p.HardwareModels)
	fmt.Println(p.Rules[0].Name)
	// Output:
	// 07563475483c7a25
	// [Milan]
	// CoRIM "guest-image-2026.11": valid
}
