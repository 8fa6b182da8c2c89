package corim

import (
	"bytes"

	"github.com/expat-go/expat/verifier/policy"
)

// Format is the name of the format in a policy file:
//
//	reference_values:
//	  - format: corim
//	    file: firmware.corim
//	    keys: [vendor.pem]
//	    profile: https://vendor.example/profiles/firmware
const Format = "corim"

// FromPolicyFile reads a CoRIM that a policy file names, for the field References of
// [policy.Options] under the name [Format]. The keys are PEM: public keys of signers,
// or certificates of roots; without any nothing is read. ClassID, Names and Now are
// those of base, for the file does not say them.
//
// What the CoRIM demands beside digests and lowest versions becomes rules, as
// [References.Limits] has them: they refuse what the CoRIM does not accept, whatever the
// other fields of the policy file say.
func FromPolicyFile(base Options) func(policy.ReferenceInput) (policy.References, error) {
	return func(in policy.ReferenceInput) (policy.References, error) {
		o := base
		o.Profiles = nil
		if in.Profile != "" {
			o.Profiles = []string{in.Profile}
		}
		if len(in.Keys) == 0 {
			return policy.References{}, fail(ErrOptions, "signer", "name the signer's keys or roots in the field keys")
		}
		if err := o.Trust(bytes.Join(in.Keys, []byte("\n"))); err != nil {
			return policy.References{}, err
		}
		r, err := Parse(in.Content, o)
		if err != nil {
			return policy.References{}, err
		}
		return policy.References{Measurements: r.Measurements, MinVersions: r.MinVersions, Rules: r.Limits()}, nil
	}
}
