package tdx

import "errors"

// The causes of errors of this package, found with [errors.Is]. Those of an
// [Extractor] come inside an [*evidence.Error].
var (
	// ErrOptions: the Extractor would check less than it seems, or nothing.
	ErrOptions = errors.New("tdx: options are not usable")
	// ErrCollateral: collateral is not of Intel's form.
	ErrCollateral = errors.New("collateral is not of Intel's form")

	// ErrSize: the Evidence or a part of it is shorter or longer than it may be.
	ErrSize = errors.New("wrong size")
	// ErrQuote: the quote breaks the rules of its format.
	ErrQuote = errors.New("the quote is not one of TDX, version 4 or 5, with an ECDSA key and its PCK chain")
	// ErrForeignRoot: the certificates lead to none of the roots.
	ErrForeignRoot = errors.New("no root of the policy has issued the certificates")
	// ErrExpired: a certificate is not valid yet or no longer.
	ErrExpired = errors.New("a certificate is not valid at this time")
	// ErrQuotingEnclave: what signed the quote is not Intel's quoting enclave.
	ErrQuotingEnclave = errors.New("the quote was not signed by Intel's quoting enclave, or by one that can be debugged")
	// ErrNoCollateral: neither the relying party nor the Evidence has any.
	ErrNoCollateral = errors.New("collateral for this platform (FMSPC) is missing: add it to Options.Collateral, or have the peer send it")
	// ErrCollateralExpired: a part of the collateral does not hold now.
	ErrCollateralExpired = errors.New("collateral does not hold at this time: renew it")
	// ErrRevoked: a revocation list names a certificate of the chain.
	ErrRevoked = errors.New("a certificate was revoked")
	// ErrTCB: Intel does not call the platform's firmware up to date.
	ErrTCB = errors.New("the firmware of the platform is not up to date")
	// ErrLibrary: go-tdx-guest panicked.
	ErrLibrary = errors.New("the library failed on the Evidence")

	errChain      = errors.New("the certificates are not a chain of Intel's profile")
	errCollateral = errors.New("collateral is not signed by Intel, or about another platform")
	errSignature  = errors.New("it is not that of the certified key over this quote")
)
