package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const page = "../../../../../docs/sidecar.md"

// table has a row for every field, in the order of the types; the fields of a type that
// several have stand where it is met first.
func table(b *strings.Builder, t reflect.Type, path string, met map[reflect.Type]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := strings.TrimPrefix(path+"."+f.Tag.Get("yaml"), ".")
		inner, list := f.Type, ""
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice {
				list = "[]"
			}
			inner = inner.Elem()
		}
		doc := f.Tag.Get("doc")
		if words := f.Tag.Get("enum"); words != "" && !strings.Contains(doc, strings.Split(words, ",")[0]+": ") {
			doc = "`" + strings.ReplaceAll(words, ",", "`, `") + "`. " + doc
		}
		first, before := met[inner]
		if before {
			doc += " Its fields are those of `" + first + "`."
		}
		fmt.Fprintf(b, "| `%s%s` | %s |\n", name, list, doc)
		if inner.Kind() == reflect.Struct && !before {
			met[inner] = name + list
			table(b, inner, name+list, met)
		}
	}
}

// The page describes every field as the types do.
func TestPageDescribesFields(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	want.WriteString("| field | what it says |\n|---|---|\n")
	table(&want, reflect.TypeFor[File](), "", make(map[reflect.Type]string))
	got, err := os.ReadFile(page)
	require.NoError(t, err)
	if *update {
		text := string(got)
		if i := strings.Index(text, "| field | what it says |"); i >= 0 {
			end := i + strings.Index(text[i:], "\n\n") + 1
			text = text[:i] + want.String() + text[end:]
		} else {
			text = strings.Replace(text, "FIELDS\n", want.String(), 1)
		}
		require.NoError(t, os.WriteFile(page, []byte(text), 0o644))
		return
	}
	require.Contains(t, string(got), want.String(), "run go test -update")
}

// The configurations on the page are good, and nothing that they say is a mistake to the
// schema.
func TestPageConfigurations(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	parts := strings.Split(string(b), "```yaml\n")[1:]
	require.Len(t, parts, 2)
	for _, text := range parts {
		text, _, ok := strings.Cut(text, "```")
		require.True(t, ok)
		f, err := Parse("/etc/expat/sidecar.yaml", []byte(text))
		require.NoError(t, err)
		if v := f.Proxies[0].Verify; v.Quorum == nil {
			require.Equal(t, "/etc/expat/policy.yaml", v.Policy)
		} else {
			require.Equal(t, "/etc/expat/policy.yaml", v.Quorum.Members[0].Policy)
			require.Equal(t, "/etc/expat/one.jwks", v.Quorum.Members[1].Remote.Keys)
			require.Equal(t, "https://one.example:8443/.well-known/jwks.json", f.Proxies[1].Verify.Passport.Keys, "no file")
		}
		var doc any
		require.NoError(t, yaml.Unmarshal([]byte(text), &doc))
		require.NoError(t, compiled(t).Validate(doc))
	}
}
