package vectors

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Generate makes all files, keyed by name. Two calls make the same bytes.
func Generate() (map[string][]byte, error) {
	p, err := newPKI()
	if err != nil {
		return nil, fmt.Errorf("vectors: keys: %w", err)
	}
	out := make(map[string][]byte)
	if out[keysName], err = encodeJSON(p.keys()); err != nil {
		return nil, err
	}
	for _, g := range []struct {
		name, description string
		write             func(*pki, *writer)
	}{
		{"exporter", "Exporter values (RFC 8446, Section 7.5; RFC 5705).", writeExporter},
		{"request", "Authenticator requests (RFC 9261, Section 4).", writeRequest},
		{"authenticator", "Authenticators and empty authenticators (RFC 9261, Sections 5 and 6).", writeAuthenticator},
		{"binding", "What Evidence is bound to (draft-fossati-seat-expat, Section 5).", writeBinding},
		{"cmw_attestation", "The cmw_attestation extension (draft-fossati-seat-expat, Section 3).", writeAttestation},
		{"cmw", "Conceptual Message Wrappers (RFC 9999) in CBOR and JSON.", writeCMW},
		{"simulated_evidence", "Evidence of the simulated platform.", writeEvidence},
		{"frames", "Single frames of expat/1.", writeFrames},
		{"transcript", "Exchanges of expat/1 as one side saw them.", writeTranscript},
	} {
		w := &writer{file: File{Group: g.name, Version: version, Description: g.description, Reasons: reasonsOf(g.name)}}
		g.write(p, w)
		if w.err != nil {
			return nil, fmt.Errorf("vectors: %s: %w", g.name, w.err)
		}
		if out[g.name+".json"], err = encodeJSON(w.file); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// WriteFiles generates all files into a folder.
func WriteFiles(dir string) error {
	files, err := Generate()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

func reasonsOf(name string) []string {
	for _, g := range groups {
		if g.name == name {
			return g.reasons
		}
	}
	return nil
}

// writer collects the cases of a group. The first error stays.
type writer struct {
	file File
	err  error
}

func (w *writer) add(c Case, input, expected any) {
	var err error
	if c.Input, err = json.Marshal(input); err != nil {
		w.fail(c.ID, err)
	}
	if expected != nil {
		if c.Expected, err = json.Marshal(expected); err != nil {
			w.fail(c.ID, err)
		}
	}
	w.file.Cases = append(w.file.Cases, c)
}

func (w *writer) fail(id string, err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("%s: %w", id, err)
	}
}

func (w *writer) valid(id, comment string, input, expected any) {
	w.add(Case{ID: id, Comment: comment, Result: resultValid}, input, expected)
}

func (w *writer) invalid(id, reason, comment string, input any) {
	w.add(Case{ID: id, Comment: comment, Result: resultInvalid, Reason: reason}, input, nil)
}

// from names the source of the case added last.
func (w *writer) from(source string) { w.file.Cases[len(w.file.Cases)-1].Source = source }

// checkTime is the time of all checks.
var checkTime = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// The connections of the vectors beside that of RFC 8448. Their secrets are the
// hash of their name.
var (
	conn384   = Connection{TLS: tls13, HashName: "sha384", ExporterMasterSecret: derived("TLS 1.3 SHA-384", 48)}
	connOther = Connection{TLS: tls13, HashName: "sha256", ExporterMasterSecret: derived("TLS 1.3 SHA-256, another connection", 32)}
	conn12    = Connection{
		TLS: tls12, HashName: "sha256", MasterSecret: derived("TLS 1.2 SHA-256", 48),
		ClientRandom: derived("TLS 1.2 SHA-256 client random", 32), ServerRandom: derived("TLS 1.2 SHA-256 server random", 32),
	}
	conn12SHA384 = Connection{
		TLS: tls12, HashName: "sha384", MasterSecret: derived("TLS 1.2 SHA-384", 48),
		ClientRandom: derived("TLS 1.2 SHA-384 client random", 32), ServerRandom: derived("TLS 1.2 SHA-384 server random", 32),
	}
)

// derived makes reproducible bytes of a name, at most 64.
func derived(name string, n int) []byte {
	a := sha256.Sum256([]byte("expat vectors 1: " + name))
	b := sha256.Sum256(append([]byte("expat vectors 2: "), name...))
	return concat(a[:], b[:])[:n]
}

func ptr[T any](v T) *T { return &v }

// hexPtr is for members that may be null.
func hexPtr(b []byte) *Bytes {
	if b == nil {
		return nil
	}
	return ptr(Bytes(b))
}

// count is the bytes 0, 1, …
func count(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

// flip returns b with one bit changed; i counts from the end if negative.
func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 1
	return b
}
