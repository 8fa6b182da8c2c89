package verifier

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
)

// Values of AR4SI trust claims (draft-ietf-rats-ar4si, Section 2.3).
const (
	trustworthyInstance   attestation.TrustClaim = 2
	untrustworthyInstance attestation.TrustClaim = 96
	unrecognizedInstance  attestation.TrustClaim = 97
	approvedConfig        attestation.TrustClaim = 2
	unsafeConfig          attestation.TrustClaim = 32
	unsupportableConfig   attestation.TrustClaim = 96
	approvedRuntime       attestation.TrustClaim = 2
	unrecognizedRuntime   attestation.TrustClaim = 33
	contraindicatedFiles  attestation.TrustClaim = 96
	genuineHardware       attestation.TrustClaim = 2
	unrecognizedHardware  attestation.TrustClaim = 97
	softwareKeptSecrets   attestation.TrustClaim = 32
	exposedSecrets        attestation.TrustClaim = 96
	contraindicatedChip   attestation.TrustClaim = 96
	cryptoFailed          attestation.TrustClaim = 99
)

// judgement collects what the checks find. The vector starts as if all is well;
// a check only makes its part worse.
type judgement struct {
	policy     *Policy
	references *references
	claims     *evidence.Claims
	vector     attestation.TrustVector
	failed     []error
	warned     []error
	undecided  []error
	unbound    bool // a comparison with the Binding failed
	lifetime   time.Duration

	explain  bool
	outcomes []Outcome // where explain is set: one of every check
}

func newJudgement(p *Policy, r *references, c *evidence.Claims, explain bool) *judgement {
	j := &judgement{policy: p, references: r, claims: c, lifetime: p.Lifetime, explain: explain, vector: attestation.TrustVector{
		Configuration: approvedConfig,
		Executables:   approvedRuntime,
		Hardware:      genuineHardware,
	}}
	if !p.AnyInstance { // who accepts any instance makes no claim about it
		j.vector.InstanceIdentity = trustworthyInstance
	}
	return j
}

// settle takes the end of one check. describe tells what was wanted and got; it is
// called only where that is told to someone.
func (j *judgement) settle(v OutcomeVerdict, part *attestation.TrustClaim, value attestation.TrustClaim, describe func() *CheckError) {
	if v == Holds && !j.explain {
		return
	}
	e := describe()
	switch v {
	case Fails:
		*part = max(*part, value)
		j.failed = append(j.failed, e)
	case Warns:
		*part = max(*part, value)
		j.warned = append(j.warned, e)
	}
	if j.explain {
		j.outcomes = append(j.outcomes, e.outcome(v))
	}
}

// require settles a check that holds or fails.
func (j *judgement) require(ok bool, part *attestation.TrustClaim, value attestation.TrustClaim, describe func() *CheckError) {
	v := Fails
	if ok {
		v = Holds
	}
	j.settle(v, part, value, describe)
}

// skip settles a check that is not made.
func (j *judgement) skip(c Check, subject, why string) {
	if j.explain {
		j.outcomes = append(j.outcomes, Outcome{Check: c, Subject: subject, Got: why, Verdict: NotMade})
	}
}

// undecide settles a check that gave no answer.
func (j *judgement) undecide(c Check, subject string, err error) {
	e := &CheckError{Check: c, Subject: subject, Err: err}
	if !errors.Is(err, attestation.ErrUnavailable) {
		e.Err = fmt.Errorf("%w: %w", attestation.ErrUnavailable, err)
	}
	j.undecided = append(j.undecided, e)
	j.skip(c, subject, "no verdict: "+e.Err.Error())
}

func (j *judgement) status() attestation.Tier {
	switch {
	case len(j.failed) > 0:
		return attestation.TierContraindicated
	case len(j.undecided) > 0:
		return attestation.TierNone
	case len(j.warned) > 0:
		return attestation.TierWarning
	}
	return attestation.TierAffirming
}

// verified settles what the Extractor checked before there were claims.
func (j *judgement) verified() {
	for _, c := range []Check{CheckSignature, CheckChain} {
		j.settle(Holds, nil, 0, func() *CheckError { return &CheckError{Check: c, Got: "it does"} })
	}
}

// bound are the comparisons with the Binding, each with the forms of Evidence that
// it is made on.
var bound = []struct {
	check     Check
	reason    error
	forms     []evidence.BindingForm
	want, not string
}{
	{CheckBinder, evidence.ErrBinder, []evidence.BindingForm{evidence.BinderAndKeyHash, evidence.CertifiedKey},
		"the binder of this connection, request and key", "another"},
	{CheckKeyHash, evidence.ErrKeyHash, []evidence.BindingForm{evidence.BinderAndKeyHash},
		"the hash of the authenticator's key", "another"},
	{CheckCertifiedKey, evidence.ErrKey, []evidence.BindingForm{evidence.CertifiedKey},
		"the authenticator's key", "another"},
	{CheckReportData, evidence.ErrReportData, []evidence.BindingForm{evidence.ReportData},
		"the report data of this connection, request and key", "other"},
}

// binding compares what the Evidence is bound to with this connection, request and
// key. Only an explanation can do without: it opens nothing.
func (j *judgement) binding(b attestation.Binding) {
	if j.explain && !b.Valid() {
		j.skip(CheckBinder, "", "binding not compared: the Evidence can be of any connection, request and key")
		return
	}
	err := j.claims.Bound(b)
	j.unbound = err != nil
	explained := err == nil
	for _, c := range bound {
		differs := errors.Is(err, c.reason)
		if !differs && !slices.Contains(c.forms, j.claims.Form) {
			continue
		}
		explained = explained || differs
		j.require(!differs, &j.vector.InstanceIdentity, cryptoFailed, func() *CheckError {
			if differs {
				return &CheckError{Check: c.check, Want: c.want, Got: c.not, Err: c.reason}
			}
			return &CheckError{Check: c.check, Want: c.want, Got: "the same"}
		})
	}
	if !explained {
		j.settle(Fails, &j.vector.InstanceIdentity, cryptoFailed, func() *CheckError {
			return &CheckError{Check: CheckBinder, Err: err}
		})
	}
}
