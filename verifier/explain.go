package verifier

import (
	"context"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// OutcomeVerdict says how one check ended.
type OutcomeVerdict uint8

// How a check can end. NotMade says nothing about the Evidence: the policy does not
// ask for the check, or an earlier one leaves nothing to make it on.
const (
	NotMade OutcomeVerdict = iota
	Holds
	Warns
	Fails
)

func (v OutcomeVerdict) String() string {
	switch v {
	case Holds:
		return "holds"
	case Warns:
		return "warns"
	case Fails:
		return "fails"
	}
	return "not made"
}

// MarshalText gives the word of String, in JSON too.
func (v OutcomeVerdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Outcome is one check of an [Explanation].
type Outcome struct {
	Check   Check          `json:"check"`
	Subject string         `json:"subject,omitempty"` // name of the measurement, software or rule
	Want    string         `json:"want,omitempty"`
	Got     string         `json:"got,omitempty"` // for a check that was not made, why
	Verdict OutcomeVerdict `json:"verdict"`
}

// Explanation lists every check of an appraisal in the order in which they were
// made. It opens no connection.
type Explanation struct {
	Outcomes  []Outcome
	Appraisal attestation.Appraisal
	// Err is what [Appraiser.Appraise] returns for the same message; nil where it
	// is acceptable, as far as it was compared.
	Err error
}

// Explain judges a message as [Appraiser.Appraise] does, by the same checks, and
// lists every one, also those that hold and those that were not made. With the
// zero Binding, as for a message from a file, the binding is not compared, which
// the outcomes say.
//
// The error is that of Appraise where nothing was judged: the message is malformed
// or composite, or the extractor gave no answer. A rejection is no error of
// Explain; it is in the Explanation.
func (a *Appraiser) Explain(ctx context.Context, m *cmw.Message, b attestation.Binding) (*Explanation, error) {
	v, err := a.appraise(ctx, b, m, true)
	if err != nil {
		return nil, err
	}
	return &Explanation{Outcomes: v.outcomes, Appraisal: v.appraisal, Err: v.err(a.policy.AcceptWarning)}, nil
}

// outcome is how the explanation states a check.
func (e *CheckError) outcome(v OutcomeVerdict) Outcome {
	o := Outcome{Check: e.Check, Subject: e.Subject, Want: e.Want, Got: e.Got, Verdict: v}
	if o.Want == "" {
		o.Want = wants[e.Check]
	}
	if o.Got == "" && e.Err != nil {
		o.Got = e.Err.Error()
	}
	return o
}

// wants is what checks want whose errors do not repeat it.
var wants = map[Check]string{
	CheckSignature: "the signer's signature to verify",
	CheckChain:     "the signer's certificates to lead to a root of the policy",
	CheckBinder:    "a binding to this connection, request and key",
	CheckRule:      "the rule to hold",
}

// behind are the checks that are not made where signature or chain is bad.
var behind = []Check{
	CheckBinder, CheckExpiry, CheckInstance, CheckRevocation, CheckVendor, CheckHardwareModel, CheckDebug,
	CheckKeyProvenance, CheckMeasurement, CheckSoftware, CheckPlatform, CheckRule,
}

// unverifiedOutcomes states the first two checks, of which one failed, and that
// nothing was looked at behind them.
func unverifiedOutcomes(failed *CheckError) []Outcome {
	var all []Outcome
	for _, c := range []Check{CheckSignature, CheckChain} {
		if c == failed.Check {
			all = append(all, failed.outcome(Fails))
		} else {
			all = append(all, Outcome{Check: c, Got: fmt.Sprintf("the %s ends the appraisal", failed.Check)})
		}
	}
	for _, c := range behind {
		all = append(all, Outcome{Check: c, Got: "nobody who is trusted has signed the claims"})
	}
	return all
}
