// Package expat is attested TLS.
package expat
