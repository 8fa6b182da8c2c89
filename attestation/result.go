package attestation

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Tier is a trust tier of AR4SI (draft-ietf-rats-ar4si, Section 3.2).
type Tier int8

// The trust tiers. Only Affirming opens a connection, unless a policy admits
// Warning by name.
const (
	TierNone            Tier = 0  // no claim is made
	TierAffirming       Tier = 2  // as it should be
	TierWarning         Tier = 32 // deviates from what is recommended
	TierContraindicated Tier = 96 // must not be trusted
)

func (t Tier) String() string {
	switch t {
	case TierAffirming:
		return "affirming"
	case TierWarning:
		return "warning"
	case TierContraindicated:
		return "contraindicated"
	}
	return "none"
}

// TrustClaim is one value of a trustworthiness vector; 0 makes no claim.
type TrustClaim int8

// Tier is the tier that a value falls into.
func (c TrustClaim) Tier() Tier {
	switch {
	case c >= -1 && c <= 1:
		return TierNone
	case c >= -32 && c < 32:
		return TierAffirming
	case c >= -96 && c < 96:
		return TierWarning
	}
	return TierContraindicated
}

// TrustVector is the trustworthiness vector of AR4SI, as an EAR carries it.
type TrustVector struct {
	InstanceIdentity TrustClaim `json:"instance-identity"`
	Configuration    TrustClaim `json:"configuration"`
	Executables      TrustClaim `json:"executables"`
	FileSystem       TrustClaim `json:"file-system"`
	Hardware         TrustClaim `json:"hardware"`
	RuntimeOpaque    TrustClaim `json:"runtime-opaque"`
	StorageOpaque    TrustClaim `json:"storage-opaque"`
	SourcedData      TrustClaim `json:"sourced-data"`
}

// worst is the worst tier that the vector claims; TierNone when it claims none.
func (v TrustVector) worst() Tier {
	worst := TierNone
	for _, c := range []TrustClaim{v.InstanceIdentity, v.Configuration, v.Executables, v.FileSystem, v.Hardware, v.RuntimeOpaque, v.StorageOpaque, v.SourcedData} {
		worst = max(worst, c.Tier())
	}
	return worst
}

// Appraisal is the verdict on one attesting environment, as a submodule of an
// EAR states it.
type Appraisal struct {
	Environment string         `json:"environment"` // label of the attesting environment
	Status      Tier           `json:"-"`
	Vector      TrustVector    `json:"trust_vector"`
	Policy      string         `json:"policy"`             // the policy that decided
	Instance    string         `json:"instance,omitempty"` // which device: hex of its identifier, or ""
	Claims      map[string]any `json:"claims,omitempty"`   // claims relied on, JSON-encodable; never raw Evidence
}

// tier is the status, but never better than what the vector says. A status that
// is none of the four tiers says nothing.
func (a Appraisal) tier() Tier {
	switch a.Status {
	case TierAffirming, TierWarning, TierContraindicated:
		return max(a.Status, a.Vector.worst())
	}
	return TierNone
}

// ConnectionLifetime is the lifetime of a Result that lasts as long as its
// connection: nothing then ends a connection whose peer has changed since.
const ConnectionLifetime time.Duration = math.MaxInt64

// ResultOptions describe a Result.
type ResultOptions struct {
	Verifier   string        // who decided; required
	Appraisals []Appraisal   // one for each attesting environment; at least one
	Lifetime   time.Duration // required, at least one second; see [ConnectionLifetime]
	// AcceptWarning admits the warning tier: the peer deviates from what the
	// policy recommends, and the connection opens all the same.
	AcceptWarning bool
}

// Result is a verdict that opens a connection. It answers one [Binding]; there
// is no Result that is not acceptable. It is immutable.
type Result struct {
	binding Binding
	options ResultOptions
	tier    Tier
}

// NewResult makes the Result that answers b. Where the appraisals together are
// not acceptable there is none, and the error is a [*RejectedError].
func NewResult(b Binding, o ResultOptions) (*Result, error) {
	switch {
	case !b.Valid():
		return nil, fmt.Errorf("%w: a result needs the binding it answers", ErrMisuse)
	case o.Verifier == "" || len(o.Appraisals) == 0 || o.Lifetime < time.Second:
		return nil, fmt.Errorf("%w: a result needs a verifier, an appraisal and a lifetime of a second or more", ErrMisuse)
	}
	o.Appraisals = append([]Appraisal(nil), o.Appraisals...)
	overall := TierAffirming
	for _, a := range o.Appraisals {
		t := a.tier()
		if t == TierNone { // no verdict on one environment is no verdict on the whole
			overall = TierNone
			break
		}
		overall = max(overall, t)
	}
	if overall != TierAffirming && (overall != TierWarning || !o.AcceptWarning) {
		return nil, &RejectedError{Appraisals: o.Appraisals, Err: fmt.Errorf("trust tier is %v", overall)}
	}
	return &Result{binding: b, options: o, tier: overall}, nil
}

// Tier is the worst tier of all appraisals: affirming, or warning where the
// policy admits it.
func (r *Result) Tier() Tier { return r.tier }

// Verifier names who decided.
func (r *Result) Verifier() string { return r.options.Verifier }

// Lifetime is how long the Result holds, from when it was made. A connection cuts it
// to whole seconds, which is what it can tell the peer.
func (r *Result) Lifetime() time.Duration { return r.options.Lifetime }

// Appraisals are the verdicts by attesting environment. The caller must not
// modify what they refer to.
func (r *Result) Appraisals() []Appraisal { return append([]Appraisal(nil), r.options.Appraisals...) }

// Answers tells whether the Result was made for b.
func (r *Result) Answers(b Binding) bool { return r != nil && r.binding.same(b) }

// Binding is what the Result answers.
func (r *Result) Binding() Binding { return r.binding }

// MarshalJSON encodes the Result for logs and programs; it contains claims but
// no Evidence.
func (r *Result) MarshalJSON() ([]byte, error) {
	type appraisal struct {
		Status string `json:"status"`
		Appraisal
	}
	out := struct {
		Tier       string      `json:"tier"`
		Verifier   string      `json:"verifier"`
		Lifetime   string      `json:"lifetime"`
		Appraisals []appraisal `json:"appraisals"`
	}{Tier: r.tier.String(), Verifier: r.options.Verifier, Lifetime: "connection"}
	if r.options.Lifetime != ConnectionLifetime {
		out.Lifetime = r.options.Lifetime.String()
	}
	for _, a := range r.options.Appraisals {
		out.Appraisals = append(out.Appraisals, appraisal{a.Status.String(), a})
	}
	return json.Marshal(out)
}

// RejectedError is an answer of no: every check that failed, and the appraisals
// that were made. It wraps [ErrRejected].
type RejectedError struct {
	Appraisals []Appraisal
	Err        error // every failed check, joined
}

func (e *RejectedError) Error() string {
	if e.Err == nil {
		return ErrRejected.Error()
	}
	return ErrRejected.Error() + ": " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
}

// Unwrap returns ErrRejected and the failed checks.
func (e *RejectedError) Unwrap() []error { return []error{ErrRejected, e.Err} }

// Reject makes an answer of no out of the checks that failed. Nil errors are
// left out; it returns nil if none is left.
func Reject(checks ...error) error {
	if err := errors.Join(checks...); err != nil {
		return &RejectedError{Err: err}
	}
	return nil
}
