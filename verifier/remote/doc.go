// Package remote has Evidence appraised by a Verifier elsewhere, over the
// challenge-response API of Veraison: the background-check model (RFC 9334,
// Section 5.2) with the Verifier as a service.
//
// [Verifier] is an [attestation.Verifier]. For every appraisal it opens a session
// with the binder as the nonce, posts the Evidence, and takes the answer, an EAR,
// only if that is signed by a key it trusts, is fresh, repeats the nonce, and
// attests the key of the authenticator:
//
//	POST {URL}/challenge-response/v1/newSession?nonce=<binder>[&key=<SPKI>]   201, Location
//	POST {session}  Evidence                                                  200, or 202
//	GET  {session}                                                            polled after 202
//
// The key parameter is an extension of this module (see package service), without
// which the service compares the nonce only. Whether it is sent or not, the EAR must
// name the key, unless [Options.AcceptUnattestedKey] gives that up.
//
// A service that is slow, down or wrong never opens a connection, and costs the
// others no more than their own deadline: attempts are bounded in time and number,
// and a breaker has them fail at once while the service is down. It closes by
// itself when the service is back.
package remote
