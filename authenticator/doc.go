// Package authenticator implements Exported Authenticators in TLS, RFC 9261:
// after a TLS handshake either side proves that it holds the key of a further
// X.509 certificate, bound to that connection and to one request.
//
// A [Session] stands for one TLS connection seen from one side. The functions
// of RFC 9261, Section 7 are:
//
//	request       [Session.NewRequest]
//	get context   [Context]
//	authenticate  [Session.ReceiveRequest], then [Session.Authenticate] or [Session.Refuse]
//	validate      [Session.Validate]
//
// and for servers that speak unasked, [Session.AuthenticateSpontaneous] and
// [Session.ValidateSpontaneous].
//
// The package needs only an [Exporter], so that it works over crypto/tls, QUIC
// and test vectors alike. It gives no meaning to the extensions it carries and
// performs no I/O.
package authenticator
