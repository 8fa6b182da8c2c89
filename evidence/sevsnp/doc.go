// Package sevsnp attests a guest of AMD SEV-SNP: the signed report of the
// processor's firmware, whose REPORT_DATA commits to the connection, the request
// and the key ([attestation.Binding.ReportData]).
//
// An [Attester] collects reports through configfs-tsm. An [Extractor] verifies
// them with go-sev-guest, offline: certificates come with the Evidence, or from
// the relying party's own store ([Options.Certificates]). What is AMD's own, such
// as the levels of the firmware, is judged by a [Policy] that New demands.
//
// A report says that software inside named the key, not that the key was made or
// is kept there: [evidence.KeyNamedBySoftware]. A verifier.Policy that accepts it
// must pin the measurement "launch", and trusts what was measured.
//
// docs/evidence/sevsnp.md specifies the format, and says what is proved.
package sevsnp
