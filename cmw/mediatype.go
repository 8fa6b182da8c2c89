package cmw

import (
	"maps"
	"mime"
	"regexp"
)

// The grammar is the Content-Type production of RFC 9193, which RFC 9999 §3.1 uses (names as
// in RFC 6838 §4.2), less two things that mime.ParseMediaType reads in other ways than the
// RFCs do: the backslash, and "*" in parameter names (RFC 2231).
const (
	restrictedName = "[0-9A-Za-z][0-9A-Za-z!#$&^_.+-]{0,126}"
	parameterName  = "[!#$%&'+.^_`|~0-9A-Za-z-]+"
	token          = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	quotedString   = `"[ !#-\[\]-~]*"`
	parameter      = " *; *" + parameterName + "=(" + token + "|" + quotedString + ")"
)

var (
	mediaTypeGrammar = regexp.MustCompile("^" + restrictedName + "/" + restrictedName + "(" + parameter + ")*$")
	parameterGrammar = regexp.MustCompile(parameter)
)

// parseMediaType returns type/subtype and parameter names in lower case; parameter values
// are unquoted and otherwise as written. A parameter may be given once (RFC 6838 §4.3),
// though mime would take one that is repeated with the same value.
func parseMediaType(s string) (mediaType string, params map[string]string, ok bool) {
	if !mediaTypeGrammar.MatchString(s) {
		return "", nil, false
	}
	mediaType, params, err := mime.ParseMediaType(s)
	given := len(parameterGrammar.FindAllStringIndex(s, -1))
	return mediaType, params, err == nil && given == len(params)
}

func validMediaType(s string) bool {
	_, _, ok := parseMediaType(s)
	return ok
}

// SameMediaType reports whether two media types are equal as RFC 2045 §5.1 and RFC 6838
// §4.2, §4.3 compare them: type, subtype and parameter names without regard to case,
// parameters in any order, their values exactly. Every parameter counts, so
// application/eat+cwt is not the same as application/eat+cwt with an eat_profile. A
// string that is not a media type, the empty one included, is the same as nothing.
func SameMediaType(a, b string) bool {
	typeA, paramsA, ok := parseMediaType(a)
	if !ok || a == b {
		return ok
	}
	typeB, paramsB, ok := parseMediaType(b)
	return ok && typeA == typeB && maps.Equal(paramsA, paramsB)
}

// contentFormats lists the CoAP Content-Formats of the IANA registry that name RATS
// messages: EAT (RFC 9782), CMW (RFC 9999 §9), measured component. The library has an
// older table without the last two groups.
var contentFormats = map[uint16]string{
	263: "application/eat+cwt",
	264: "application/eat+jwt",
	265: "application/eat-bun+cbor",
	266: "application/eat-bun+json",
	267: "application/eat-ucs+cbor",
	268: "application/eat-ucs+json",
	273: "application/cmw+cbor",
	274: "application/cmw+json",
	275: "application/cmw+cose",
	276: "application/cmw+jws",
	295: "application/measured-component+cbor",
	296: "application/measured-component+json",
}

// contentFormat is an optional Content-Format; 0 is a registered one.
type contentFormat struct {
	number  uint16
	present bool
}

// ContentFormatOf returns the CoAP Content-Format registered for a media type, if this
// package knows one. No parameters are registered for any of them.
func ContentFormatOf(mediaType string) (uint16, bool) {
	for cf, registered := range contentFormats {
		if SameMediaType(mediaType, registered) {
			return cf, true
		}
	}
	return 0, false
}

// MediaTypeOf returns the media type registered for a CoAP Content-Format, if this package
// knows it.
func MediaTypeOf(contentFormat uint16) (string, bool) {
	mt, ok := contentFormats[contentFormat]
	return mt, ok
}

func (m *Message) setFormat(cf uint16) {
	m.format = contentFormat{number: cf, present: true}
	m.mediaType = contentFormats[cf]
}

const (
	firstTag = 1668546817 // TN(0), RFC 9277 Appendix B
	lastTag  = 1668612095 // TN(65024)
)

// tagNumber is TN() of RFC 9277 Appendix B, for content formats up to 65024.
func tagNumber(cf uint16) uint64 {
	return firstTag + uint64(cf)/255*256 + uint64(cf)%255
}

// tagFormat is the inverse of TN(). Each 256th number of the range is not the image of any
// content format; the library takes it for the tag that follows.
func tagFormat(tag uint64) (cf uint16, ok bool) {
	if tag < firstTag || tag > lastTag {
		return 0, false
	}
	n := tag - firstTag
	return uint16(n/256*255 + n%256), n%256 != 255 // at most 65024
}

// ambiguous reports the content formats whose tags mean something else in the tag table
// of RFC 9999.
func ambiguous(cf uint16) bool { return cf == 274 || cf == 275 }
