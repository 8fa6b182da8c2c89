package policy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/policy"
)

// Every policy of the documentation is good, to the parser and to the schema.
func TestExamples(t *testing.T) {
	t.Parallel()
	dir, schema := newLab(t).dir(t), compileSchema(t)
	write(t, filepath.Join(dir, "values.cbor"), "x")
	o := options()
	o.Rules = func(name, _ string) (verifier.Rule, error) { return pass(name), nil }
	o.References = map[string]func(policy.ReferenceInput) (policy.References, error){
		"corim": func(policy.ReferenceInput) (policy.References, error) {
			return policy.References{MinVersions: map[string]string{"x": "1"}}, nil
		},
	}
	all := examples(t)
	require.Len(t, all, 6)
	for _, text := range all {
		require.NoError(t, validate(t, schema, text), text)
		_, err := parse(dir, text, o)
		require.NoError(t, err, text)
	}
}

// Every field is documented.
func TestDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	names := regexp.MustCompile(`(?m)^ +"([a-z_]+)": (?:\{|false)`).FindAllStringSubmatch(string(policy.Schema()), -1)
	require.Greater(t, len(names), 60)
	for _, n := range names {
		switch n[1] {
		case "properties", "items", "if", "then", "else", "not", "leaf", "environment", "const":
			continue
		}
		require.True(t, strings.Contains(string(doc), n[1]), n[1])
	}
}
