package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// version is that of the file format.
const version = 1

// File is a group of cases.
type File struct {
	Group       string   `json:"group"`
	Version     int      `json:"version"`
	Description string   `json:"description"`
	Reasons     []string `json:"reasons,omitempty"`
	Cases       []Case   `json:"cases"`
}

// The results of a case.
const (
	resultValid   = "valid"
	resultInvalid = "invalid"
)

// Case is one input and what must come of it.
type Case struct {
	ID       string          `json:"id"`
	Comment  string          `json:"comment"`
	Source   string          `json:"source,omitempty"`
	Result   string          `json:"result"`
	Reason   string          `json:"reason,omitempty"`
	Input    json.RawMessage `json:"input"`
	Expected json.RawMessage `json:"expected,omitempty"`
}

// Bytes is a byte string, in JSON lower-case hex. A pointer to it may be null.
type Bytes []byte

// MarshalJSON encodes b in hex.
func (b Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(b)) }

// UnmarshalJSON decodes lower-case hex and nothing else.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil || s == nil {
		return errors.New("want bytes in hex")
	}
	if strings.ToLower(*s) != *s {
		return errors.New("want hex in lower case")
	}
	var err error
	*b, err = hex.DecodeString(*s)
	return err
}

// decode reads JSON into a struct that has exactly its members: none unknown,
// none missing.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("bytes follow the JSON value")
	}
	again, err := json.Marshal(into)
	if err != nil {
		return err
	}
	return same(data, again)
}

// same compares two JSON values and names a place where they differ.
func same(want, got []byte) error {
	w, err := generic(want)
	if err != nil {
		return err
	}
	g, err := generic(got)
	if err != nil {
		return err
	}
	if at := difference("", w, g); at != "" {
		return errors.New(at)
	}
	return nil
}

func generic(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a float64 would round
	err = d.Decode(&v)
	return v, err
}

// difference returns "" for equal values.
func difference(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return memberDifference(at, w, g)
		}
	case []any:
		if g, ok := got.([]any); ok && len(w) == len(g) {
			for i := range w {
				if d := difference(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); d != "" {
					return d
				}
			}
			return ""
		}
	}
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return fmt.Sprintf("%s: file has %s, computed %s", strings.TrimPrefix(at, "."), brief(want), brief(got))
}

func memberDifference(at string, want, got map[string]any) string {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[k]; !ok {
			return strings.TrimPrefix(at+"."+k, ".") + ": no such member is defined"
		}
		if d := difference(at+"."+k, want[k], got[k]); d != "" {
			return d
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			return strings.TrimPrefix(at+"."+k, ".") + ": missing"
		}
	}
	return ""
}

func brief(v any) string {
	b, err := json.Marshal(v)
	if err != nil || len(b) <= 200 {
		return string(b)
	}
	return string(b[:200]) + "…"
}

var idPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// parseFile reads a group file and checks all that is not about the content of
// its cases.
func parseFile(data []byte, group string, reasons []string) (*File, error) {
	f := new(File)
	if err := decode(data, f); err != nil {
		return nil, err
	}
	switch {
	case f.Group != group:
		return nil, fmt.Errorf("group is %q, the file's name says %q", f.Group, group)
	case f.Version != version:
		return nil, fmt.Errorf("version %d, want %d", f.Version, version)
	case f.Description == "":
		return nil, errors.New("no description")
	case !slices.Equal(f.Reasons, reasons):
		return nil, fmt.Errorf("reasons are %q, want %q", f.Reasons, reasons)
	case len(f.Cases) == 0:
		return nil, errors.New("no cases")
	}
	seen := make(map[string]bool)
	for _, c := range f.Cases {
		if seen[c.ID] {
			return nil, fmt.Errorf("case %q occurs twice", c.ID)
		}
		seen[c.ID] = true
		if err := c.checkForm(reasons); err != nil {
			return nil, fmt.Errorf("case %q: %w", c.ID, err)
		}
	}
	return f, nil
}

func (c *Case) checkForm(reasons []string) error {
	switch {
	case !idPattern.MatchString(c.ID):
		return fmt.Errorf("the id does not match %v", idPattern)
	case c.Comment == "":
		return errors.New("no comment")
	case c.Result == resultValid && c.Reason != "":
		return errors.New("a valid case has a reason")
	case c.Result == resultValid && len(c.Expected) == 0:
		return errors.New("a valid case expects nothing")
	case c.Result == resultInvalid && !slices.Contains(reasons, c.Reason):
		return fmt.Errorf("reason %q is not one of the group's", c.Reason)
	case c.Result != resultValid && c.Result != resultInvalid:
		return fmt.Errorf("result %q", c.Result)
	}
	return nil
}
