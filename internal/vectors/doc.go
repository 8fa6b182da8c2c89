// Package vectors reads, checks and generates the interop vectors of
// testdata/vectors, whose README specifies their format.
//
// [Check] runs every case against the packages of this module: what they make of
// the input must be what the file says. [Generate] writes the files. The
// generator builds its messages byte by byte and computes hashes and signatures
// itself, so that a mistake in those packages does not find its way into what is
// expected of them.
package vectors
