// Package proxy is the sidecar expat proxy: attested TLS for programs that cannot
// change. Its server side accepts attested connections and speaks plain text, or TLS,
// to a backend; its client side accepts plain connections and speaks attested TLS.
//
//	data:     listener ──> limit ──> exchange ──> upstream ──> relay, or net/http
//	hot:      files ──> generation, swapped whole; a bad one leaves the one before in force
//
// No upstream is dialled for a client before the exchange with it is done, and no byte
// of a plain client is read before the exchange with its upstream is.
package proxy
