// Package policy reads appraisal policies from files: YAML, or the JSON that is a
// subset of it, by one strict format whose JSON Schema is [Schema].
//
//	data:     file ──> Section (position of every value) ──> verifier.Policy ──> Appraiser, Dispatch, Collection
//	hot:      Reloading: the same, again, where the content of the file changed
//
// An unknown field, an empty list, a field given twice, a value of another type and
// rules that contradict each other are errors; [Parse] reports all of a file at
// once, each with line, column, field and what to write instead ([Error]). Nothing
// that is left out switches a check off: what weakens a policy is a field whose
// name says what is lost.
//
// A policy holds no code of a platform. What a file can name is handed in as
// [Options.Platforms]; package platforms has those of this module.
package policy
