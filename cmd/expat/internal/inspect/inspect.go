// Package inspect says in words what some bytes are: a request, an authenticator, a
// CMW, or Evidence. It reads them with the parsers of the packages they belong to,
// which are made for hostile input, and verifies nothing.
package inspect

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expat-go/expat/cmw"
)

// MaxInput is the largest input taken, in bytes: a message of the largest size in
// base64 or hex.
const MaxInput = 256 << 10

// ErrUnknown: the input is nothing that is known here.
var ErrUnknown = errors.New("it is none of: an authenticator request or an authenticator (RFC 9261), a CMW in CBOR or JSON (RFC 9999), " +
	"Evidence of a simulated TEE (COSE_Sign1) or of a TPM, an SEV-SNP report, a TDX quote; in binary, hex or base64; is it whole?")

// ErrSize: the input is empty or too large.
var ErrSize = errors.New("it is not 1 to 262144 bytes; give one message, whole and alone")

// MalformedError: the input begins as something that is known and is not of its form.
// It is also [ErrUnknown].
type MalformedError struct {
	Kind string // what it begins as
	Err  error  // what is wrong; quotes nothing of the input
}

func (e *MalformedError) Error() string { return "it begins as " + e.Kind + ", but: " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *MalformedError) Unwrap() error { return e.Err }

// Is tells that it is ErrUnknown.
func (e *MalformedError) Is(target error) bool { return target == ErrUnknown }

// The notes that go with everything that is shown.
const (
	NothingVerified = "Nothing is verified here: anyone can have made these bytes."
	signedOnly      = "The signature leads to a root, at the time given; to which connection, request and key it belongs, and whether it is acceptable, is not verified."
)

// Options say with what Evidence is read.
type Options struct {
	Roots []*x509.Certificate // for Evidence of simulated TEEs and TPMs; those of AMD and Intel are known
	At    time.Time           // when certificates must be valid
}

// Report says what some bytes are.
type Report struct {
	Kind     string    `json:"kind"`
	Encoding string    `json:"encoding,omitempty"` // of the input: binary, hex or base64
	Size     int       `json:"size"`               // in bytes, decoded
	Verified bool      `json:"verified"`           // always false
	About    string    `json:"about,omitempty"`    // what such a thing is, in a sentence
	Note     string    `json:"note"`
	Fields   []Field   `json:"fields"`
	Parts    []*Report `json:"parts,omitempty"`
}

// Field is one fact: bytes are in hex.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func newReport(kind string, size int) *Report {
	return &Report{Kind: kind, Size: size, Note: NothingVerified, Fields: []Field{}}
}

func (r *Report) add(name, format string, args ...any) {
	r.Fields = append(r.Fields, Field{name, fmt.Sprintf(format, args...)})
}

// bytes adds a value in hex.
func (r *Report) bytes(name string, value []byte) {
	if len(value) == 0 {
		r.add(name, "none")
		return
	}
	r.add(name, "%x", value)
}

// part adds what is inside.
func (r *Report) part(p *Report) *Report {
	r.Parts = append(r.Parts, p)
	return p
}

// Inspect says what the input is, which may be text in hex or base64. The error wraps
// [ErrSize] or [ErrUnknown], of which [*MalformedError] says more, or is the end of
// ctx.
func Inspect(ctx context.Context, input []byte, o Options) (*Report, error) {
	if len(input) == 0 || len(input) > MaxInput {
		return nil, ErrSize
	}
	why := ErrUnknown
	for _, c := range candidates(input) {
		r, err := inspect(ctx, c.bytes, o)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			r.Encoding = c.encoding
			return r, nil
		}
		if why == ErrUnknown { // the first reading that has something to say
			why = err
		}
	}
	return nil, why
}

type candidate struct {
	encoding string
	bytes    []byte
}

// candidates are the input as it is, and what it is the text of.
func candidates(input []byte) []candidate {
	out := []candidate{{"binary", input}}
	text := strings.Join(strings.Fields(string(input)), "")
	if text == "" {
		return out
	}
	if trimmed := bytes.TrimSpace(input); len(trimmed) < len(input) { // JSON in a file ends in a newline
		out = append(out, candidate{"binary", trimmed})
	}
	if b, err := hex.DecodeString(text); err == nil {
		return append(out, candidate{"hex", b})
	}
	bare := strings.TrimRight(text, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(bare); err == nil {
			return append(out, candidate{"base64", b})
		}
	}
	return out
}

// inspect tells what b is by how it begins.
func inspect(ctx context.Context, b []byte, o Options) (*Report, error) {
	if len(b) == 0 { // the text was padding alone
		return nil, ErrUnknown
	}
	switch b[0] {
	case typeCertificateRequest, typeClientCertificateRequest:
		return request(b)
	case typeCertificate, typeFinished:
		return authenticatorReport(ctx, b, o)
	}
	for _, p := range platforms(o) {
		if p.begins(b) {
			return p.inspect(ctx, b, o.At)
		}
	}
	m, err := cmw.Decode(b)
	if err == nil {
		return message(ctx, m, len(b), o), nil
	}
	if strings.IndexByte("[{", b[0]) >= 0 || b[0]>>5 == 4 || b[0]>>5 == 5 || b[0]>>5 == 6 { // CBOR: array, map, tag
		return nil, &MalformedError{"a CMW", err}
	}
	return nil, ErrUnknown
}
