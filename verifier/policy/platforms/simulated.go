package platforms

import (
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/verifier/policy"
)

// Simulated is the simulated TEE, which protects nothing. Its section has no fields.
func Simulated() policy.Platform {
	return policy.Platform{
		Name: "simulated", MediaTypes: []string{simulated.MediaType}, Learn: learnPlain(simulated.Extractor{}),
		Build: func(*policy.Section) (evidence.Extractor, error) {
			return simulated.Extractor{Chains: new(evidence.Chains)}, nil
		},
	}
}

// lastLogged is the last PCR of which events can stand for the value.
const lastLogged = 15

// TPM is the TPM 2.0. Its section has the field from_log, a list of PCRs; the PCRs
// themselves are measurements.
func TPM() policy.Platform {
	return policy.Platform{
		Name: "tpm", MediaTypes: []string{tpm.MediaType}, Learn: learnPlain(tpm.Extractor{}),
		Build: func(s *policy.Section) (evidence.Extractor, error) {
			return tpm.Extractor{FromLog: s.Numbers("from_log", lastLogged), Chains: new(evidence.Chains)}, nil
		},
	}
}
