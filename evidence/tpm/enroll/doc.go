// Package enroll gives TPM attestation keys the certificates that relying parties
// trust.
//
// A [CA] knows the roots of TPM manufacturers. It certifies an attestation key only
// after credential activation (TPM 2.0 Library, Part 1): it encrypts a
// secret so that only a TPM that has both the endorsement key of the manufacturer's
// certificate and the attestation key opens it. The messages have JSON forms, so
// that a service can carry them; [Run] does the device's part with any [Issuer].
//
//	device                                   CA
//	Request   EK certificate, AK       ──>   chain to a manufacturer's root; AK is
//	                                         restricted and fixed in its TPM
//	ActivateCredential                 <──   Challenge
//	Answer    the secret               ──>   same secret
//	                                   <──   Certificate: chain for the AK
//
// [CA.IssueTLS] then certifies a TLS key from a signing request, once the
// attestation key has certified that it lives in the same TPM.
package enroll
