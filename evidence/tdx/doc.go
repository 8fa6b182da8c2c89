// Package tdx attests a trust domain of Intel TDX: a quote whose REPORTDATA
// commits to the connection, the request and the key
// ([attestation.Binding.ReportData]).
//
// An [Attester] collects quotes through configfs-tsm. An [Extractor] verifies
// them with go-tdx-guest, offline: the certificates are in the quote, and Intel's
// statements on levels of firmware and on revocation ([Collateral]) come from the
// relying party's own store or with the Evidence. What is Intel's own, such as
// the attributes of a trust domain, is judged by a [Policy].
//
// A quote says that software inside named the key, not that the key was made or
// is kept there: [evidence.KeyNamedBySoftware]. A verifier.Policy that accepts it
// must pin the measurements "mrtd" and "rtmr0" to "rtmr3", and trusts what was
// measured.
//
// docs/evidence/tdx.md specifies the format, and says what is proved.
package tdx
