package cmw

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

// strictBase64URL refuses padding and non-zero trailing bits (RFC 4648 §5, §3.5); it still
// skips CR and LF, which value refuses.
var strictBase64URL = base64.RawURLEncoding.Strict()

// A jsonReader reads a JSON CMW token by token. The library's JSON decoder is not used: it
// panics on a one-character value, takes true, null and numbers for base64url and numbers
// for media types, keeps the last of two equal labels, and needs quadratic time for nested
// objects. Once all that is checked nothing is left for it to do.
type jsonReader struct {
	dec    *json.Decoder
	leaves int
}

func decodeJSON(b []byte) (*Message, error) {
	r := jsonReader{dec: json.NewDecoder(bytes.NewReader(b))}
	r.dec.UseNumber()
	tok, err := r.token()
	if err != nil {
		return nil, err
	}
	m, err := r.message(tok, 1)
	if err != nil {
		return nil, err
	}
	if r.offset() != len(b) {
		return nil, refuse(r.offset(), ErrTrailing)
	}
	return m, nil
}

// offset is the position after the last token read.
func (r *jsonReader) offset() int { return int(r.dec.InputOffset()) }

func (r *jsonReader) refuse(reason error) error { return refuse(r.offset(), reason) }

// token returns the next token. The decoder replaces invalid UTF-8 and unpaired surrogates
// by U+FFFD, which no label, media type, value or collection type may contain.
func (r *jsonReader) token() (json.Token, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, r.refuse(ErrSyntax)
	}
	return tok, nil
}

// message reads the CMW that begins with tok, at a level counted from 1.
func (r *jsonReader) message(tok json.Token, depth int) (*Message, error) {
	delim, _ := tok.(json.Delim)
	switch {
	case delim != '[' && delim != '{':
		return nil, r.refuse(ErrSyntax)
	case depth > MaxDepth:
		return nil, r.refuse(ErrTooDeep)
	case delim == '{':
		return r.collection(depth)
	case r.leaves == MaxLeaves:
		return nil, r.refuse(ErrTooManyLeaves)
	}
	r.leaves++
	return r.record()
}

// collection reads the rest of an object (RFC 9999 §3.3).
func (r *jsonReader) collection(depth int) (*Message, error) {
	m := &Message{kind: KindCollection}
	seen := make(map[Label]bool)
	for r.dec.More() {
		key, err := r.token()
		if err != nil {
			return nil, err
		}
		text, _ := key.(string)
		label := TextLabel(text)
		switch {
		case !label.valid():
			return nil, r.refuse(ErrLabel)
		case seen[label]:
			return nil, r.refuse(ErrDuplicateLabel)
		}
		seen[label] = true
		if err := r.item(m, label, depth); err != nil {
			return nil, err
		}
	}
	if _, err := r.token(); err != nil {
		return nil, err
	}
	if len(m.items) == 0 {
		return nil, r.refuse(ErrEmptyCollection)
	}
	return m, nil
}

// item reads what a label of the collection m stands for.
func (r *jsonReader) item(m *Message, label Label, depth int) error {
	tok, err := r.token()
	if err != nil {
		return err
	}
	text, isText := tok.(string)
	switch {
	case label == collectionTypeLabel:
		if !validCollectionType(text) {
			return r.refuse(ErrCollectionType)
		}
		m.ctype = text
		return nil
	case isText && jwsMembers[label]:
		return r.refuse(ErrSigned)
	}
	child, err := r.message(tok, depth+1)
	if err != nil {
		return err
	}
	m.items = append(m.items, Item{label, child})
	return nil
}

// jwsMembers are the text members of a signed-json-cmw in JWS Flattened JSON
// Serialization (RFC 9999 §4.2), which only they tell from a collection.
var jwsMembers = map[Label]bool{
	TextLabel("protected"): true, TextLabel("payload"): true, TextLabel("signature"): true,
}

// record reads the rest of an array: media type, value and perhaps indicator (RFC 9999 §3.1).
func (r *jsonReader) record() (*Message, error) {
	m := &Message{kind: KindRecord}
	fields := []func(json.Token) error{m.readMediaType, m.readValue, m.readIndicator}
	n := 0
	for ; r.dec.More(); n++ {
		tok, err := r.token()
		if err != nil {
			return nil, err
		}
		if n == len(fields) {
			return nil, r.refuse(ErrSyntax)
		}
		if err := fields[n](tok); err != nil {
			return nil, r.refuse(err)
		}
	}
	if _, err := r.token(); err != nil {
		return nil, err
	}
	if n < 2 {
		return nil, r.refuse(ErrSyntax)
	}
	return m, nil
}

// readMediaType refuses a Content-Format: JSON has none (RFC 9999 §3.1).
func (m *Message) readMediaType(tok json.Token) error {
	m.mediaType, _ = tok.(string)
	if !validMediaType(m.mediaType) {
		return ErrMediaType
	}
	return nil
}

func (m *Message) readValue(tok json.Token) error {
	s, ok := tok.(string)
	if !ok || strings.ContainsAny(s, "\r\n") {
		return ErrValue
	}
	value, err := strictBase64URL.DecodeString(s)
	if err != nil {
		return ErrValue
	}
	if len(value) == 0 {
		return ErrEmptyValue
	}
	m.value = value
	return nil
}

// readIndicator takes digits only: 4.0 and 4e0 are no uint of CDDL.
func (m *Message) readIndicator(tok json.Token) error {
	number, _ := tok.(json.Number)
	ind, err := strconv.ParseUint(string(number), 10, 32)
	if err != nil || ind == 0 || ind > allIndicators {
		return ErrIndicator
	}
	m.indicator = Indicator(ind)
	return nil
}
