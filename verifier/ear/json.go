package ear

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth is the number of nested objects and arrays in a token or key set; an
// EAR of ours uses five and the claims of the platforms few more.
const maxDepth = 16

// decodeObject reads one JSON object, strictly: valid UTF-8, at most maxDepth
// levels, no member name twice in an object (decoders keep the last of two
// silently, others the first), nothing after it. Numbers become [json.Number].
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	if err := checkShape(data); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, errors.New("not a JSON object") // the decoder's text repeats the input
	}
	if object == nil {
		return nil, errors.New("not a JSON object, but null")
	}
	if rest := bytes.TrimLeft(data[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, errors.New("more than one JSON object")
	}
	return object, nil
}

// level is an object or array that is open.
type level struct {
	object bool
	inName bool            // the next string is a member name
	first  [8][]byte       // the first member names,
	number int             // how many of them there are,
	others map[string]bool // and those that follow
}

// checkShape looks at nesting and member names only. Text that is not JSON may
// pass; the decoder then refuses it.
func checkShape(data []byte) error {
	var open [maxDepth]level
	depth := 0
	for i := 0; i < len(data); i++ {
		top := &open[max(depth-1, 0)]
		switch data[i] {
		case '{', '[':
			if depth == maxDepth {
				return fmt.Errorf("nested deeper than %d levels", maxDepth)
			}
			object := data[i] == '{'
			open[depth] = level{object: object, inName: object}
			depth++
		case '}', ']':
			if depth == 0 {
				return errors.New("not a JSON object")
			}
			depth--
		case ',':
			top.inName = top.object
		case ':':
			top.inName = false
		case '"':
			end := stringEnd(data, i)
			if end < 0 {
				return errors.New("a string does not end")
			}
			if depth > 0 && top.inName {
				if err := top.add(data[i : end+1]); err != nil {
					return err
				}
			}
			i = end
		}
	}
	return nil
}

// add notes a member name, a JSON string with its quotes. Most objects have few names,
// which are compared one by one; a map serves those that a hostile one has.
func (l *level) add(quoted []byte) error {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(quoted, '\\') >= 0 {
		var unescaped string
		if err := json.Unmarshal(quoted, &unescaped); err != nil {
			return errors.New("a member name is not a JSON string")
		}
		name = []byte(unescaped)
	}
	same := func(other []byte) bool { return bytes.Equal(name, other) }
	if slices.ContainsFunc(l.first[:l.number], same) || l.others[string(name)] {
		return errors.New("a member name occurs twice")
	}
	if l.number < len(l.first) {
		l.first[l.number] = name
		l.number++
		return nil
	}
	if l.others == nil {
		l.others = make(map[string]bool)
	}
	l.others[string(name)] = true
	return nil
}

// stringEnd is the index of the quote that ends the string which begins at i, or -1.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// maxTime is the last second of the year 9999: beyond it, time arithmetic overflows.
const maxTime = 253402300799

// integer reads a number in integer form, which EAT demands of times (RFC 9711,
// Section 4.3.1): no fraction, no exponent.
func integer(v any, lo, hi int64) (int64, error) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, errors.New("not a number")
	}
	i, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || i < lo || i > hi {
		return 0, fmt.Errorf("not an integer between %d and %d", lo, hi)
	}
	return i, nil
}
