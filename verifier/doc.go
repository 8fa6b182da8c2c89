// Package verifier appraises Evidence against a policy (RFC 9334, Section 8).
//
// An [Appraiser] is a Verifier for one attesting environment. It has a [Policy]
// of reference values and the [evidence.Extractor] of each platform it is to
// understand; it judges [evidence.Claims] and knows no platform. [NewDispatch]
// puts several Verifiers behind one, [NewCollection] judges a device of several
// environments, each by its own, and [NewQuorum] has several judge one message.
//
// The order of the checks is fixed:
//
//	format ─> signature ─> chain to a root of the policy        a failure ends here
//	binder ─> key hash ─> claims against reference values       all failures are reported
//	rules of the policy ─> the policy's source of revocations
//
// [Appraiser.Explain] makes the same checks and lists every one.
//
// # Checks that are not made
//
// Issue time (iat) and expiry of Evidence: the binder is unique to one request on
// one connection, so Evidence cannot be older than the request.
//
// Software descriptions where [Policy.MinVersions] is nil: a measurement says
// more about software than its own name and version do.
//
// Hardware model and vendor where the policy names none: the roots say already
// whose devices are trusted.
//
// Certificate revocation lists of the platform's vendor: they are handed to the
// Extractor of the platform. [Policy.Revoked] is where a program puts its own.
//
// That the peer runs on the device it names when device and software are good but
// the machine is another's: pin [Policy.Instances].
package verifier
