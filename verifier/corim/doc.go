// Package corim takes reference values from a Concise Reference Integrity
// Manifest (draft-ietf-rats-corim), the form in which makers of hardware and
// software publish and sign them, and puts them into a [verifier.Policy].
//
//	raw, _ := os.ReadFile("firmware.corim")
//	refs, err := corim.Parse(raw, corim.Options{
//		Keys:     keys, // who may state reference values
//		Profiles: []string{"https://vendor.example/profiles/firmware"},
//	})
//	...
//	err = refs.Apply(&policy)
//
// A CoRIM can say more than a policy can judge. What would restrict and has no
// counterpart, as an endorsed value, a raw value with a mask or a group, is an
// error ([ErrUnsupported]) and never dropped: a policy made of a CoRIM accepts
// nothing that the CoRIM does not. docs/corim.md has the whole mapping.
//
// The package is a module of its own, since the CoRIM libraries are many.
package corim
