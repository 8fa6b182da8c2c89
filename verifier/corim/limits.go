package corim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier"
)

// Limits is everything but Measurements and MinVersions as rules, for who keeps
// those two apart from a [verifier.Policy]: Rules, the identifiers, and that debug is
// off.
func (r *References) Limits() []verifier.Rule {
	prefix := fmt.Sprintf("CoRIM %q: ", r.Provenance.ID)
	rules := slices.Clone(r.Rules)
	for _, l := range []struct {
		name string
		good [][]byte
		of   func(c *evidence.Claims) []byte
	}{
		{"vendor", r.Vendors, func(c *evidence.Claims) []byte { return c.Vendor }},
		{"hardware model", r.HardwareModels, func(c *evidence.Claims) []byte { return c.HardwareModel }},
		{"instance", r.Instances, func(c *evidence.Claims) []byte { return c.Instance }},
	} {
		if l.good == nil {
			continue
		}
		rules = append(rules, verifier.Rule{Name: prefix + l.name, Check: func(_ context.Context, c *evidence.Claims) error {
			id := l.of(c)
			if !slices.ContainsFunc(l.good, func(b []byte) bool { return bytes.Equal(b, id) }) {
				return errors.New("the reference values are for another " + l.name)
			}
			return nil
		}})
	}
	if r.DebugOff {
		rules = append(rules, verifier.Rule{Name: prefix + "debug off", Check: func(_ context.Context, c *evidence.Claims) error {
			if !c.Debug.Off() {
				return fmt.Errorf("debug is %v", c.Debug)
			}
			return nil
		}})
	}
	return rules
}
