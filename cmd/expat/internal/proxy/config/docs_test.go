package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const page = "../../../../../docs/sidecar.md"

// table has a row for every field, in the order of the types.
func table(b *strings.Builder, t reflect.Type, path string) {
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
		fmt.Fprintf(b, "| `%s%s` | %s |\n", name, list, doc)
		if inner.Kind() == reflect.Struct {
			table(b, inner, name+list)
		}
	}
}

// The page describes every field as the types do.
func TestPageDescribesFields(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	want.WriteString("| field | what it says |\n|---|---|\n")
	table(&want, reflect.TypeFor[File](), "")
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

// The configuration on the page is good.
func TestPageConfiguration(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(b), "```yaml\n")
	require.True(t, ok)
	text, _, ok = strings.Cut(text, "```")
	require.True(t, ok)
	f, err := Parse("/etc/expat/sidecar.yaml", []byte(text))
	require.NoError(t, err)
	require.Equal(t, "/etc/expat/policy.yaml", f.Proxies[0].Verify.Policy)
}
