package verifier

import (
	"errors"
	"fmt"
)

// Check names one check of an [Appraiser].
type Check string

// The checks, in the order in which they are made; [Policy.Revoked] is asked last.
const (
	CheckSignature     Check = "signature"
	CheckChain         Check = "certificate chain"
	CheckBinder        Check = "binder"
	CheckKeyHash       Check = "key hash"
	CheckCertifiedKey  Check = "certified key"
	CheckReportData    Check = "report data"
	CheckExpiry        Check = "certificate expiry"
	CheckInstance      Check = "instance"
	CheckRevocation    Check = "revocation"
	CheckVendor        Check = "vendor"
	CheckHardwareModel Check = "hardware model"
	CheckDebug         Check = "debug"
	CheckKeyProvenance Check = "key provenance"
	CheckMeasurement   Check = "measurement"
	CheckSoftware      Check = "software version"
	CheckPlatform      Check = "platform" // the subject is the check of the platform's own policy
	CheckRule          Check = "rule"     // the subject is the name of the rule
)

// CheckError is one check that failed, or that holds only with a warning.
type CheckError struct {
	Check   Check
	Subject string // name of the measurement, software or rule, "" for other checks
	Want    string
	Got     string
	Err     error // the reason as another package states it, or nil
}

func (e *CheckError) Error() string {
	name := string(e.Check)
	if e.Subject != "" {
		name += fmt.Sprintf(" %q", e.Subject)
	}
	if e.Want == "" {
		return fmt.Sprintf("%s: %v", name, e.Err)
	}
	return fmt.Sprintf("%s: want %s, got %s", name, e.Want, e.Got)
}

// Unwrap returns Err.
func (e *CheckError) Unwrap() error { return e.Err }

// Is matches a target that names only the check, as in
// errors.Is(err, &CheckError{Check: CheckDebug}), or the check and its subject.
func (e *CheckError) Is(target error) bool {
	t, ok := target.(*CheckError)
	return ok && t.Check == e.Check && (t.Subject == "" || t.Subject == e.Subject) &&
		t.Want == "" && t.Got == "" && t.Err == nil
}

// FailedChecks returns every [CheckError] in an error that [Appraiser.Appraise]
// or [attestation.Appraise] returned, in the order of the checks.
func FailedChecks(err error) []*CheckError {
	if check, ok := err.(*CheckError); ok {
		return []*CheckError{check}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return FailedChecks(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*CheckError
		for _, inner := range e.Unwrap() {
			all = append(all, FailedChecks(inner)...)
		}
		return all
	}
	return nil
}

// ErrComposite: the message holds several pieces of Evidence, and an [Appraiser]
// judges one.
var ErrComposite = errors.New("the message is a collection of several leaves; an Appraiser judges one attesting environment")
