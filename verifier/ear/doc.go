// Package ear issues and checks EAT Attestation Results as signed JWTs
// (draft-ietf-rats-ear), in the profile that github.com/veraison/ear implements:
//
//	appraisals ─ Issuer.Issue ──> token ─ Checker.Check ──> EAR ─ EAR.Result ──> attestation.Result
//
// An EAR carries AR4SI trust tiers and vectors, one for each attesting environment.
// Ours carry the whole [attestation.Binding] as well: the binder as eat_nonce, the
// attested key as akpub in every submodule. [EAR.Result] demands both unless an
// option says by its name what is given up.
//
// A token is hostile until its signature is good. Its size, form, nesting and
// member names are checked here before a library sees a part of it; the key never
// comes from the token, only from a [KeySource].
//
// Errors tell three things apart: the answer is no ([attestation.ErrRejected]), the
// token cannot be read ([attestation.ErrMalformed]), and there is no verdict because
// keys cannot be had ([attestation.ErrUnavailable]).
package ear
