// Package expat is attested TLS. After an ordinary TLS 1.3 handshake a peer
// proves, with an Exported Authenticator (RFC 9261), what hardware and software
// it is: the authenticator's certificate carries attestation Evidence or an
// Attestation Result (draft-fossati-seat-expat), bound to this connection, this
// request and this key. No application byte passes before it is appraised.
//
//	request ──> authenticator ──> evidence ──> appraisal ──> result
//
// A [Config] with a Verifier demands proof from the peer; one with an Attester
// gives it. [Dial] and [NewListener] return connections on which that is done:
//
//	ln := expat.NewListener(tcp, &expat.Config{TLS: serverTLS, Attester: attester})
//	conn, err := expat.Dial(ctx, "tcp", addr, &expat.Config{TLS: clientTLS, Verifier: verifier})
//	conn.Peer() // what the Verifier found
//
// # What an open connection means
//
// If a [Conn] with a Verifier is open, then on this very TLS connection: the
// peer holds the private key of a certificate that X.509 validation accepted
// ([Conn.PeerCertificates]); it answered a request that this side made up with
// fresh randomness; the Evidence it sent is signed under a root that the
// Verifier trusts, names that key and carries a value that only the two ends of
// this connection can compute; and the Verifier found it acceptable
// ([Conn.Peer]). If it has an Attester, the peer said that it accepted ours.
//
// It does not mean that the peer is as it was for longer than the verdict's
// lifetime, nor that the key cannot be used outside the attested environment:
// that is the platform's to claim and the Verifier's policy to demand. The
// LIMITATIONS section of the README lists the rest.
//
// # The connection
//
// Whatever Config.TLS says: TLS 1.3 only; full handshakes only (no tickets, no
// session cache, a resumed connection is refused; Section 7.2 of the draft); no
// early data; no renegotiation; ALPN names expat/1+PROTOCOL only, so that
// attestation cannot be negotiated away. Whether the peer must attest is this
// side's configuration and nothing the peer says.
//
// # The exchange
//
// After the handshake both sides speak frames: HELLO (what each wants and can),
// REQUEST and AUTHENTICATOR (RFC 9261, Sections 4 and 5), RESULT (the verdict).
// A side opens when it has sent RESULT 0, if it asked, and has received RESULT
// 0, if it was asked; the stream is the application's from there on. It costs
// one extra round trip where the server attests and two where both do. Whatever
// goes wrong is one local [*Error] that names the [Stage], a coarse [Alert] to
// the peer, and a closed connection.
//
// # Re-attestation
//
// A peer may change while a connection lasts. With [Config].Reattest on both
// sides, or ReattestEvery on one, the frames go on after opening: application
// data travels in DATA frames, and each side may ask the other anew
// ([Conn.Reattest]). A peer that is then refused, or does not answer, loses the
// connection; so does one whose application does not read for that long.
// docs/reattestation.md has the states, errors and limits.
//
// # Limits
//
// The exchange with its TLS handshake takes at most [DefaultTimeout], an
// appraisal at most [DefaultVerifierTimeout]; an authenticator has at most
// [DefaultMaxAuthenticator] bytes, a request 16 KiB, HELLO 4 KiB, RESULT 256
// bytes; a chain has at most 10 certificates; attestation fits into 65,529
// bytes. Servers with one Config work on [DefaultMaxExchanges] exchanges at a time.
package expat
