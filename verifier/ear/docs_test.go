package ear

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// The example of docs/ear.md is what the issuer writes.
func TestDocumentedExample(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	secret := make([]byte, coordinate)
	secret[coordinate-1] = 1
	attested, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
	require.NoError(t, err)
	p.binding = newBinding(t, attested.Public(), 7)
	s := p.statement(attestation.Appraisal{
		Environment: "tee",
		Status:      attestation.TierAffirming,
		Vector:      attestation.TrustVector{InstanceIdentity: 2, Executables: 2, Hardware: 2},
		Policy:      "production",
		Instance:    "01ab",
		Claims:      map[string]any{"debug": "disabled"},
	})
	s.Audience = "https://relying-party.example"
	parsed, err := parseToken(p.issue(t, s))
	require.NoError(t, err)
	var example bytes.Buffer
	require.NoError(t, json.Indent(&example, parsed.payload, "", "  "))
	page, err := os.ReadFile("../../docs/ear.md")
	require.NoError(t, err)
	require.Contains(t, strings.ReplaceAll(string(page), "\r\n", "\n"), "```json\n"+example.String()+"\n```\n")
}
