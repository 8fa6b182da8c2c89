package policy

import (
	"bytes"
	_ "embed"
)

//go:embed schema.json
var schema []byte

// SchemaID is the $id of [Schema].
const SchemaID = "https://github.com/expat-go/expat/verifier/policy/schema.json"

// Schema is the JSON Schema (draft 2020-12) of policy files. It says what form a
// file has; what contradicts itself, and files that it names, only [Parse] sees.
func Schema() []byte { return bytes.Clone(schema) }
