// Package vectors embeds the published interop vectors, for the command and for
// tests of this module. README.md specifies their format.
package vectors

import "embed"

// Files holds the group files, keys.json and schema/.
//
//go:embed *.json schema/*.json
var Files embed.FS
