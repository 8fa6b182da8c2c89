package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write schema.json anew")

// required are the fields that a section of a type must have whatever else it says.
var required = map[reflect.Type][]string{
	reflect.TypeFor[File]():       {"version", "proxies"},
	reflect.TypeFor[Admin]():      {"listen"},
	reflect.TypeFor[Proxy]():      {"name", "side", "listen", "upstreams"},
	reflect.TypeFor[Remote]():     {"url", "keys"},
	reflect.TypeFor[Quorum]():     {"need", "members"},
	reflect.TypeFor[Member]():     {"name"},
	reflect.TypeFor[Passport]():   {"keys"},
	reflect.TypeFor[BackendTLS](): {"roots", "server_name"},
	reflect.TypeFor[Result]():     {"key"},
}

// schemaOf describes a type by its tags.
func schemaOf(t reflect.Type, enum string) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`}
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), enum)
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "minItems": 1, "items": schemaOf(t.Elem(), "")}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0, "maximum": 1<<31 - 1}
	case enum != "":
		return map[string]any{"enum": strings.Split(enum, ",")}
	case t.Kind() == reflect.String:
		return map[string]any{"type": "string", "minLength": 1}
	}
	properties := make(map[string]any)
	for i := range t.NumField() {
		f := t.Field(i)
		s := schemaOf(f.Type, f.Tag.Get("enum"))
		s["description"] = f.Tag.Get("doc")
		properties[f.Tag.Get("yaml")] = s
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "minProperties": 1, "properties": properties}
	if names := required[t]; names != nil {
		out["required"] = names
	}
	return out
}

// The published schema is what the types say.
func TestSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	s := schemaOf(reflect.TypeFor[File](), "")
	s["$schema"], s["$id"], s["title"] = "https://json-schema.org/draft/2020-12/schema", SchemaID, "Configuration of expat proxy"
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	require.NoError(t, e.Encode(s))
	if *update {
		require.NoError(t, os.WriteFile("schema.json", want.Bytes(), 0o644))
		return
	}
	require.Equal(t, want.String(), string(Schema()), "run go test -update")
}

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(SchemaID, doc))
	s, err := c.Compile(SchemaID)
	require.NoError(t, err)
	return s
}

// Every field is described.
func TestFieldsAreDescribed(t *testing.T) {
	t.Parallel()
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			require.NotEmpty(t, f.Tag.Get("yaml"), f.Name)
			require.True(t, strings.HasSuffix(f.Tag.Get("doc"), "."), f.Name)
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[File]())
}
