// Package passport carries Attestation Results in place of Evidence: the passport
// model of RFC 9334, Section 5.1. The attester obtains an EAR from a Verifier and
// presents it; the relying party checks the Verifier's signature and what the EAR is
// bound to.
//
//	attester                                   relying party
//	PerConnection  asks for each connection    Verifier              nonce == binder, akpub == key
//	Cached         has one EAR for its key     Verifier, KeyBound    akpub == key
//
// Only an EAR for the connection proves what the attester is now. One for the key
// proves what it was when the EAR was issued, and that the key was its own.
package passport
