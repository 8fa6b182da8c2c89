package ear

import (
	"maps"
	"slices"
	"time"

	vear "github.com/veraison/ear"

	"github.com/expat-go/expat/attestation"
)

const (
	// Profile is the EAT profile of the tokens: the claim names of the
	// draft's revisions up to 02, as the library writes them.
	Profile = vear.EatProfile
	// MediaType is how a message carries an EAR as JWT: the type of RFC 9782
	// with the profile (draft-ietf-rats-ear, Section 5).
	MediaType = `application/eat+jwt; eat_profile="` + Profile + `"`

	// maxSubmodules bounds the attesting environments in one EAR.
	maxSubmodules = 16
	// instanceClaim holds the device's identifier among the policy claims.
	instanceClaim = "expat.instance"
	// keyClaim holds the attested key in a key attestation.
	keyClaim = "akpub"
)

// VerifierID names the software that appraised (draft-ietf-rats-ar4si, Section 3.3).
type VerifierID struct {
	Developer string // who is responsible for the software
	Build     string // which build of it; "" in an allow-list: every build
}

// claims are those of a token, typed. Times are zero when absent.
type claims struct {
	profile, issuer string
	audience        []string
	iat, exp, nbf   time.Time
	nonce           string
	verifier        VerifierID
	submodules      []submodule // sorted by name
}

// submodule is the appraisal of one environment and the key it attests.
type submodule struct {
	attestation.Appraisal
	key []byte // SubjectPublicKeyInfo in DER, nil when none is stated
}

// parseClaims reads the payload. Claims that are not known are ignored, as the
// draft demands (Section 4); known ones must have their type.
func parseClaims(payload []byte) (*claims, error) {
	m, err := decodeObject(payload)
	if err != nil {
		return nil, malformed("payload: %w", err)
	}
	c := &claims{}
	if c.profile, err = text(m, "eat_profile", true); err != nil {
		return nil, err
	}
	if c.issuer, err = text(m, "iss", false); err != nil {
		return nil, err
	}
	if c.nonce, err = text(m, "eat_nonce", false); err != nil {
		return nil, err
	}
	if c.audience, err = audience(m); err != nil {
		return nil, err
	}
	for name, t := range map[string]*time.Time{"iat": &c.iat, "exp": &c.exp, "nbf": &c.nbf} {
		if *t, err = timestamp(m, name, name == "iat"); err != nil {
			return nil, err
		}
	}
	if !c.exp.IsZero() && !c.exp.After(c.iat) {
		return nil, malformed("exp is not after iat")
	}
	if c.verifier, err = verifierID(m); err != nil {
		return nil, err
	}
	c.submodules, err = parseSubmodules(m)
	return c, err
}

// text reads a string that is not empty.
func text(m map[string]any, name string, required bool) (string, error) {
	v, present := m[name]
	if !present && !required {
		return "", nil
	}
	s, ok := v.(string)
	if !ok || s == "" {
		return "", malformed("%s is not one string", name)
	}
	return s, nil
}

// audience reads a string or an array of strings (RFC 7519, Section 4.1.3).
func audience(m map[string]any) ([]string, error) {
	v, present := m["aud"]
	if !present {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok || s == "" {
			return nil, malformed("aud is neither a string nor an array of strings")
		}
		out = append(out, s)
	}
	return out, nil
}

func timestamp(m map[string]any, name string, required bool) (time.Time, error) {
	v, present := m[name]
	if !present && !required {
		return time.Time{}, nil
	}
	seconds, err := integer(v, 0, maxTime)
	if err != nil {
		return time.Time{}, malformed("%s: %w", name, err)
	}
	return time.Unix(seconds, 0), nil
}

func verifierID(m map[string]any) (VerifierID, error) {
	v, ok := m["ear.verifier-id"].(map[string]any)
	if !ok {
		return VerifierID{}, malformed("ear.verifier-id is not an object")
	}
	developer, err := text(v, "developer", true)
	if err != nil {
		return VerifierID{}, err
	}
	build, err := text(v, "build", true)
	return VerifierID{Developer: developer, Build: build}, err
}

func parseSubmodules(m map[string]any) ([]submodule, error) {
	submods, ok := m["submods"].(map[string]any)
	if !ok || len(submods) == 0 || len(submods) > maxSubmodules {
		return nil, malformed("submods is not an object of 1 to %d appraisals", maxSubmodules)
	}
	out := make([]submodule, 0, len(submods))
	for _, name := range slices.Sorted(maps.Keys(submods)) {
		s, err := parseSubmodule(name, submods[name])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
