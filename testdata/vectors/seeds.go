package vectors

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Seeds returns one member of the input of every case of a group, which must be
// bytes, for the seeds of fuzz targets. That there is none is an error.
func Seeds(group, member string) ([][]byte, error) {
	b, err := Files.ReadFile(group + ".json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Cases []struct{ Input map[string]any }
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, c := range file.Cases {
		text, ok := c.Input[member].(string)
		if !ok {
			continue
		}
		seed, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("vectors: %s: %s: %w", group, member, err)
		}
		out = append(out, seed)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("vectors: no case of %s has a %s", group, member)
	}
	return out, nil
}
