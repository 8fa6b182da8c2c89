// Package show says in words and in JSON what happens on an attested connection
// and what each side learns of the other.
package show

import (
	"crypto/x509"
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// Learned is what one side knows about the other once a connection is open. It
// holds no Evidence.
type Learned struct {
	Of          string                  `json:"of"`          // "server" or "client": who it is about
	Tier        string                  `json:"tier"`        // AR4SI trust tier
	Certificate string                  `json:"certificate"` // name in the X.509 certificate
	Policy      string                  `json:"policy"`
	Lifetime    string                  `json:"lifetime"`
	Instance    string                  `json:"instance"`
	Vector      attestation.TrustVector `json:"trust_vector"`
	Claims      map[string]any          `json:"claims"`
	// Further are the other environments of a composite device, of which the
	// fields above describe the first.
	Further []attestation.Appraisal `json:"further,omitempty"`
}

// Learn says what a connection's side knows of its peer; nil if it did not ask.
func Learn(c *expat.Conn, of string) *Learned {
	r := c.Peer()
	if r == nil {
		return nil
	}
	a := r.Appraisals()[0] // a Result has one at least
	l := &Learned{
		Of: of, Tier: r.Tier().String(), Certificate: certificateName(c.PeerCertificates()[0]),
		Policy: a.Policy, Lifetime: "connection", Instance: a.Instance, Vector: a.Vector, Claims: a.Claims,
	}
	l.Further = r.Appraisals()[1:]
	if r.Lifetime() != attestation.ConnectionLifetime {
		l.Lifetime = r.Lifetime().String()
	}
	return l
}

// maxCertificate is how much of the names in a certificate is told, in characters.
const maxCertificate = 256

// certificateName is for logs too, which escape less than a terminal needs.
func certificateName(leaf *x509.Certificate) string {
	name := leaf.Subject.CommonName
	switch {
	case len(leaf.DNSNames) > 0:
		name = strings.Join(leaf.DNSNames, ", ")
	case len(leaf.IPAddresses) > 0:
		name = leaf.IPAddresses[0].String()
	}
	return Line(name, maxCertificate)
}

// Row is one fact: what it is about, and what it says.
type Row struct{ Name, Value string }

// Rows are the facts in the order in which a person asks for them.
func (l *Learned) Rows() []Row {
	rows := []Row{
		{"tier", l.Tier},
		{"certificate", l.Certificate},
		{"policy", l.Policy},
		{"instance", Short(l.Instance)},
		{"hardware", hardware(l.Claims)},
		{"debug", text(l.Claims["debug"])},
		{"key", text(l.Claims["key"])},
	}
	for _, s := range entries(l.Claims["software"]) {
		rows = append(rows, Row{"software", strings.TrimSpace(text(s["name"]) + " " + text(s["version"]))})
	}
	for _, m := range entries(l.Claims["measurements"]) {
		rows = append(rows, Row{text(m["name"]), text(m["algorithm"]) + " " + Short(text(m["digest"]))})
	}
	for _, a := range l.Further {
		rows = append(rows, Row{"and", a.Environment}, Row{"policy", a.Policy}, Row{"instance", Short(a.Instance)}, Row{"key", text(a.Claims["key"])})
	}
	rows = append(rows, Row{"holds for", l.Lifetime})
	for i, r := range rows {
		rows[i] = Row{Line(r.Name, maxName), Line(r.Value, maxValue)}
	}
	return rows
}

// Widths in columns at which names and values are cut.
const (
	maxName  = 16
	maxValue = 36
)

// Line makes one line of printable characters out of a text that may come from
// the peer, and cuts it to a width; 0 is no limit.
func Line(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); width > 0 && len(r) > width {
		return string(r[:width-3]) + "..."
	}
	return s
}

func hardware(claims map[string]any) string {
	model := text(claims["hardware-model"]) // in hex
	if b, err := hex.DecodeString(model); err == nil {
		model = string(b)
	}
	return strings.TrimSpace(text(claims["platform"]) + " " + model)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func entries(v any) []map[string]any {
	var out []map[string]any
	list, _ := v.([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// shortHex is how many hex digits of an identifier a person compares.
const shortHex = 16

// Short cuts a long string of hex digits.
func Short(hex string) string {
	if len(hex) <= shortHex {
		return hex
	}
	return hex[:shortHex] + "..."
}
