// Package expatquic is attested QUIC. The exchange of package expat runs on the
// first bidirectional stream of a connection, which is set apart for it; [Dial] and
// [Listener.Accept] return connections on which it is done. No stream and no
// datagram is handed out before: what a peer sends early stays unread in quic-go,
// within the flow control windows of the [quic.Config] and 4 MiB in all, and is thrown
// away with a connection that fails.
//
//	ln, err := expatquic.Listen(":443", &expat.Config{TLS: serverTLS, Attester: attester}, nil)
//	conn, err := expatquic.Dial(ctx, "server.example:443", &expat.Config{TLS: clientTLS, Verifier: verifier}, nil)
//	conn.Peer() // what the Verifier found
//
// What an open connection means, what is checked and in which order is the same as
// with TLS over TCP, see package expat: it is the same code. TLS.NextProtos names the
// application protocols, "h3" among them; on the wire each is expat/1+NAME.
//
// 0-RTT is refused (Section 7.2 of draft-fossati-seat-expat): servers send no
// session tickets and take no early data, clients keep no tickets and send none, and
// a resumed connection fails. Address validation tokens (RFC 9000, Section 8.1.3)
// resume nothing and stay.
//
// When a verdict runs out, or a peer that is asked anew is refused, the whole
// connection is closed at once, with the code of the [expat.Alert] ([ErrorCode]).
//
// docs/quic.md describes the wire and HTTP/3.
package expatquic
