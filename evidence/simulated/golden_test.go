package simulated

import (
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// A token that this package once made, and the root of its vendor. They keep the
// format from changing unnoticed and give fuzzing a signature that verifies in
// every process.
var (
	//go:embed testdata/token.cbor
	goldenToken []byte
	//go:embed testdata/root.pem
	goldenRoot []byte
)

// extractGolden extracts at a time when the golden token's chain is valid.
func extractGolden(t testing.TB, token []byte) (*evidence.Claims, error) {
	t.Helper()
	block, _ := pem.Decode(goldenRoot)
	require.NotNil(t, block)
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return Extractor{}.Extract(context.Background(), MediaType, token, roots, root.NotBefore.Add(time.Hour))
}

func TestGoldenToken(t *testing.T) {
	t.Parallel()
	c, err := extractGolden(t, goldenToken)
	require.NoError(t, err)
	require.Equal(t, []byte("model"), c.HardwareModel)
	require.Equal(t, testOptions().Measurements, c.Measurements)
	require.Equal(t, evidence.KeyBornInside, c.Key)
	require.Len(t, c.Binder, 32)
	require.Len(t, c.KeyHash, 32)
}
