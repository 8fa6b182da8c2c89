// Package tpm attests keys and machines with a TPM 2.0.
//
// The TLS key is born in the TPM ([TPM.CreateKey]) and never leaves it: [Key] is a
// [crypto.Signer] for the TLS handshake and the authenticator alike. For every
// request an [Attester] has the TPM's attestation key ([AK]) make two statements,
// both with the binder as extraData:
//
//	TPM2_Certify   this key lives in this TPM and cannot leave it
//	TPM2_Quote     these are the PCRs, that is, what the machine has booted
//
// An [Extractor] checks both, and the certificate chain of the attestation key.
// Package enroll obtains that chain: it proves that the attestation key lives
// beside the endorsement key which the TPM's manufacturer certified.
//
// A [TPM] serves any number of connections at once over one transport: a Linux
// device, or a TCP or Unix socket that carries raw TPM commands. docs/evidence/tpm.md
// specifies the Evidence and says what it proves.
package tpm
