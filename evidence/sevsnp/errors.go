package sevsnp

import "errors"

// The causes of errors of this package, found with [errors.Is]. Those of an
// [Extractor] come inside an [*evidence.Error].
var (
	// ErrOptions: the Extractor would check less than it seems, or nothing.
	ErrOptions = errors.New("sevsnp: options are not usable")
	// ErrCertificates: a file or blob does not hold what it should.
	ErrCertificates = errors.New("sevsnp: certificates are not usable")

	// ErrSize: the Evidence or a part of it is shorter or longer than it may be.
	ErrSize = errors.New("wrong size")
	// ErrReport: the report breaks the rules of the ABI, or has another version.
	ErrReport = errors.New("the report is not one of the SEV-SNP ABI, version 2 to 5")
	// ErrNotSigned: the report names no key that signs reports.
	ErrNotSigned = errors.New("the report is not signed by a VCEK or VLEK")
	// ErrNoCertificate: neither the Evidence nor the relying party has it.
	ErrNoCertificate = errors.New("the certificate of the signing key is missing: have the host supply it, or add it to Options.Certificates")
	// ErrForeignRoot: the certificates lead to no ARK among the roots.
	ErrForeignRoot = errors.New("no root of the policy has issued the certificates")
	// ErrExpired: a certificate is not valid yet or no longer.
	ErrExpired = errors.New("a certificate is not valid at this time")
	// ErrRevoked: a revocation list names a certificate of the chain.
	ErrRevoked = errors.New("a certificate was revoked")
	// ErrRevocationUnknown: there is no list of the issuer that holds now.
	ErrRevocationUnknown = errors.New("no revocation list of the ARK holds at this time: renew Options.RevocationLists")
	// ErrOtherDevice: the certificate is that of another chip or firmware.
	ErrOtherDevice = errors.New("the certificate is not that of this chip and firmware")
	// ErrLibrary: go-sev-guest panicked.
	ErrLibrary = errors.New("the library failed on the Evidence")

	errChain     = errors.New("the certificates are not a chain of AMD's profile")
	errSignature = errors.New("it is not that of the certified key over this report")
)
