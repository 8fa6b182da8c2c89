// Package service offers an [attestation.Verifier] to relying parties elsewhere,
// over the challenge-response API of Veraison:
//
//	POST   /challenge-response/v1/newSession?nonce=<binder>&key=<SPKI>   201, Location, session
//	POST   /challenge-response/v1/session/{…}  Evidence                  200, session with an EAR
//	GET    /challenge-response/v1/session/{…}                            200, session
//	DELETE /challenge-response/v1/session/{…}                            204
//	GET    /.well-known/jwks.json                                        keys of the EARs
//	GET    /healthz, /readyz                                             for who runs it
//
// The nonce is the binder, 32 or 48 bytes, and key, an extension of this module, the
// SubjectPublicKeyInfo of the authenticator's leaf, both in unpadded base64url. With
// the two the service compares the whole binding, as a Verifier beside the connection
// does: binder, key hash, report data, certified key. It therefore demands key. Whether
// they are those of a connection only the relying party knows, so that it must compare
// the EAR with its own.
//
// The answer is a signed EAR both where the Evidence is good and where it is not: then
// its status is contraindicated, still on HTTP 200. No verdict is HTTP 503, and no EAR.
//
// The service keeps no state. The URL of a session holds its nonce, key and expiry, so
// that any replica answers any session, and a restart loses none. It is not signed: the
// caller chose nonce and key, and whoever can change the URL can as well open a session
// with others. What they are is in the EAR, which is signed.
package service
