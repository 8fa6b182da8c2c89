// Package evidence is the vocabulary in which signed Evidence (RFC 9334,
// Section 8.1) is judged, whatever platform signed it.
//
// An [Extractor] of a platform turns bytes into [Claims]: it checks the format,
// the signature and the certificate chain, and nothing else. [Claims.Bound]
// compares what the Evidence is bound to with what this connection expects.
// Which claims are acceptable is the business of package verifier; this package
// has no thresholds and no policy.
package evidence
