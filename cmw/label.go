package cmw

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Label names an item of a collection: text, or in CBOR also a 64-bit integer
// (RFC 9999 §3.3). Labels are comparable and serve as map keys. The zero Label is invalid.
type Label struct {
	text    string
	number  int64
	integer bool
}

// collectionTypeLabel is reserved for the type of the collection itself (RFC 9999 §3.3).
var collectionTypeLabel = TextLabel("__cmwc_t")

// TextLabel returns a text label. Blank text, text with U+FFFD or invalid UTF-8, and
// "__cmwc_t" are refused where the label is used.
func TextLabel(s string) Label { return Label{text: s} }

// IntLabel returns an integer label, which cannot be written in JSON.
func IntLabel(n int64) Label { return Label{number: n, integer: true} }

// Text returns the text of a text label and whether it is one.
func (l Label) Text() (string, bool) { return l.text, !l.integer }

// Int returns the number of an integer label and whether it is one.
func (l Label) Int() (int64, bool) { return l.number, l.integer }

// String returns the text as it is or the number in decimal. It comes from the peer, is not
// escaped, and is the same for 1 and "1": to tell labels apart compare the Labels.
func (l Label) String() string {
	if l.integer {
		return strconv.FormatInt(l.number, 10)
	}
	return l.text
}

// valid refuses blank text, which the library does not write, and U+FFFD, which encoding/json
// puts in the place of invalid UTF-8 and unpaired surrogates.
func (l Label) valid() bool {
	return l.integer || strings.TrimSpace(l.text) != "" && !strings.ContainsRune(l.text, utf8.RuneError)
}

var (
	// oid is the production of the same name in RFC 9999 §3.3 (collected CDDL).
	oid = regexp.MustCompile(`^[0-2](\.0|\.[1-9][0-9]*)*$`)
	// absoluteURI is a scheme and the characters of RFC 3986 §2 without the "#" of a
	// fragment, which §4.3 excludes.
	absoluteURI = regexp.MustCompile(
		`^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$`)
)

// validCollectionType applies ~uri / oid of RFC 9999 §3.3; the URI is in absolute form.
func validCollectionType(s string) bool {
	if oid.MatchString(s) {
		return true
	}
	if !absoluteURI.MatchString(s) {
		return false
	}
	_, err := url.Parse(s) // host and port, and what the library wants to write it
	return err == nil
}
