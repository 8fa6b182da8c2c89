package cmw_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/expat-go/expat/cmw"
)

func Example() {
	// Attester side: one item for each attesting environment.
	tpm, err := cmw.NewRecord("application/vnd.expat-go.tpm2+cbor", []byte{0xa0}, cmw.Evidence)
	if err != nil {
		panic(err)
	}
	eat, err := cmw.NewTag("application/eat+cwt", []byte{0xd2})
	if err != nil {
		panic(err)
	}
	sent, err := cmw.NewCollection("tag:example.com,2026:device", []cmw.Item{
		{Label: cmw.TextLabel("boot"), Message: tpm},
		{Label: cmw.IntLabel(1), Message: eat},
	})
	if err != nil {
		panic(err)
	}
	wire, err := sent.MarshalCBOR()
	if err != nil {
		panic(err)
	}

	// Relying party side: nothing is known of these bytes.
	received, err := cmw.Decode(wire)
	if err != nil {
		panic(err)
	}
	fmt.Println(received.Kind(), received.CollectionType())
	for _, leaf := range received.Leaves() {
		fmt.Println(leaf.Path, leaf.MediaType, leaf.Indicator)
	}
	// Output:
	// collection tag:example.com,2026:device
	// [1] application/eat+cwt none
	// [boot] application/vnd.expat-go.tpm2+cbor evidence
}

// Decode refuses what other parsers read in two ways.
func ExampleDecode() {
	_, err := cmw.Decode([]byte(`{"tee":["a/b","YQ"],"tee":["a/b","Yg"]}`))
	fmt.Println(errors.Is(err, cmw.ErrDuplicateLabel))
	fmt.Println(err)
	// Output:
	// true
	// cmw: decode: at byte 25: label occurs twice in one collection
}

func BenchmarkDecode(b *testing.B) {
	for name, wire := range map[string]string{
		"CBORRecord": "83736170706c69636174696f6e2f6561742b63777442010204",
		"JSONRecord": `["application/eat+cwt","AQI",4]`,
		"CBORTag":    "da637402094101",
	} {
		raw := wireBytes(wire)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cmw.Decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
