package celrules

import (
	"encoding/hex"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/expat-go/expat/evidence"
)

// software and measurement are the elements of the lists, as CEL sees them.
type software struct {
	Name    string `cel:"name"`
	Version string `cel:"version"`
}

type measurement struct {
	Name      string `cel:"name"`
	Version   string `cel:"version"`
	Algorithm string `cel:"algorithm"`
	Digest    string `cel:"digest"`
}

// claims resolves the variables of one evaluation. What an expression does not name
// is not converted, and what it names in a loop is converted once.
type claims struct {
	*evidence.Claims
	lists [4]any
}

var _ cel.Activation = (*claims)(nil)

// Parent is nil: there are no other variables.
func (c *claims) Parent() cel.Activation { return nil }

// ResolveName gives the value of a variable.
func (c *claims) ResolveName(name string) (any, bool) {
	switch name {
	case "platform":
		return c.Platform, true
	case "instance":
		return hex.EncodeToString(c.Instance), true
	case "vendor":
		return hex.EncodeToString(c.Vendor), true
	case "hardware_model":
		return hex.EncodeToString(c.HardwareModel), true
	case "debug":
		return c.Debug.String(), true
	case "key":
		return c.Key.String(), true
	case "signer_serial":
		return hex.EncodeToString(c.Signer.Serial), true
	case "signer_key_id":
		return hex.EncodeToString(c.Signer.KeyID), true
	case "signer_not_after":
		return c.Signer.NotAfter, true
	case "software":
		return c.list(0, name), true
	case "measurements":
		return c.list(1, name), true
	case "versions":
		return c.list(2, name), true
	case "digests":
		return c.list(3, name), true
	}
	return nil, false
}

func (c *claims) list(i int, name string) any {
	if c.lists[i] == nil {
		c.lists[i] = c.convert(name)
	}
	return c.lists[i]
}

func (c *claims) convert(name string) any {
	switch name {
	case "software":
		list := make([]software, 0, len(c.Software))
		for _, s := range c.Software {
			list = append(list, software{s.Name, s.Version})
		}
		return list
	case "measurements":
		digests := c.hexDigests()
		list := make([]measurement, 0, len(c.Measurements))
		for i, m := range c.Measurements {
			list = append(list, measurement{m.Name, m.Version, m.Algorithm, digests[i]})
		}
		return list
	case "versions":
		versions := make([]string, 0, len(c.Software))
		for _, s := range c.Software {
			versions = append(versions, s.Version)
		}
		return byName(versions, func(i int) string { return c.Software[i].Name })
	default: // digests
		return byName(c.hexDigests(), func(i int) string { return c.Measurements[i].Name })
	}
}

// hexDigests are the digests of the measurements, in one piece of memory.
func (c *claims) hexDigests() []string {
	n := 0
	for _, m := range c.Measurements {
		n += hex.EncodedLen(len(m.Digest))
	}
	var all strings.Builder
	all.Grow(n)
	list := make([]string, 0, len(c.Measurements))
	var one [assumedLength]byte
	for _, m := range c.Measurements {
		all.Write(hex.AppendEncode(one[:0], m.Digest))
		list = append(list, all.String()[all.Len()-hex.EncodedLen(len(m.Digest)):])
	}
	return list
}

// byName sorts values by their names. Most names have one value, which stays where
// it is.
func byName(values []string, name func(i int) string) map[string][]string {
	sorted := make(map[string][]string, len(values))
	for i := range values {
		if earlier, ok := sorted[name(i)]; ok {
			sorted[name(i)] = append(earlier, values[i])
		} else {
			sorted[name(i)] = values[i : i+1 : i+1]
		}
	}
	return sorted
}
