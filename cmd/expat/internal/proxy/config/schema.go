package config

import (
	"bytes"
	_ "embed"
)

//go:embed schema.json
var schema []byte

// SchemaID is the $id of [Schema].
const SchemaID = "https://github.com/expat-go/expat/cmd/expat/internal/proxy/config/schema.json"

// Schema is the JSON Schema (draft 2020-12) of configuration files. It says what form a
// file has; what contradicts itself only [Load] sees.
func Schema() []byte { return bytes.Clone(schema) }
