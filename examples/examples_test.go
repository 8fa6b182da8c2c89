package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var command = regexp.MustCompile("go run [^\n`]+")

// Every example says how it is run, and README.md says the same.
func TestReadme(t *testing.T) {
	mains, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, mains)
	var want []string
	for _, name := range mains {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		want = append(want, string(command.Find(source)))
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var got []string
	for _, c := range command.FindAll(readme, -1) {
		got = append(got, string(c))
	}
	require.ElementsMatch(t, want, got)
}
