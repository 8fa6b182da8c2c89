package inspect

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/testdata/vectors"
)

// at is when the certificates of the captured reports are valid.
var at = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// group is what of a file of vectors is looked at here.
type group struct {
	Cases []struct {
		ID, Result string
		Input      map[string]any
		Expected   map[string]any
	}
}

func load(t testing.TB, name string) group {
	t.Helper()
	b, err := vectors.Files.ReadFile(name + ".json")
	require.NoError(t, err)
	var g group
	require.NoError(t, json.Unmarshal(b, &g))
	require.NotEmpty(t, g.Cases)
	return g
}

func unhex(t testing.TB, v any) []byte {
	t.Helper()
	text, ok := v.(string)
	require.True(t, ok)
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

func field(r *Report, name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func inspectAll(t testing.TB, b []byte, o Options) *Report {
	t.Helper()
	r, err := Inspect(context.Background(), b, o)
	require.NoError(t, err)
	require.False(t, r.Verified)
	require.True(t, strings.HasPrefix(r.Note, NothingVerified))
	return r
}

func root(t testing.TB, dir string) []*x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../evidence", dir, "testdata/root.pem"))
	require.NoError(t, err)
	block, _ := pem.Decode(b)
	require.NotNil(t, block)
	c, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return []*x509.Certificate{c}
}

func captured(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../evidence", path))
	require.NoError(t, err)
	return b
}
