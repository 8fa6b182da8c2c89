package remote

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// sessionType is the media type of a session.
const sessionType = "application/vnd.veraison.challenge-response-session+json"

// The states of a session.
const (
	statusWaiting    = "waiting"
	statusProcessing = "processing"
	statusComplete   = "complete"
	statusFailed     = "failed"
)

// session is what we use of a session. Its expiry is the service's business, and
// the Evidence that some services repeat is ours.
type session struct {
	status string
	nonce  []byte
	accept []string // media types; empty: the service does not say
	result string   // the EAR; only in a complete session
}

// errSession: the answer is not a session.
var errSession = errors.New("not a session")

// parseSession reads a session strictly: one JSON object, whose members occur once
// and are named exactly so. Members that it does not know are skipped.
func parseSession(b []byte) (*session, error) {
	members, err := parseObject(b)
	if err != nil {
		return nil, err
	}
	var s session
	var nonce string
	var result *string
	for name, into := range map[string]any{"status": &s.status, "nonce": &nonce, "accept": &s.accept, "result": &result} {
		if raw, there := members[name]; there {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("%w: member %q is of the wrong type", errSession, name)
			}
		}
	}
	if s.nonce, err = decodeNonce(nonce); err != nil {
		return nil, err
	}
	switch {
	case s.status == statusComplete && (result == nil || *result == ""):
		return nil, fmt.Errorf("%w: it is complete without a result", errSession)
	case s.status != statusComplete && result != nil:
		return nil, fmt.Errorf("%w: it has a result and is not complete", errSession)
	case result != nil:
		s.result = *result
	}
	switch s.status {
	case statusWaiting, statusProcessing, statusComplete, statusFailed:
		return &s, nil
	}
	return nil, fmt.Errorf("%w: unknown status", errSession)
}

// parseObject splits a JSON object into its members. encoding/json alone would take
// the last of two members of one name, and names in any case.
func parseObject(b []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: not UTF-8", errSession)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", errSession)
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		name, text := t.(string)
		if err != nil || !text {
			return nil, fmt.Errorf("%w: not a JSON object", errSession)
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%w: a member occurs twice", errSession)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: not a JSON object", errSession)
		}
		members[name] = value
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, fmt.Errorf("%w: not a JSON object", errSession)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more follows the object", errSession)
	}
	return members, nil
}

func encodeNonce(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decodeNonce reads unpadded base64url (RFC 4648, Section 5) of 8 to 64 bytes, which
// is the only form that the API sends.
func decodeNonce(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 8 || len(b) > 64 || encodeNonce(b) != s {
		return nil, fmt.Errorf("%w: the nonce is not 8 to 64 bytes in unpadded base64url", errSession)
	}
	return b, nil
}

func sameNonce(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
