// Package simulated is a trusted execution environment in software, for tests,
// examples and demonstrations. It proves nothing about hardware: its keys lie in
// the memory of an ordinary process, and whoever holds the vendor's key makes
// devices at will. A relying party that names a simulated vendor's root in a
// policy trusts exactly that.
//
// What it has in common with hardware is the shape. A [Vendor] certifies the
// signing key of each [Device]; TLS keys are generated inside a device
// ([Device.GenerateKey]) and cannot be taken out; an [Attester] answers a
// Binding with signed Evidence about the device and the key, and an [Extractor]
// checks the signature and the chain. A [Lie] makes an Attester misbehave in one
// way, so that a refusal can be shown.
//
// The Evidence is an Entity Attestation Token (RFC 9711) in COSE_Sign1 (RFC
// 9052). docs/evidence/simulated.md specifies it.
package simulated
