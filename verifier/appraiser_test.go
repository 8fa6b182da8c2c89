package verifier_test

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence/simulated"
)

// B-14, C-4, C-5, D-1, D-2: Evidence that is signed, bound and good is accepted,
// for both hashes of TLS 1.3.
func TestAccepts(t *testing.T) {
	t.Parallel()
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		t.Run(h.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, deviceOptions())
			r, err := exchange(t, h, l.id, simulated.NewAttester(l.device), appraiser(t, l.policy))
			require.NoError(t, err)
			require.Equal(t, attestation.TierAffirming, r.Tier())
			require.Equal(t, "test policy", r.Verifier())
			require.Equal(t, 24*time.Hour, r.Lifetime())
			require.Len(t, r.Binding().Binder(), h.Size())
			got := r.Appraisals()[0]
			require.Equal(t, attestation.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 2, Hardware: 2}, got.Vector)
			require.Equal(t, simulated.Platform, got.Environment)
			require.Equal(t, hex.EncodeToString(instance), got.Instance)
			require.Equal(t, "born-inside", got.Claims["key"])
			text, err := json.Marshal(r)
			require.NoError(t, err)
			require.NotContains(t, string(text), hex.EncodeToString(r.Binding().Binder()))
		})
	}
}
