package celrules_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/celrules"
)

var kernelHex = strings.Repeat("4b", 32)

// sample is what a device says that states everything.
func sample() *evidence.Claims {
	return &evidence.Claims{
		Platform: "simulated", Form: evidence.BinderAndKeyHash, Binder: []byte{0xb1}, KeyHash: []byte{0xb2},
		Instance: []byte{1, 0xab}, Vendor: []byte{2}, HardwareModel: []byte("model-1"),
		Debug:    evidence.DebugDisabledSinceBoot,
		Key:      evidence.KeyBornInside,
		Software: []evidence.Software{{Name: "firmware", Version: "1.10.2"}, {Name: "loader", Version: "2-rc1"}, {Name: "loader", Version: "3"}},
		Measurements: []evidence.Measurement{
			{Name: "kernel", Version: "6.1", Algorithm: "sha-256", Digest: bytes.Repeat([]byte{0x4b}, 32)},
			{Name: "app", Algorithm: "sha-384", Digest: bytes.Repeat([]byte{0xa0}, 48)},
			{Name: "app", Algorithm: "sha-384", Digest: bytes.Repeat([]byte{0xa1}, 48)},
		},
		Signer: evidence.Signer{Serial: []byte{5}, KeyID: []byte{6, 7}, NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)},
	}
}

// one compiles an expression to its rule.
func one(t testing.TB, text string) verifier.Rule {
	t.Helper()
	rules, err := celrules.Compile(celrules.Expression{Name: "r", CEL: text})
	require.NoError(t, err, text)
	require.Len(t, rules, 1)
	require.Equal(t, "r", rules[0].Name)
	return rules[0]
}
