package expat

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/expat-go/expat"

// mayImport is the layering: what each package may import of this module.
// Packages under cmd and examples are users and may import anything public.
var mayImport = map[string][]string{
	".":                         {"attestation", "authenticator", "internal/bounded", "internal/wire"},
	"authenticator":             {"internal/bounded"},
	"cmw":                       {},
	"attestation":               {"authenticator", "cmw", "internal/bounded"},
	"evidence":                  {"attestation", "cmw"},
	"evidence/simulated":        {"attestation", "cmw", "evidence", "internal/detcbor"},
	"evidence/composite":        {"attestation", "cmw"},
	"evidence/fetch":            {},
	"evidence/sevsnp":           {"attestation", "cmw", "evidence", "evidence/fetch", "internal/detcbor", "internal/tsm"},
	"evidence/tpm":              {"attestation", "cmw", "evidence", "internal/detcbor"},
	"evidence/tpm/enroll":       {"evidence", "evidence/tpm"},
	"evidence/tdx":              {"attestation", "cmw", "evidence", "evidence/fetch", "internal/detcbor", "internal/tsm"},
	"evidence/evidencetest":     {".", "attestation", "authenticator", "cmw", "internal/testca"},
	"verifier":                  {"attestation", "cmw", "evidence"},
	"verifier/ear":              {"attestation"},
	"verifier/passport":         {"attestation", "cmw", "internal/bounded", "verifier/ear"},
	"verifier/corim":            {"evidence", "verifier", "verifier/policy"},
	"verifier/celrules":         {"evidence", "verifier"},
	"verifier/policy":           {"attestation", "cmw", "evidence", "internal/strictyaml", "verifier"},
	"verifier/policy/platforms": {"evidence", "evidence/fetch", "evidence/sevsnp", "evidence/simulated", "evidence/tdx", "evidence/tpm", "verifier/policy"},
	"expathttp":                 {".", "attestation"},
	"expatspiffe":               {},
	"rotate":                    {},
	"expatgrpc":                 {".", "attestation", "expathttp"},
	"expatquic":                 {".", "attestation", "authenticator"},
	"verifier/remote":           {"attestation", "cmw", "verifier/ear"},
	"verifier/service":          {"attestation", "cmw", "internal/bounded", "verifier/ear"},
	"internal/veraisonfake":     {},
	"internal/soak":             {},
	"internal/vectors":          {"attestation", "authenticator", "cmw", "evidence", "evidence/simulated", "internal/wire"},
	"internal/bounded":          {},
	"internal/detcbor":          {},
	"internal/strictyaml":       {},
	"internal/tsm":              {},
	"internal/wire":             {},
	"internal/testca":           {},
	"internal/tlspair":          {},
	// Users' tests import these two; only simparty knows a platform.
	"attacktest":          {".", "attestation", "authenticator", "cmw", "internal/wire"},
	"attacktest/simparty": {"attestation", "attacktest", "cmw", "evidence/simulated"},
}

func TestLayering(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name == "testdata" || name == "docs" || (strings.HasPrefix(name, ".") && dir != ".") {
			return fs.SkipDir
		}
		slash := filepath.ToSlash(dir)
		p, err := build.ImportDir(dir, 0)
		if _, none := err.(*build.NoGoError); none {
			return nil
		}
		require.NoError(t, err)
		if strings.HasPrefix(slash+"/", "cmd/") || strings.HasPrefix(slash+"/", "examples/") {
			return nil
		}
		allowed, listed := mayImport[slash]
		require.True(t, listed, "%s is not in the layering table", slash)
		for _, path := range p.Imports {
			if path == module {
				path = module + "/."
			}
			if rel, ours := strings.CutPrefix(path, module+"/"); ours && !slices.Contains(allowed, rel) {
				t.Errorf("%s imports %s", slash, rel)
			}
		}
		seen++
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, len(mayImport), seen, "a package of the table is missing")
}
