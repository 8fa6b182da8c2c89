// Package attestation carries attestation Evidence, or an Attestation Result,
// in an Exported Authenticator and binds it to the TLS connection, the request
// and the key (draft-fossati-seat-expat).
//
// It is the seam between the platforms that produce Evidence ([Attester]), the
// policies that judge it ([Verifier]) and the connection. Both sides of the
// path are one function each:
//
//	attester        received request ─ Attest ──> cmw_attestation extension
//	relying party   validated peer ─── Appraise ─> Result
//
// [Attest] hands the Attester the [Binding] its Evidence must carry. [Appraise]
// hands the Verifier the Binding it must find; a [Result] can be made only from
// that Binding and only if it is acceptable, and Appraise takes no other.
//
// Attestation never replaces X.509 validation (Section 3.3 of the draft): the
// functions start from a peer whose chain was judged by package authenticator.
package attestation
