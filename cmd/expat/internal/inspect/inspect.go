// Package inspect says in words what some bytes are: a request, an authenticator, a
// CMW, or Evidence. It reads them with the parsers of the packages they belong to,
// which are made for hostile input, and has none of its own.
package inspect

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// MaxInput is the largest input taken, in bytes: a message of the largest size in
// base64 or hex.
const MaxInput = 256 << 10

// ErrUnknown: the input is nothing that is known here.
var ErrUnknown = errors.New("it is none of: request, authenticator, CMW, Evidence of a known platform; is it whole?")

// ErrSize: the input is empty or too large.
var ErrSize = errors.New("it is not 1 to 262144 bytes")

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
	Note     string    `json:"note"`
	Fields   []Field   `json:"fields"`
	Parts    []*Report `json:"parts,omitempty"`
}

// Field is one fact: bytes are in hex.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (r *Report) add(name, format string, args ...any) {
	r.Fields = append(r.Fields, Field{name, fmt.Sprintf(format, args...)})
}

// Inspect says what the input is, which may be text in hex or base64. The error wraps
// [ErrSize] or [ErrUnknown], or is the end of ctx.
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
		why = err
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

// inspect tries one kind after another; their first bytes tell most of them apart.
func inspect(ctx context.Context, b []byte, o Options) (*Report, error) {
	if len(b) == 0 { // the text was padding alone
		return nil, ErrUnknown
	}
	if r := request(b); r != nil {
		return r, nil
	}
	if r := authenticatorForm(b); r != nil {
		return r, nil
	}
	if m, err := cmw.Decode(b); err == nil {
		return message(ctx, m, len(b), o), nil
	}
	for _, p := range platforms(o) {
		for _, value := range p.wrap(b) {
			if r := p.inspect(ctx, value, o.At); r != nil {
				r.Size = len(b)
				return r, nil
			}
		}
	}
	return nil, ErrUnknown
}

// exporter stands for a connection: form is all that is looked at.
type exporter struct{}

func (exporter) ExportKeyingMaterial(_ string, _ []byte, length int) ([]byte, error) {
	return make([]byte, length), nil
}

func request(b []byte) *Report {
	for _, role := range []authenticator.Role{authenticator.Server, authenticator.Client} {
		s, err := authenticator.NewSessionFromExporter(exporter{}, crypto.SHA256, role)
		if err != nil {
			return nil
		}
		received, err := s.ReceiveRequest(b)
		if err != nil {
			continue
		}
		r := &Report{Kind: "authenticator request (RFC 9261, Section 4)", Size: len(b), Note: NothingVerified}
		if role == authenticator.Server {
			r.add("message", "ClientCertificateRequest: a client asks")
		} else {
			r.add("message", "CertificateRequest: a server asks")
		}
		r.add("context", "%x", received.Context())
		if name := received.ServerName(); name != "" {
			r.add("server name", "%s", name)
		}
		for typ := range 1 << 16 {
			if data, ok := received.Extension(uint16(typ)); ok {
				r.add(extensionName(uint16(typ)), "%x", data)
			}
		}
		return r
	}
	return nil
}

// extensionName names an extension by the IANA registry of TLS.
func extensionName(typ uint16) string {
	names := map[uint16]string{
		0: "server_name", 5: "status_request", 13: "signature_algorithms", 18: "signed_certificate_timestamp",
		47: "certificate_authorities", 48: "oid_filters", 50: "signature_algorithms_cert", 0xff00: "cmw_attestation",
	}
	name, known := names[typ]
	if !known {
		name = "unknown"
	}
	return fmt.Sprintf("extension %d %s", typ, name)
}

// authenticatorForm tells an authenticator by its first message. What is in it is
// encoded for one connection, and shown only to its Session.
func authenticatorForm(b []byte) *Report {
	const certificate = 11 // HandshakeType of the first message
	if b[0] != certificate {
		return nil
	}
	c, err := authenticator.Context(b)
	if err != nil {
		return nil
	}
	r := &Report{Kind: "authenticator (RFC 9261, Section 5)", Size: len(b), Note: NothingVerified}
	r.add("message", "Certificate, CertificateVerify, Finished")
	r.add("context", "%x", c)
	r.add("certificates", "not shown: only the connection that it is for can check them")
	return r
}

// message shows a CMW and what is in it.
func message(ctx context.Context, m *cmw.Message, size int, o Options) *Report {
	r := &Report{Kind: "CMW (RFC 9999): " + m.Kind().String(), Size: size, Note: NothingVerified}
	if t := m.CollectionType(); t != "" {
		r.add("collection type", "%s", t)
	}
	for _, leaf := range m.Leaves() {
		r.Parts = append(r.Parts, leafReport(ctx, leaf, o))
	}
	return r
}

func leafReport(ctx context.Context, leaf cmw.Leaf, o Options) *Report {
	var r *Report
	for _, p := range platforms(o) {
		for _, t := range p.extractor.MediaTypes() {
			if r == nil && cmw.SameMediaType(t, leaf.MediaType) {
				r = p.inspect(ctx, leaf.Value, o.At)
			}
		}
	}
	if r == nil {
		r = &Report{Kind: "value of a type that is not known, or not of its type's form", Note: NothingVerified}
	}
	r.Size = len(leaf.Value)
	var path []string
	for _, l := range leaf.Path {
		path = append(path, l.String())
	}
	head := []Field{{"media type", leaf.MediaType}, {"indicator", leaf.Indicator.String()}}
	if path != nil {
		head = append([]Field{{"label", strings.Join(path, "/")}}, head...)
	}
	r.Fields = append(head, r.Fields...)
	return r
}
