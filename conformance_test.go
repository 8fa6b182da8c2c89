package expat

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the tests named in docs/conformance.md")

const conformanceFile = "docs/conformance.md"

// requirements is how many numbers each section has.
var requirements = map[string]int{"A": 44, "B": 22, "C": 10, "D": 5, "E": 11, "F": 3, "G": 14, "H": 5}

// excuses begin the "how" of a requirement that no test can show.
var excuses = []string{"Not done:", "Not ours:", "Note:", "By construction:"}

var (
	requirementRow    = regexp.MustCompile(`(?m)^\| ([A-H]-\d+) \| (.+?) \| (.+?) \|(.*?)\|$`)
	vectorRow         = regexp.MustCompile(`(?m)^\| (\w+) \| ([a-z0-9-]+) \| ((?:[A-I]-\d+(?:, )?)+) \|$`)
	requirementNumber = regexp.MustCompile(`\b[A-H]-\d+\b`)
)

// TestConformance checks that docs/conformance.md has every requirement once,
// and names exactly the tests that name it.
func TestConformance(t *testing.T) {
	text, err := os.ReadFile(conformanceFile)
	require.NoError(t, err)
	tests := testsByRequirement(t)
	if *update {
		text = requirementRow.ReplaceAllFunc(text, func(row []byte) []byte {
			m := requirementRow.FindSubmatch(row)
			return fmt.Appendf(nil, "| %s | %s | %s | %s |", m[1], m[2], m[3], evidenceFor(tests[string(m[1])]))
		})
		require.NoError(t, os.WriteFile(conformanceFile, text, 0o644))
	}
	seen := map[string]bool{}
	for _, m := range requirementRow.FindAllSubmatch(text, -1) {
		number, how, named := string(m[1]), string(m[3]), strings.TrimSpace(string(m[4]))
		require.False(t, seen[number], "%s has two rows", number)
		seen[number] = true
		require.Equal(t, evidenceFor(tests[number]), named, "%s: run go test -run TestConformance -update .", number)
		excused := slices.ContainsFunc(excuses, func(e string) bool { return strings.HasPrefix(how, e) })
		require.True(t, excused || len(tests[number]) > 0, "%s has neither a test nor a reason for that", number)
	}
	for section, n := range requirements {
		for i := 1; i <= n; i++ {
			require.True(t, seen[fmt.Sprintf("%s-%d", section, i)], "%s-%d has no row", section, i)
		}
	}
	require.Zero(t, bytes.Count(text, []byte("\n| I-")))
}

// TestConformanceVectors checks that docs/conformance.md has a row for each reason of
// each group of vectors, and for each group's valid cases.
func TestConformanceVectors(t *testing.T) {
	text, err := os.ReadFile(conformanceFile)
	require.NoError(t, err)
	rows := map[string]bool{}
	for _, m := range vectorRow.FindAllSubmatch(text, -1) {
		row := fmt.Sprintf("%s %s", m[1], m[2])
		require.False(t, rows[row], "%s has two rows", row)
		rows[row] = true
	}
	files, err := filepath.Glob("testdata/vectors/*.json")
	require.NoError(t, err)
	used := map[string]bool{}
	for _, name := range files {
		var file struct {
			Group string
			Cases []struct{ ID, Reason string }
		}
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &file), name)
		for _, c := range file.Cases {
			reason := or(c.Reason, "valid")
			require.True(t, rows[file.Group+" "+reason], "%s: %s %s has no row", c.ID, file.Group, reason)
			used[file.Group+" "+reason] = true
		}
	}
	require.NotEmpty(t, used)
	require.Equal(t, used, rows)
}

// evidenceFor is the last cell of a row: some of the tests, and how many more.
func evidenceFor(tests []string) string {
	const most = 4
	if len(tests) == 0 {
		return "–"
	}
	cell := strings.Join(tests[:min(most, len(tests))], ", ")
	if len(tests) > most {
		cell += fmt.Sprintf(" and %d more", len(tests)-most)
	}
	return cell
}

// testsByRequirement finds the tests and fuzz targets whose text or comment
// contains a requirement's number.
func testsByRequirement(t *testing.T) map[string][]string {
	out := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || d.Name() == "conformance_test.go" {
			return err
		}
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !(strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				continue
			}
			start := f.Pos()
			if f.Doc != nil {
				start = f.Doc.Pos()
			}
			body := src[fset.Position(start).Offset:fset.Position(f.End()).Offset]
			name := "`" + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path))+".", "..") + f.Name.Name + "`"
			for _, number := range requirementNumber.FindAllString(string(body), -1) {
				if !slices.Contains(out[number], name) {
					out[number] = append(out[number], name)
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, out)
	for _, tests := range out {
		slices.Sort(tests)
	}
	return out
}
