package platforms

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/verifier/policy"
)

// Simulated is the simulated TEE, which protects nothing. Its section has the field
// names_key_of_another_environment, for composite devices.
func Simulated() policy.Platform {
	return policy.Platform{
		Name: "simulated", MediaTypes: []string{simulated.MediaType}, Learn: learnPlain(simulated.Extractor{}),
		Build: func(s *policy.Section) (evidence.Extractor, error) {
			const field = "names_key_of_another_environment"
			if !s.Flag(field) {
				return simulated.Extractor{}, nil
			}
			if !s.Composite() {
				s.Fail(field, "there is no other environment", "remove it, or list the environments of a composite")
			}
			return namesKey{}, nil
		},
	}
}

// namesKey reads Evidence of a simulated TEE whose part in a composite device is to
// name the key that another environment holds and certifies: what is external to the
// TEE is then named by it.
type namesKey struct{ simulated.Extractor }

func (x namesKey) Extract(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, error) {
	c, err := x.Extractor.Extract(ctx, mediaType, value, roots, now)
	if err == nil && c.Key == evidence.KeyExternal {
		c.Key = evidence.KeyNamedBySoftware
	}
	return c, err
}

// lastLogged is the last PCR of which events can stand for the value.
const lastLogged = 15

// TPM is the TPM 2.0. Its section has the field from_log, a list of PCRs; the PCRs
// themselves are measurements.
func TPM() policy.Platform {
	return policy.Platform{
		Name: "tpm", MediaTypes: []string{tpm.MediaType}, Learn: learnPlain(tpm.Extractor{}),
		Build: func(s *policy.Section) (evidence.Extractor, error) {
			return tpm.Extractor{FromLog: s.Numbers("from_log", lastLogged)}, nil
		},
	}
}
